//! All kinds of kernels compute the same, and what the formulas say; broken programs are refused.
//!
//! Runs compare whole arenas, so a byte that is written beyond an output is found as surely as a wrong one. What a
//! run must not even read is found by a memory checker, for all kernels that it knows the instructions of:
//! `PROPTEST_CASES=8 valgrind --error-exitcode=1 <test program> kernels::`; it emulates no AVX-512 and no AVX-VNNI,
//! for which the tests do not ask where the processor does not report them.

mod cases;
mod formula;
mod refused;
mod same;
mod threads;
