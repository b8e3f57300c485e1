"""`python tests/privacy/audit make DIR` and `... attack DIR --out FILE`: see `datasets` and `suite`."""

from __future__ import annotations

import argparse
from pathlib import Path

import datasets


def main() -> None:
    """Parses the command line and runs one of the two steps."""
    parser = argparse.ArgumentParser(prog="privacy audit")
    steps = parser.add_subparsers(dest="step", required=True)
    make = steps.add_parser("make", help="write what the release stage is fed with")
    attack = steps.add_parser("attack", help="attack the tables that came out")
    attack.add_argument("--out", type=Path, required=True, help="JSON lines, one a finding")
    attack.add_argument("--only", nargs="*", default=[], help="ids of attacks, for example A5 A11")
    for step in (make, attack):
        step.add_argument("folder", type=Path)
        step.add_argument("--quick", action="store_true", help="a fifth of the data")
    arguments = parser.parse_args()
    if arguments.step == "make":
        datasets.make(arguments.folder, arguments.quick)
    else:
        import suite

        suite.run(arguments.folder, arguments.out, arguments.quick, set(arguments.only))


if __name__ == "__main__":
    main()
