//! runtime/local: being written.
