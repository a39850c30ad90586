//! http: being written.

pub mod git;
