//! What a node knows of itself: one question, whose answer is all that an observer shows.

use serde_json::Value;

use super::super::beam::Term;
use super::super::domain::AppName;
use super::{Nodes, Replica, TalkError};

const SNAPSHOT: &str = include_str!("observer.erl");
/// Rows of each kind.
const LIMIT: u32 = 100;
const LIMIT_MAX: u32 = 1000;

/// What shall be looked at more closely.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// By what the processes are chosen: `memory`, `reductions`, `queue`.
    pub sort: String,
    /// How many rows of each kind.
    pub limit: Option<u32>,
    /// Of which application the supervision tree.
    pub tree: String,
}

impl Nodes {
    /// How the node of a replica is; of any replica's, if none is named.
    pub async fn snapshot(
        &self,
        app: &AppName,
        replica: Option<&str>,
        wish: Wish,
    ) -> Result<(Replica, Value), TalkError> {
        let (replica, mut beam) = self.talk(app, replica).await?;
        let limit = wish.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
        // An atom is made for it there, so only these are.
        let sort = match wish.sort.as_str() {
            "reductions" => "reductions",
            "queue" => "queue",
            _ => "memory",
        };
        let bindings = [
            ("Sort", Term::atom(sort)),
            ("Limit", Term::Int(limit.into())),
            ("Tree", Term::Binary(wish.tree.into_bytes())),
        ];
        let answer = beam.evaluate(SNAPSHOT, &bindings).await?;
        Ok((replica, answer.to_json()))
    }
}
