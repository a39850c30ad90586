//! The one test binary: everything here drives the real `gigalixir` from outside, with real `git`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    unreachable_pub,
    reason = "these are tests"
)]

mod harness;

mod accounts;
mod acme;
mod api;
mod apps;
mod cas;
mod client;
mod cluster;
mod console;
mod crash;
mod deploys;
mod docker;
mod drains;
mod examples;
mod faults;
mod flame;
mod front;
mod generated;
mod git;
mod hot;
mod inside;
mod jobs;
mod kubernetes;
mod limits;
mod official;
mod official_ssh;
mod on_kubernetes;
mod protocols;
mod router;
mod runtime_contract;
mod runtime_docker;
mod runtime_kubernetes;
mod runtime_local;
mod runtime_sessions;
mod server;
mod ssh;
mod ssh_protocol;
mod stacks;
mod story;
mod tidy;
mod tls;
mod wire_2017;
