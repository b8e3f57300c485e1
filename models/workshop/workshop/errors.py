"""The one exception of the workshop: says what is wrong and what to do about it."""


class WorkshopError(Exception):
    """A failure that the user can act on. Printed as one line, without a traceback."""
