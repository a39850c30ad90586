//! The log: text on a terminal, JSON lines otherwise, always on standard error.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use super::config::{LogFormat, ServerConfig};

/// Begins to log as the configuration says. `RUST_LOG` goes before it. Call once.
pub(super) fn start(config: &ServerConfig) -> anyhow::Result<()> {
    let directives = std::env::var_os("RUST_LOG").map(|value| value.to_string_lossy().into_owned());
    let directives = directives.unwrap_or_else(|| config.log.clone());
    let filter = EnvFilter::try_new(&directives).with_context(|| format!("`log` is \"{directives}\""))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match config.log_format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    if json {
        builder.json().init()
    } else {
        builder.with_target(false).init()
    }
    Ok(())
}
