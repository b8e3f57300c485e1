//! The `kerbside-gateway` command.

#![forbid(unsafe_code)]

fn main() {}
