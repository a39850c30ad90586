//! receiver: being written.
