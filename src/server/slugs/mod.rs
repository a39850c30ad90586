//! slugs: being written.
