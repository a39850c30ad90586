//! One node that is upgraded: what it is told and what it answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::time::timeout;

use crate::server::beam::{Beam, BeamError, Term};
use crate::server::domain::UpgradePlan;
use crate::server::runtime::session::Stream;
use crate::server::runtime::{Runtime, RuntimeError};

const PROGRAM: &str = include_str!("node.erl");
const MODULE: &str = "gigalixir_node";
const FILE: &str = "gigalixir_node.erl";
/// For a node to be reached.
const CONNECTING: Duration = Duration::from_secs(10);
/// For an answer: processes may take half a minute to change their state, one after the other.
const PATIENCE: Duration = Duration::from_mins(3);

/// Compiles a module in a node. Its own compiler does it: the code must be of its own OTP.
const COMPILE: &str = "
    {ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Source)),
    Forms = fun Next([], []) -> [];
                Next([{dot, _} = Dot | Rest], Form) ->
                    {ok, Parsed} = erl_parse:parse_form(lists:reverse([Dot | Form])),
                    [Parsed | Next(Rest, [])];
                Next([Token | Rest], Form) -> Next(Rest, [Token | Form])
            end,
    {ok, _, Code} = compile:forms(Forms(Tokens, []), [deterministic, nowarn_unused_vars]),
    Code.";

/// Why a node could not be asked or told.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It does not answer, or not in words that are understood.
    #[error(transparent)]
    Beam(#[from] BeamError),
    /// Nobody gets through to it.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// It answered something unforeseen.
    #[error("the node's answer cannot be understood: {0}")]
    Answer(#[from] serde_json::Error),
}

/// What a node is told to become.
#[derive(Debug, Clone)]
pub struct Change {
    args: Term,
}

impl Change {
    /// From `plan`'s old version to its new one; `None` if it is a refusal.
    pub fn of(plan: &UpgradePlan) -> Option<Self> {
        let scripts = plan.scripts.as_ref()?;
        let supervisors = scripts.supervisors.iter().map(|module| Term::atom(module)).collect();
        let args = Term::map([
            ("script", Term::text(&scripts.up)),
            ("libs", Term::text(&scripts.libs)),
            ("old_libs", Term::text(&scripts.old_libs)),
            ("supervisors", Term::List(supervisors)),
            ("environment", Term::text(&scripts.environment)),
            ("vsn", Term::text(&plan.to)),
            ("erts", Term::text(&scripts.erts)),
        ]);
        Some(Self { args })
    }
}

/// Environment variables that shall be others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Variables {
    /// To be set.
    pub set: BTreeMap<String, String>,
    /// To be forgotten.
    pub unset: Vec<String>,
}

impl Variables {
    fn term(&self, environment: Option<&str>) -> Term {
        let set = self.set.iter().map(|(name, value)| (Term::text(name), Term::text(value))).collect();
        let unset = self.unset.iter().map(|name| Term::text(name)).collect();
        let environment = Term::text(environment.unwrap_or("[]."));
        Term::map([("variables", Term::Map(set)), ("unset", Term::List(unset)), ("environment", environment)])
    }
}

/// What other variables would make of a node's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Foreseen {
    environment: String,
    /// The applications, with the keys that change, that would not be told.
    pub refused: Vec<String>,
}

/// What would stop a change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
struct Ready {
    other: Vec<String>,
    held: Vec<String>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is made.
    Changed(Changed),
    /// Nothing was done.
    Refused(String),
    /// It stopped halfway: the node has to go.
    Broken(String),
}

/// How long a change took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Changed {
    /// From the first suspended process to the last resumed one.
    pub pause: Duration,
    /// As a whole.
    pub took: Duration,
}

#[derive(Deserialize)]
struct Told {
    outcome: String,
    #[serde(default)]
    why: String,
    #[serde(default)]
    took_us: u64,
    #[serde(default)]
    pause_us: u64,
}

/// What is wrong with a node afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Wrong {
    /// Applications that are not at their version.
    pub other: Vec<String>,
    /// Applications that do not run.
    pub stopped: Vec<String>,
    /// What crashed that has to do with what changed.
    pub crashed: Vec<String>,
    /// Supervised processes that were started anew.
    pub restarted: Vec<String>,
}

impl Wrong {
    /// Everything, a sentence each.
    pub fn all(&self) -> Vec<String> {
        [&self.other, &self.stopped, &self.restarted, &self.crashed].into_iter().flatten().cloned().collect()
    }
}

/// A node that is being upgraded. Dropping it ends the conversation, not what the node is doing.
pub struct Node {
    beam: Beam<Box<dyn Stream>>,
}

impl Node {
    /// Finds the node of a replica at `address`, with whichever of the cookies is right.
    pub async fn find(
        runtime: &dyn Runtime,
        replica: &str,
        address: SocketAddr,
        cookies: &[String],
    ) -> Result<Self, NodeError> {
        let mut last = BeamError::NotANode.into();
        for cookie in cookies {
            let connecting = timeout(CONNECTING, runtime.connect(replica, address.port())).await;
            let stream = connecting.map_err(|_| BeamError::Silent)??;
            match Beam::greet(stream, cookie, CONNECTING).await {
                Ok(beam) => return Ok(Self { beam: beam.patient(PATIENCE) }),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// The program that does the work there, compiled by this node.
    pub async fn compile(&mut self) -> Result<Vec<u8>, NodeError> {
        match self.beam.evaluate(COMPILE, &[("Source", Term::text(PROGRAM))]).await? {
            Term::Binary(code) => Ok(code),
            other => Err(BeamError::Failed(format!("{other:?}")).into()),
        }
    }

    /// Brings the program in. It goes with [`Self::leave`].
    pub async fn enter(&mut self, program: &[u8]) -> Result<(), NodeError> {
        let args = vec![Term::atom(MODULE), Term::string(FILE), Term::Binary(program.to_vec())];
        match self.beam.call("code", "load_binary", args).await? {
            Term::Tuple(parts) if parts.first() == Some(&Term::atom("module")) => Ok(()),
            other => Err(BeamError::Failed(format!("{other:?}")).into()),
        }
    }

    /// Which applications are not where the change would bring them; none if it is made.
    pub async fn lacking(&mut self, change: &Change) -> Result<Vec<String>, NodeError> {
        self.ask("at", change).await
    }

    /// Whether a change stopped halfway in it; waits for one that is under way.
    pub async fn is_broken(&mut self) -> Result<bool, NodeError> {
        Ok(self.beam.call(MODULE, "broken", vec![Term::List(Vec::new())]).await? != Term::atom("false"))
    }

    /// What would stop the change; nothing is done.
    pub async fn obstacles(&mut self, change: &Change) -> Result<Vec<String>, NodeError> {
        let ready: Ready = self.ask("ready", change).await?;
        let held = ready
            .held
            .into_iter()
            .map(|modules| format!("processes still run code of two versions ago and would be killed: {modules}"));
        Ok(ready.other.into_iter().chain(held).collect())
    }

    /// Makes the change.
    pub async fn change(&mut self, change: &Change) -> Result<Outcome, NodeError> {
        let told: Told = self.ask("change", change).await?;
        Ok(match told.outcome.as_str() {
            "changed" => Outcome::Changed(Changed {
                pause: Duration::from_micros(told.pause_us),
                took: Duration::from_micros(told.took_us),
            }),
            "refused" => Outcome::Refused(told.why),
            _ => Outcome::Broken(told.why),
        })
    }

    /// What is wrong after a change.
    pub async fn look(&mut self, change: &Change) -> Result<Wrong, NodeError> {
        self.ask("look", change).await
    }

    /// Lets go of what the version before left there; what the replica's own scripts do from now on is of the new one.
    pub async fn finish(&mut self, change: &Change) -> Result<(), NodeError> {
        self.beam.call(MODULE, "finish", vec![change.args.clone()]).await?;
        Ok(())
    }

    /// Sets environment variables of the node, for what asks for them from now on.
    pub async fn tell_variables(&mut self, variables: &BTreeMap<String, String>) -> Result<(), NodeError> {
        let nothing = Foreseen { environment: "[].".to_owned(), refused: Vec::new() };
        self.configure(&Variables { set: variables.clone(), unset: Vec::new() }, &nothing).await
    }

    /// What other variables would make of the configuration; nothing is changed.
    pub async fn foresee(&mut self, variables: &Variables) -> Result<Foreseen, NodeError> {
        let answer = self.beam.call(MODULE, "foresee", vec![variables.term(None)]).await?;
        Ok(serde_json::from_value(answer.to_json())?)
    }

    /// Sets the variables, and the configuration that was foreseen of them; applications are told.
    pub async fn configure(&mut self, variables: &Variables, foreseen: &Foreseen) -> Result<(), NodeError> {
        self.beam.call(MODULE, "configure", vec![variables.term(Some(&foreseen.environment))]).await?;
        Ok(())
    }

    /// Takes the program out again.
    pub async fn leave(&mut self) -> Result<(), NodeError> {
        for step in ["purge", "delete", "purge"] {
            self.beam.call("code", step, vec![Term::atom(MODULE)]).await?;
        }
        Ok(())
    }

    async fn ask<T: for<'a> Deserialize<'a>>(&mut self, question: &str, change: &Change) -> Result<T, NodeError> {
        let answer = self.beam.call(MODULE, question, vec![change.args.clone()]).await?;
        Ok(serde_json::from_value(answer.to_json())?)
    }
}
