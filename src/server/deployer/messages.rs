//! The words for who waits for a deploy: what failed, what the replica said last, what to try.

use std::fmt::Write;
use std::time::Duration;

use crate::server::domain::{Exit, ExitReason, HealthCheck, Outcome, Refusal, Workload};

use super::wishes::{HEALTH_PATH, HEALTH_TIMEOUT};
use super::{DeployError, FailedCheck, PhaseFailure, RolloutFailure};

/// As a shell says: found, but could not be run. So do runtimes of what they could not start at all.
const CANNOT_RUN: i32 = 126;

/// "Starting web (1 replica) and worker (2 replicas) beside what runs."
pub(super) fn starting(raise: &[Workload]) -> String {
    let one = |workload: &Workload| match workload.replicas {
        1 => format!("{} (1 replica)", workload.id.process),
        count => format!("{} ({count} replicas)", workload.id.process),
    };
    format!("Starting {} beside what runs.", raise.iter().map(one).collect::<Vec<_>>().join(" and "))
}

/// One line: what failed.
pub(super) fn reason(failure: &RolloutFailure) -> String {
    let process = &failure.process;
    match &failure.check {
        FailedCheck::Ended(Exit { reason: ExitReason::OOMKilled, .. }) => {
            format!("`{process}` was killed for using more memory than its size")
        }
        FailedCheck::Ended(Exit { code: CANNOT_RUN, .. }) if failure.trouble.is_some() => {
            format!("`{process}` could not be started")
        }
        FailedCheck::Ended(exit) => format!("`{process}` ended with code {} before it was healthy", exit.code),
        FailedCheck::NotReady { check: HealthCheck::Tcp, waited } => {
            format!("`{process}` did not listen on its PORT within {}", shown(*waited))
        }
        FailedCheck::NotReady { check: HealthCheck::Http(path), waited } => {
            format!("`{process}` did not answer GET {path} with 200 to 399 within {}", shown(*waited))
        }
        FailedCheck::NotReady { check: HealthCheck::Uptime(uptime), waited } => {
            format!("`{process}` had not run for {} within {}", shown(*uptime), shown(*waited))
        }
        FailedCheck::NotStarted { waited } => format!("`{process}` could not be started within {}", shown(*waited)),
    }
}

/// "Running the release phase: bin/migrate"
pub(super) fn releasing(line: &str) -> String {
    format!("Running the release phase: {line}")
}

/// One line: what became of the release phase.
pub(super) fn phase_reason(failure: &PhaseFailure) -> String {
    let code = failure.end.code.unwrap_or_default();
    match (failure.end.outcome, &failure.detail) {
        (Outcome::OOMKilled, _) => "the release phase was killed for using more memory than its size".to_owned(),
        (Outcome::TimedOut, _) => format!("the release phase was not done within {}", shown(failure.limit)),
        (Outcome::Error, _) => format!("the release phase ended with code {code}"),
        (Outcome::NotStarted, Some(why)) => format!("the release phase could not be started: {why}"),
        (other, _) => format!("the release phase did not end well ({})", other.as_str()),
    }
}

fn explain_phase(failure: &PhaseFailure) -> String {
    let mut text = last_words("It", "Its last", "", &failure.last_lines);
    let fix = match failure.end.outcome {
        Outcome::OOMKilled => "Make the replicas larger: `gigalixir ps:scale --size 1`.",
        Outcome::TimedOut => "Do what takes long in a job of its own: `gigalixir run --timeout 3600 …`.",
        _ => "Check the `release` line of the Procfile, and that what it needs (a database?) can be reached.",
    };
    let _ = writeln!(text, "\nWhat you can try:\n  1. {fix}");
    let _ = writeln!(text, "  2. Read all it said: `gigalixir jobs:logs {}`.", failure.job);
    text.push_str(
        "\nNo new replica was started. What the phase has done until then, such as migrations, stays done.\n",
    );
    text
}

/// One line: why a release cannot be brought to running nodes.
pub(super) fn not_hot(refusals: &[Refusal]) -> String {
    match refusals {
        [one] => format!("no hot upgrade is possible: {}", one.text),
        several => format!("no hot upgrade is possible, for {} reasons", several.len()),
    }
}

/// What is said before a release is made live with a restart because it cannot be without.
pub(super) fn instead(error: &DeployError) -> String {
    explain_hot(error) + "It is deployed with a restart instead.\n"
}

fn explain_hot(error: &DeployError) -> String {
    let mut text = format!("{}.\n", capitalised(&error.to_string()));
    match error {
        DeployError::NotHot(refusals) => {
            for refusal in refusals {
                let _ = writeln!(text, "  * {}", refusal.text);
                let _ = writeln!(text, "    What to do: {}.", refusal.fix);
            }
        }
        DeployError::Upgrade(failure) => {
            for found in &failure.found {
                let shown: String = found.chars().take(2000).collect();
                let _ = writeln!(text, "  * {}", shown.replace('\n', "\n    "));
            }
        }
        _ => {}
    }
    text
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// The whole story, for the terminal of who waits; ends with a line end.
pub fn explain(error: &DeployError) -> String {
    let mut text = format!("The new release was not made live: {error}.\n");
    let failure = match error {
        DeployError::NotHot(_) => {
            return explain_hot(error) + "\nNothing was touched.\n";
        }
        DeployError::Upgrade(failure) => {
            let end = match failure.rehearsal {
                true => "Nothing of the app was touched.",
                false => "Every replica runs the old release.",
            };
            return explain_hot(error)
                + "\n"
                + end
                + " With `or-restart` as well it is deployed with a restart instead.\n";
        }
        DeployError::Unhealthy(failure) => failure,
        DeployError::ReleasePhase(failure) => return text + &explain_phase(failure),
        _ => return text,
    };
    if let Some(trouble) = &failure.trouble {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "\n{trouble}");
    }
    text.push_str(&words_and_advice(failure));
    text.push_str("\nNothing has changed for your visitors. You can push the same commit again.\n");
    text
}

/// The same for who has pushed nothing but changed variables, sizes or the release; ends with a line end.
pub fn explain_change(error: &DeployError) -> String {
    let mut text = format!("{error}; nothing has changed.\n");
    match error {
        DeployError::Unhealthy(failure) => {
            if let Some(trouble) = &failure.trouble {
                let _ = writeln!(text, "\n{trouble}");
            }
            text + &words_and_advice(failure)
        }
        DeployError::ReleasePhase(failure) => text + &explain_phase(failure),
        _ => text,
    }
}

fn words_and_advice(failure: &RolloutFailure) -> String {
    let mut text = match &failure.instance {
        Some(instance) => last_words(instance, "The last", &format!(" of {instance}"), &failure.last_lines),
        None => String::new(),
    };
    text.push_str("\nWhat you can try:\n");
    for (number, advice) in (1..).zip(advice(failure)) {
        let _ = writeln!(text, "  {number}. {advice}");
    }
    text
}

/// "The last 2 lines of hill-web-7-1:", and the lines.
fn last_words(who: &str, begin: &str, end: &str, lines: &[String]) -> String {
    let mut text = match lines.len() {
        0 => format!("\n{who} wrote nothing to its standard output or error.\n"),
        1 => format!("\n{begin} line{end}:\n"),
        count => format!("\n{begin} {count} lines{end}:\n"),
    };
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
    text
}

fn advice(failure: &RolloutFailure) -> Vec<String> {
    let process = &failure.process;
    let logs = "Read the whole story: `gigalixir logs`.".to_owned();
    let timeout =
        format!("Give it more time: `gigalixir config:set {HEALTH_TIMEOUT}=180 --no-restart`, and try again.");
    let specific = match &failure.check {
        FailedCheck::Ended(Exit { reason: ExitReason::OOMKilled, .. }) => {
            vec!["Make the replicas larger: `gigalixir ps:scale --size 1`.".to_owned()]
        }
        FailedCheck::Ended(Exit { code: CANNOT_RUN, .. }) if failure.trouble.is_some() => {
            vec!["Tell the operator of the platform: it is not the app that failed.".to_owned()]
        }
        FailedCheck::Ended(Exit { code: CANNOT_RUN | 127, .. }) => vec![
            format!("Check the command of `{process}` in the Procfile: 127 means not found, 126 not executable."),
            "Check that the build made what the command names.".to_owned(),
        ],
        FailedCheck::Ended(_) => vec![
            "Look for a missing config variable: `gigalixir config` lists what is set.".to_owned(),
            format!("Start the command of `{process}` in the Procfile on your own machine, as in production."),
        ],
        FailedCheck::NotReady { check: HealthCheck::Tcp, .. } => vec![
            "Listen on the port that the environment variable PORT names, on all addresses (0.0.0.0).".to_owned(),
            "Phoenix: `http: [port: String.to_integer(System.get_env(\"PORT\"))]` and `server: true`.".to_owned(),
            timeout,
        ],
        FailedCheck::NotReady { check: HealthCheck::Http(path), .. } => vec![
            format!("Answer GET {path} with a status of 200 to 399, without a redirect to another host."),
            format!("Ask for another path: `gigalixir config:set {HEALTH_PATH}=/health --no-restart`."),
            timeout,
        ],
        FailedCheck::NotReady { .. } | FailedCheck::NotStarted { .. } => vec![timeout],
    };
    specific.into_iter().chain([logs]).collect()
}

fn shown(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        1 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::domain::ProcessType;

    #[test]
    fn a_pusher_reads_what_failed_the_last_lines_and_what_to_try() {
        let exit = Exit { code: 1, reason: ExitReason::Error, at: jiff::Timestamp::UNIX_EPOCH };
        let failure = RolloutFailure {
            process: ProcessType::web(),
            instance: Some("shop-web-7-1".to_owned()),
            check: FailedCheck::Ended(exit),
            trouble: None,
            last_lines: vec!["booting".to_owned(), "** (KeyError) key :url not found".to_owned()],
        };
        let wanted = concat!(
            "The new release was not made live: `web` ended with code 1 before it was healthy.\n",
            "\n",
            "The last 2 lines of shop-web-7-1:\n",
            "    booting\n",
            "    ** (KeyError) key :url not found\n",
            "\n",
            "What you can try:\n",
            "  1. Look for a missing config variable: `gigalixir config` lists what is set.\n",
            "  2. Start the command of `web` in the Procfile on your own machine, as in production.\n",
            "  3. Read the whole story: `gigalixir logs`.\n",
            "\n",
            "Nothing has changed for your visitors. You can push the same commit again.\n",
        );
        let error = DeployError::Unhealthy(Box::new(failure));
        assert_eq!(explain(&error), wanted);
        let changed = explain_change(&error);
        assert!(
            changed.starts_with("`web` ended with code 1 before it was healthy; nothing has changed.\n\nThe last 2")
        );
        assert!(changed.contains("    ** (KeyError) key :url not found\n") && !changed.contains("push"), "{changed}");
    }

    #[test]
    fn silence_is_named_too() {
        let failure = RolloutFailure {
            process: ProcessType::web(),
            instance: Some("shop-web-7-1".to_owned()),
            check: FailedCheck::NotReady { check: HealthCheck::Tcp, waited: Duration::from_secs(60) },
            trouble: Some("0/1 nodes are available: 1 Insufficient memory.".to_owned()),
            last_lines: Vec::new(),
        };
        let told = explain(&DeployError::Unhealthy(Box::new(failure)));
        assert!(told.contains("\n0/1 nodes are available: 1 Insufficient memory.\n"), "{told}");
        assert!(told.contains("`web` did not listen on its PORT within 60 seconds."), "{told}");
        assert!(told.contains("shop-web-7-1 wrote nothing to its standard output or error."), "{told}");
        assert!(told.contains("1. Listen on the port that the environment variable PORT names"), "{told}");
    }
}
