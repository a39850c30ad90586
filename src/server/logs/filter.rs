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

    /// Whether a line is wanted.
    pub fn lets_through(&self, line: &LogLine) -> bool {
        match &line.source {
            LogSource::Instance { name, process, .. } => {
                self.process.as_ref().is_none_or(|wanted| wanted == process)
                    && self.instance.as_ref().is_none_or(|wanted| wanted == name)
            }
            LogSource::Platform | LogSource::Build | LogSource::Router => {
                self.process.is_none() && self.instance.is_none()
            }
        }
    }
}
