//! End to end tests of the whole node (`tests/*.rs` beside this file). The library itself is empty: the
//! tests drive the real programs from outside, as a user does.

#![forbid(unsafe_code)]
