//! The words of the builder. Every failure: what happened, what was found, numbered ways out.

use super::buildpacks::PackRefError;
use super::error::BuildError;
use super::sandbox::{Bound, Bounds};

/// Names of the tree that a message shows at most.
const SHOWN: usize = 12;

/// A failure as the pusher reads it, in Heroku's ` !     ` style, line ends included.
pub fn explain(error: &BuildError) -> String {
    let (found, ways) = details(error);
    let mut text = format!("\n !     {}\n", sentence(&error.to_string()));
    let mut say = |line: &str| {
        text.push_str(format!(" !     {line}").trim_end());
        text.push('\n');
    };
    if !found.is_empty() {
        say("");
        found.lines().for_each(&mut say);
    }
    if !ways.is_empty() {
        say("");
        say("What to try:");
        ways.iter().enumerate().for_each(|(index, way)| say(&format!("  {}. {way}", index + 1)));
    }
    text.push('\n');
    text
}

/// What a bound was, for people.
pub fn bound(bound: Bound, bounds: &Bounds) -> String {
    match bound {
        Bound::Memory => format!("it needed more than {} of memory", bytes(bounds.memory_bytes)),
        Bound::Processes => format!("it ran more than {} processes at once", bounds.processes),
        Bound::Time => format!("it took longer than {}", time(bounds.time.as_secs())),
        Bound::Output => format!("it wrote more than {} of output", bytes(bounds.output_bytes)),
        Bound::Disk => format!("it filled more than {} of disk", bytes(bounds.disk_bytes)),
    }
}

/// A number of bytes, for people.
pub fn bytes(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / *unit as f64),
        None => format!("{bytes} bytes"),
    }
}

fn time(seconds: u64) -> String {
    if seconds >= 120 { format!("{} minutes", seconds / 60) } else { format!("{seconds} seconds") }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// What was found, and the ways out.
fn details(error: &BuildError) -> (String, Vec<String>) {
    let ways = |ways: &[&str]| ways.iter().map(|&way| way.to_owned()).collect::<Vec<_>>();
    let none = String::new();
    match error {
        BuildError::NothingDetected { found } => (
            format!("{}\nA `mix.exs` or a `Procfile` at the top was looked for.", listing(found)),
            ways(&[
                "Is the app in a folder? Push that folder alone: git subtree push --prefix FOLDER gigalixir main",
                "An app in another language: add a `Procfile` that says how to start it, such as `web: ./server`.",
                "Built by a buildpack: name it in a file `.buildpacks` (one address on each line).",
                "A file was forgotten? `git status --ignored` tells what was not pushed.",
            ]),
        ),
        BuildError::PackAddress { error: PackRefError::UnknownName(_), builtins, .. } => (
            format!("Built in: {}.", builtins.join(", ")),
            ways(&["Use a built-in name, or the pack's https address, perhaps with #BRANCH."]),
        ),
        BuildError::PackAddress { .. } => {
            (none, ways(&["Write a built-in name, https://HOST/REPOSITORY.git#BRANCH or https://HOST/PACK.tgz."]))
        }
        BuildError::PackFetch { .. } => (
            none,
            ways(&[
                "Check the address and, after #, the branch or tag: git ls-remote ADDRESS",
                "A private repository needs a token: https://TOKEN@HOST/REPOSITORY.git in BUILDPACK_URL.",
            ]),
        ),
        BuildError::Detect { .. } => (
            "Every buildpack named in `.buildpacks` or BUILDPACK_URL has to fit.".to_owned(),
            ways(&["Take it out of the list.", "Add the file it looks for (its documentation says which)."]),
        ),
        BuildError::Pack { .. } => (
            "Its output above tells why.".to_owned(),
            ways(&["Push once more with an empty cache if it worked before: git push -o clean gigalixir main"]),
        ),
        BuildError::Bound { bound, .. } => (none, ways(bound_ways(*bound))),
        BuildError::Procfile(_) => (
            "A line is `TYPE: COMMAND`; a type is of a-z, 0-9, - and _, and begins with a letter.".to_owned(),
            ways(&["Correct the line, commit, push again."]),
        ),
        BuildError::NoProcesses => (
            "There is no `Procfile` with a line in it, and the buildpack names no process either.".to_owned(),
            ways(&["Add a `Procfile` with a line such as `web: COMMAND`; COMMAND has to listen on $PORT."]),
        ),
        BuildError::SlugTooLarge { .. } => (
            none,
            ways(&[
                "Keep what the running app does not need out of it: name it in `.slugignore`, as in a `.gitignore`.",
                "Put large files on an object store.",
            ]),
        ),
        _ => (none, Vec::new()),
    }
}

fn bound_ways(bound: Bound) -> &'static [&'static str] {
    match bound {
        Bound::Memory => &["Compile with fewer jobs at once.", "Ask the operator for a larger build memory."],
        Bound::Processes => &["Look for a script that starts itself again.", "Build with fewer jobs at once."],
        Bound::Time => {
            &["Look in the output above for what it waited for.", "Ask the operator for a longer build time."]
        }
        Bound::Output => &["Look in the output above for a loop.", "Build less verbosely."],
        Bound::Disk => &[
            "Empty the build cache: git push -o clean gigalixir main",
            "Keep large files out of the repository.",
            "Ask the operator for a larger build disk.",
        ],
    }
}

fn listing(found: &[String]) -> String {
    if found.is_empty() {
        return "The pushed tree is empty.".to_owned();
    }
    let more = found.len().checked_sub(SHOWN).filter(|more| *more > 0).map(|more| format!(" and {more} more"));
    let names: Vec<_> = found.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
    format!("Found at the top: {}{}.", names.join(", "), more.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_detected_reads_well() {
        let found = (0..14).map(|n| format!("file{n}")).collect();
        let text = explain(&BuildError::NothingDetected { found });
        assert!(
            text.starts_with("\n !     No buildpack fits this app.\n !\n !     Found at the top: file0, "),
            "{text}"
        );
        assert!(
            text.contains("file11 and 2 more.") && text.contains("\n !       1. Is the app in a folder?"),
            "{text}"
        );
    }

    #[test]
    fn a_bound_says_which_and_how_much() {
        let error = BuildError::Bound { bound: Bound::Memory, bounds: Bounds::default() };
        assert_eq!(error.to_string(), "build stopped: it needed more than 1.9 GiB of memory");
    }
}
