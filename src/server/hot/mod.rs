//! Hot upgrades: a running release becomes another, without a restart.
//!
//! **Plan.** Two slugs are compared in a sandbox by the new one's own Erlang ([`Planner`]; the programs are `plan.bash`,
//! `release.erl`, `appup.erl`, `refusals.erl`, `plan.erl`). In Erlang and not here because everything that has to be
//! read is Erlang's: applications, beams, appups, and `systools`, which makes one script of many appups as OTP wants it;
//! and in the sandbox because slugs are other people's. Nothing of either release runs for it. An application's own appup
//! is used; else one is derived from its modules: what is new is loaded, what is gone is deleted, what has processes
//! (`gen_server`, `gen_statem`, `gen_event`, supervisors) is suspended, changed and resumed, callees before callers. No
//! process is killed for code that it still runs: then the upgrade is refused. What cannot be done in place comes out as
//! one list of refusals, each with what to do.
//!
//! **Change.** In a node the script is evaluated by OTP's release handler, called by `node.erl`, which is compiled once by
//! the first node and loaded into each for as long as its upgrade takes ([`Node`]). The new release's files are brought
//! into the replica beside the old ones ([`Bundle`]). What the release handler does only for systems that read their
//! configuration from a file, or leaves to an appup's author, is done there: configuration that runtime providers made
//! stays, new children of supervisors are started, and afterwards the node is asked whether all is well.
//!
//! A node is reached through the runtime's port alone, so this is the same on every runtime. In which order nodes are
//! changed, and what happens when one of them fails, is the deployer's ([`super::deployer`]).

mod carry;
mod node;
mod planner;
mod plans;
#[cfg(test)]
pub(crate) mod testing;

pub use carry::Bundle;
pub use node::{Change, Changed, Foreseen, Node, NodeError, Outcome, Variables, Wrong};
pub use planner::{PlanError, Planner};
pub use plans::Plans;

#[cfg(test)]
mod tests;
