//! One module a command.

pub(crate) mod backtest;
pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod enroll;
pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod ledger;
pub(crate) mod models;
pub(crate) mod operators;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod spool;
