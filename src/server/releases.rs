//! releases: being written.
