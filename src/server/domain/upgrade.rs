use serde::{Deserialize, Serialize};

/// How a running release becomes another in place, or why it cannot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpgradePlan {
    /// The releases' name.
    pub name: String,
    /// The version that runs.
    pub from: String,
    /// The version that shall run.
    pub to: String,
    /// Why it cannot be done in place; empty if it can.
    pub refusals: Vec<Refusal>,
    /// Every application that differs.
    pub apps: Vec<AppChange>,
    /// What is no reason to refuse and still worth a look.
    pub notes: Vec<String>,
    /// How it is done; `None` if it is refused.
    pub scripts: Option<UpgradeScripts>,
}

/// One reason why a release cannot be upgraded in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Its kind, one word: `version`, `otp`, `supervision` …
    pub what: String,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub fix: String,
}

/// One application in two releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppChange {
    /// Its name.
    pub name: String,
    /// Its version before; `None` if it is new.
    pub from: Option<String>,
    /// Its version afterwards; `None` if it is gone.
    pub to: Option<String>,
    /// `own` (the application brings an appup), `relup` (the release brings one), `derived`, `added` or `removed`.
    pub appup: String,
    /// The modules that differ.
    pub modules: Vec<ModuleChange>,
}

/// One module in two releases.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleChange {
    /// Its name, as Erlang has it.
    pub name: String,
    /// `added`, `changed` or `deleted`.
    pub change: String,
    /// `server`, `statem`, `event`, `supervisor`, `application` or `code`.
    pub kind: String,
}

/// What nodes are told, in Erlang's words: nobody here reads them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpgradeScripts {
    /// The instructions forth.
    pub up: String,
    /// The instructions back.
    pub down: String,
    /// Whether there is a way back.
    pub undoable: bool,
    /// The new release's applications and their versions.
    pub libs: String,
    /// The old release's.
    pub old_libs: String,
    /// Supervisors whose children may be others afterwards.
    pub supervisors: Vec<String>,
    /// What changes of applications' configuration.
    pub environment: String,
    /// The same back.
    pub undo_environment: String,
    /// The version of the Erlang runtime, the same in both.
    pub erts: String,
}

impl UpgradePlan {
    /// A plan that is none, for this one reason.
    pub fn refused(from: &str, to: &str, refusal: Refusal) -> Self {
        let (from, to) = (from.to_owned(), to.to_owned());
        let (apps, notes) = (Vec::new(), Vec::new());
        Self { name: String::new(), from, to, refusals: vec![refusal], apps, notes, scripts: None }
    }

    /// The plan for the way back: what was forth is back. `None` if it knows none.
    pub fn reversed(self) -> Option<Self> {
        let scripts = self.scripts.filter(|scripts| scripts.undoable)?;
        let opposite = |change: String| match change.as_str() {
            "added" => "deleted".to_owned(),
            "deleted" => "added".to_owned(),
            _ => change,
        };
        let module = |module: ModuleChange| ModuleChange { change: opposite(module.change), ..module };
        let app = |app: AppChange| AppChange {
            from: app.to,
            to: app.from,
            appup: match app.appup.as_str() {
                "added" => "removed".to_owned(),
                "removed" => "added".to_owned(),
                _ => app.appup,
            },
            modules: app.modules.into_iter().map(module).collect(),
            name: app.name,
        };
        let back = UpgradeScripts {
            up: scripts.down,
            down: scripts.up,
            libs: scripts.old_libs,
            old_libs: scripts.libs,
            environment: scripts.undo_environment,
            undo_environment: scripts.environment,
            ..scripts
        };
        Some(Self {
            from: self.to,
            to: self.from,
            apps: self.apps.into_iter().map(app).collect(),
            scripts: Some(back),
            ..self
        })
    }
}

/// One node that a release was brought to while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeUpgrade {
    /// The replica.
    pub instance: String,
    /// How far it got.
    pub state: NodeUpgradeState,
    /// Microseconds from its first suspended process to the last resumed one.
    pub pause_us: Option<u64>,
    /// Microseconds that the change took as a whole.
    pub took_us: Option<u64>,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeUpgradeState {
    /// It may be at the old version, the new one, or between.
    Begun,
    /// At the new one.
    Changed,
    /// At the old one again.
    Undone,
}

impl NodeUpgradeState {
    /// As stored and as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Begun => "begun",
            Self::Changed => "changed",
            Self::Undone => "undone",
        }
    }

    /// From the store.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Begun, Self::Changed, Self::Undone].into_iter().find(|state| state.as_str() == text)
    }
}
