//! Prints the list of metrics as a document.

use std::io::{self, Write as _};

fn main() -> io::Result<()> {
    io::stdout().write_all(kerbside_telemetry::manual().as_bytes())
}
