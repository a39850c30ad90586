//! Whole builds, in the real sandbox. They need `bwrap`, and the real binary beside the tests' (`cargo build` first),
//! because a sandboxed program begins as `gigalixir enter`.

mod bounds;
mod elixir;
mod examples;
mod fixtures;
mod mirror;
mod packs;
