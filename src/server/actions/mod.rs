//! actions: being written.
