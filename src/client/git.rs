//! The git repository the person stands in: which apps its remotes name, and the remote that pushes to an app.
//!
//! The person's own `git` is asked, so that its configuration (`insteadOf` and the like) holds.

use std::io;
use std::process::{Command, Output, Stdio};

use url::Url;

use super::error::Error;
use super::host::Host;

/// The part of a URL that Gigalixir's own client looks for, and that a platform serves for it.
const MARK: &str = "git.gigalixir.com/";

/// What `create` and `git:remote` call the remote; one of this name counts wherever the platform serves git.
pub const REMOTE: &str = "gigalixir";

/// A remote that pushes to an app of the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// What git calls it.
    pub name: String,
    /// The app it pushes to.
    pub app: String,
}

/// Whether the current folder is in a git repository (and git is installed).
pub fn in_repository() -> bool {
    git(&["rev-parse", "--git-dir"]).is_ok_and(|output| output.status.success())
}

/// The remotes that name apps of `host`; none outside a repository or without git.
pub fn remotes(host: &Host) -> Vec<Remote> {
    match git(&["remote", "-v"]) {
        Ok(output) if output.status.success() => parse(&String::from_utf8_lossy(&output.stdout), host),
        _ => Vec::new(),
    }
}

/// Makes `name` the remote with this URL, whether it was there or not.
pub fn set_remote(name: &str, url: &str) -> Result<(), Error> {
    let set = |verb| git(&["remote", verb, "--", name, url]).map_err(|error| Error::io("could not run `git`", &error));
    let first = set("set-url")?;
    if first.status.success() {
        return Ok(());
    }
    let second = set("add")?;
    if second.status.success() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "git did not set the remote `{name}`: {}",
        String::from_utf8_lossy(&second.stderr).trim()
    )))
}

/// Has git push to `to` whatever the person calls `from`, in every repository of theirs. Earlier rewrites of `from` go.
pub fn rewrite(from: &str, to: &str) -> Result<(), Error> {
    let run = |arguments: &[&str]| git(arguments).map_err(|error| Error::io("could not run `git`", &error));
    let listed = run(&["config", "--global", "--null", "--get-regexp", r"^url\..*\.insteadof$"])?;
    for entry in String::from_utf8_lossy(&listed.stdout).split('\0') {
        if let Some((key, value)) = entry.split_once('\n')
            && value == from
        {
            run(&["config", "--global", "--unset-all", key])?;
        }
    }
    let set = run(&["config", "--global", &format!("url.{to}.insteadOf"), from])?;
    if set.status.success() {
        return Ok(());
    }
    Err(Error::failed(format!("git did not keep the rewrite: {}", String::from_utf8_lossy(&set.stderr).trim())))
}

/// Pushes `reference` to the branch that the remote deploys, with push options; git speaks for itself. The branch is
/// `master` where that is there already, else `main`. False: the branch is there already, and nothing was pushed.
pub fn push(remote: &str, reference: &str, options: &[&str]) -> Result<bool, Error> {
    let failed = |error: io::Error| Error::io("could not run `git`", &error);
    let branches = ["refs/heads/master", "refs/heads/main"];
    let listed = git(&["ls-remote", "--heads", "--", remote, branches[0], branches[1]]).map_err(failed)?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let has = |branch: &str| listed.lines().find_map(|line| line.strip_suffix(branch)).map(str::trim);
    let branch = if has(branches[0]).is_some() { branches[0] } else { branches[1] };
    let commit = format!("{reference}^{{commit}}");
    let wished = git(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).map_err(failed)?;
    if has(branch).is_some_and(|there| there.as_bytes() == wished.stdout.trim_ascii()) {
        return Ok(false);
    }
    let mut command = Command::new("git");
    command.arg("push");
    for option in options {
        command.args(["-o", option]);
    }
    let status = command.args(["--", remote, &format!("{reference}:{branch}")]).status().map_err(failed)?;
    if status.success() { Ok(true) } else { Err(Error::failed("the push was not accepted; git says why above")) }
}

fn git(arguments: &[&str]) -> io::Result<Output> {
    Command::new("git").args(arguments).stdin(Stdio::null()).output()
}

/// Reads `git remote -v`: `NAME<tab>URL (fetch)`.
fn parse(listing: &str, host: &Host) -> Vec<Remote> {
    let mut remotes: Vec<Remote> = Vec::new();
    for line in listing.lines() {
        let Some((name, rest)) = line.split_once('\t') else { continue };
        let url = rest.rsplit_once(" (").map_or(rest, |(url, _)| url);
        let Some(app) = app_of(name, url, host) else { continue };
        let remote = Remote { name: name.to_owned(), app };
        if !remotes.contains(&remote) {
            remotes.push(remote);
        }
    }
    remotes
}

fn app_of(name: &str, url: &str, host: &Host) -> Option<String> {
    let path = match url.split_once(MARK) {
        Some((_, path)) => path.to_owned(),
        None => {
            let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
            if name != REMOTE && !host.serves(&url) {
                return None;
            }
            url.path_segments()?.rfind(|segment| !segment.is_empty())?.to_owned()
        }
    };
    let app = path.trim_end_matches('/');
    let app = app.split(".git").next().unwrap_or(app);
    (!app.is_empty() && !app.contains('/')).then(|| app.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_the_apps_they_name() {
        let host = Host::parse("http://localhost:4000/paas").unwrap();
        for (url, app) in [
            ("https://git.gigalixir.com/my-app.git/", Some("my-app")),
            ("https://git.gigalixir.com/my-app.git", Some("my-app")),
            ("https://me%40x.org:KEY@git.gigalixir.com/my-app.git/", Some("my-app")),
            ("http://localhost:4000/paas/my-app.git", Some("my-app")),
            ("http://me@localhost:4000/paas/git.gigalixir.com/my-app.git/", Some("my-app")),
            ("http://localhost:4000/my-app", Some("my-app")),
            ("http://localhost:5000/my-app.git", None),
            ("https://github.com/me/my-app.git", None),
            ("git@github.com:me/my-app.git", None),
            ("http://localhost:4000/", None),
            ("https://git.gigalixir.com/", None),
        ] {
            assert_eq!(app_of("origin", url, &host).as_deref(), app, "{url}");
        }
        assert_eq!(app_of(REMOTE, "https://git.example/my-app.git", &host).as_deref(), Some("my-app"));
        assert_eq!(app_of(REMOTE, "git@github.com:me/my-app.git", &host), None);
    }

    #[test]
    fn fetch_and_push_lines_are_one_remote() {
        let host = Host::parse("http://localhost:4000").unwrap();
        let listing = "gigalixir\thttp://localhost:4000/a.git (fetch)\ngigalixir\thttp://localhost:4000/a.git (push)\n\
                       origin\tgit@github.com:me/a.git (fetch)\nstaging\thttp://localhost:4000/b.git (fetch) [blob:none]\n";
        let remote = |name: &str, app: &str| Remote { name: name.into(), app: app.into() };
        assert_eq!(parse(listing, &host), [remote("gigalixir", "a"), remote("staging", "b")]);
    }
}
