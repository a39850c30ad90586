//! router: being written.
