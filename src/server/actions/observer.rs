//! Looking into a replica's Erlang node.

use serde::Deserialize as _;

use super::ActionError;
use super::access::Action;
use super::apps::Apps;
use crate::api::observer::{Node, ObserverQuery, Snapshot};
use crate::server::domain::{Invalid, User};
use crate::server::nodes::{TalkError, Wish};

impl Apps {
    /// How the node of a replica is.
    pub async fn observe(&self, user: &User, name: &str, query: ObserverQuery) -> Result<Snapshot, ActionError> {
        let app = self.may(user, name, Action::Observe).await?;
        let wish =
            Wish { sort: query.sort.unwrap_or_default(), limit: query.limit, tree: query.tree.unwrap_or_default() };
        let (replica, answer) = self.rooms.nodes.snapshot(&app.name, query.replica.as_deref(), wish).await?;
        let snapshot = Snapshot::deserialize(answer).map_err(ActionError::internal)?;
        Ok(Snapshot { replica: replica.name, ..snapshot })
    }

    /// How to connect to the node of a replica.
    pub async fn node(&self, user: &User, name: &str, query: ObserverQuery) -> Result<Node, ActionError> {
        let app = self.may(user, name, Action::Observe).await?;
        let (replica, beam) = self.rooms.nodes.talk(&app.name, query.replica.as_deref()).await?;
        let cookie = replica.cookies.into_iter().next().unwrap_or_default();
        Ok(Node { replica: replica.name, node: beam.name, cookie, port: replica.node.port() })
    }
}

impl From<TalkError> for ActionError {
    fn from(error: TalkError) -> Self {
        let text = error.to_string();
        match error {
            TalkError::NoReplica => Self::NotFound(text),
            TalkError::NoNode => Self::Conflict(Invalid::new("", text)),
            TalkError::Beam(_) => Self::Unavailable(format!("the replica cannot be looked into: {text}")),
        }
    }
}
