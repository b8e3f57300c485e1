//! The city's side.

#![forbid(unsafe_code)]
