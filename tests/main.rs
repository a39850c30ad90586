//! The one test binary: everything here drives the real `gigalixir` from outside, with real `git`.

mod harness;

mod accounts;
mod apps;
mod crash;
mod deploys;
mod examples;
mod git;
mod runtime_contract;
mod runtime_local;
mod server;
mod tidy;
