//! Whole builds, in the real sandbox. They need `bwrap`, and the real binary beside the tests' (`cargo build` first),
//! because a sandboxed program begins as `gigalixir enter`.

mod bounds;
#[path = "../../../tests/harness/docker.rs"]
#[expect(clippy::print_stdout, unreachable_pub, reason = "it is of the tests outside, where that is allowed")]
mod docker;
mod elixir;
mod examples;
mod fixtures;
mod mirror;
mod packs;
