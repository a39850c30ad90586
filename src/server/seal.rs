//! seal: being written.
