use crate::server::domain::{LogLine, LogSource, ProcessType};

/// Which lines a reader wants.
#[derive(Debug, Clone, Default)]
pub struct LogFilter {
    process: Option<ProcessType>,
    instance: Option<String>,
}

impl LogFilter {
    /// Everything: replicas, builds, the platform.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only replicas of one process type.
    pub fn process(process: ProcessType) -> Self {
        Self { process: Some(process), instance: None }
    }

    /// Only one replica.
    pub fn instance(name: &str) -> Self {
        Self { process: None, instance: Some(name.to_owned()) }
    }

    /// Only replicas that both words name, where they are given: a process type; a replica's name, or as `web.2`.
    pub fn of(process: Option<ProcessType>, replica: Option<String>) -> Self {
        Self { process, instance: replica }
    }

    /// Whether a line is wanted.
    pub fn lets_through(&self, line: &LogLine) -> bool {
        match &line.source {
            LogSource::Instance { name, process, index } => {
                self.process.as_ref().is_none_or(|wanted| wanted == process)
                    && self.instance.as_ref().is_none_or(|wanted| wanted == name || is_called(wanted, process, *index))
            }
            LogSource::Platform | LogSource::Build | LogSource::Router => {
                self.process.is_none() && self.instance.is_none()
            }
        }
    }
}

/// Whether it is `web.2`.
fn is_called(wanted: &str, process: &ProcessType, index: u32) -> bool {
    let number = wanted.strip_prefix(process.as_str()).and_then(|rest| rest.strip_prefix('.'));
    number.is_some_and(|number| number == index.to_string())
}
