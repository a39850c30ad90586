//! confine: being written.
