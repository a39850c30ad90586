//! The receiver behind its door, driven by the real `git`.

mod checkouts;
mod fetching;
mod harness;
mod hostile;
mod measuring;
mod pushing;
mod repacking;
