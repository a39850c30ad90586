//! The one test binary.

mod runtime_contract;
mod runtime_local;
