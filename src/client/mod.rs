//! The client: what the person at the terminal runs.
