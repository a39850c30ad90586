//! mail: being written.
