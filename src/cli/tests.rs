use clap::error::ErrorKind;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let words = std::iter::once("gigalixir").chain(line.split_whitespace());
    tree().try_get_matches_from(words).and_then(|matches| Cli::from_arg_matches(&matches))
}

#[test]
fn verify_cli() {
    tree().debug_assert();
}

#[test]
fn every_visible_command_is_in_one_group() {
    let tree = tree();
    let mut listed: Vec<_> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
    listed.retain(|name| *name != "help" && (cfg!(feature = "server") || *name != "server"));
    listed.sort_unstable();
    let mut visible: Vec<_> =
        tree.get_subcommands().filter(|command| !command.is_hide_set()).map(clap::Command::get_name).collect();
    visible.sort_unstable();
    assert_eq!(listed, visible);
}

#[test]
fn every_command_has_a_summary_and_argument_help() {
    for command in tree().get_subcommands() {
        let name = command.get_name();
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(!about.is_empty() && !about.ends_with('.'), "{name}: {about:?}");
        let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(examples.contains("Examples:\n  ") || command.is_hide_set(), "{name} shows no example");
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{name}: {}", argument.get_id());
        }
    }
}

/// Both spellings of every command, as the manual of 2017 and today's have them.
#[test]
fn lines_that_people_type() {
    for line in [
        "signup",
        "signup -e a@b.c",
        "signup:start -e a@b.c",
        "signup:finish --uuid u --code c --password-stdin",
        "login",
        "login --host http://localhost:4000 -e a@b.c -p secret -y",
        "logout",
        "account",
        "account:api_key:reset -p secret -y",
        "reset_api_key",
        "account:password:change -p old -n new",
        "change_password",
        "account:password:reset -e a@b.c",
        "send_reset_password_token",
        "account:password:set -t token -p secret",
        "set_password",
        "account:confirmation:resend -e a@b.c",
        "send_email_confirmation_token",
        "create",
        "create -n my-app",
        "apps:create --name my-app --stack gigalixir-24 --cloud gcp --region europe-west1",
        "apps",
        "apps:info my-app",
        "apps:info -a my-app",
        "apps:destroy -y -a my-app",
        "delete_app my-app --confirm my-app",
        "apps:rename old new",
        "git:remote my-app",
        "set_git_remote my-app",
        "open",
        "open my-app",
        "ps",
        "status my-app",
        "ps:scale web=2 worker=1",
        "ps:scale -r 2 -s 0.6",
        "scale my-app --replicas=2 --size=0.6",
        "ps:restart -a my-app",
        "restart my-app",
        "config",
        "configs my-app",
        "config:set A=1 B=-2 -a my-app",
        "config:set --no_restart A=1",
        "config:set A=1 --no-restart",
        "config:set --from-file - --app_name my-app",
        "set_config my-app FOO bar",
        "set_config my-app FOO -bar",
        "config:unset A B",
        "delete_config my-app FOO",
        "delete_config FOO -a my-app",
        "config:get A",
        "config:export --format shell",
        "config:import -",
        "config:import .env",
        "releases",
        "releases my-app",
        "rollback",
        "rollback my-app --rollback_id=2fbf5dd5-b920-4f2c-aeea-ebde333ee1e6",
        "releases:rollback -r 3",
        "releases:rollback --version 3",
        "releases:upgrade-plan 7 8",
        "deploy --hot --or-restart my-app",
        "deploy --clean --ref topic",
        "releases:upgrade-plan live 2fbf5dd5-b920-4f2c-aeea-ebde333ee1e6 -a my-app",
        "logs",
        "logs my-app",
        "logs -n 10 -t -p web",
        "logs --num=10 --no_tail",
        "logs --no-tail --process web",
        "completion bash",
        "version",
        "--json apps",
        "apps --json -q",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn lines_that_leave_out_what_is_clear() {
    for line in [
        "create my-app",
        "releases:rollback 3",
        "rollback my-app 3",
        "ps:kill --replica web.2",
        "logs --replica web.2",
        "canary:unset",
        "stack:set debian-12",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn lines_about_accounts_that_people_type() {
    for line in [
        "login -t 123456",
        "login --mfa_token 123456 -e a@b.c",
        "account:email:set -p secret -e a@b.c",
        "account:email:confirm -t token",
        "account:email:revoke --token token",
        "account:destroy -y -e a@b.c -p secret",
        "account:mfa:activate -y",
        "account:mfa:deactivate -y",
        "account:mfa:recovery_codes:regenerate -y",
        "account:ssh_keys",
        "ssh_keys",
        "add_ssh_key key",
        "delete_ssh_key 1",
        "compat --write",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn lines_about_visitors_and_people() {
    for line in [
        "domains my-app",
        "domains:add www.example.com",
        "add_domain my-app www.example.com",
        "domains:remove -a my-app www.example.com",
        "delete_domain my-app www.example.com",
        "maintenance:on -y",
        "maintenance:off my-app",
        "maintenance:page -a my-app sorry.html",
        "maintenance:page --default",
        "router my-app",
        "router:set -a my-app --max-connections 5 --max-body 10M --affinity on --h2c on --canonical www --access-log off",
        "access",
        "permissions my-app",
        "access:add a@b.c --role VIEWER",
        "add_permission my-app a@b.c",
        "access:remove a@b.c",
        "delete_permission my-app a@b.c",
        "apps:activity my-app",
        "stacks",
        "nodes",
        "stack:set -s gigalixir-24",
        "stack:set -a my-app gigalixir-24",
        "canary",
        "canary:set -c next -w 5",
        "canary:unset -c next",
        "ps:kill -p hello-web-1-abcde",
        "ps:kill -a my-app --pod hello-web-1-abcde -y",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn lines_about_jobs() {
    for line in [
        "run mix ecto.migrate",
        "run -a my-app mix ecto.migrate --all",
        "run --detach --size 1 --timeout 60 --env A=b -- mix x -a y",
        "jobs my-app",
        "jobs:info 12",
        "jobs:logs 12 --no-tail --plain",
        "jobs:stop my-app 12",
        "jobs:schedule @daily mix report --all",
        "jobs:schedule --name x --tz Europe/Rome --overlap queue --catch-up @daily -- mix report",
        "jobs:schedules",
        "jobs:unschedule -a my-app x",
    ] {
        parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    }
}

#[test]
fn lines_that_make_no_sense() {
    for (line, kind) in [
        ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
        ("nonsense", ErrorKind::InvalidSubcommand),
        ("config:set", ErrorKind::MissingRequiredArgument),
        ("config:get", ErrorKind::MissingRequiredArgument),
        ("create -n one two", ErrorKind::ArgumentConflict),
        ("stack:set", ErrorKind::MissingRequiredArgument),
        ("stack:set -s one two", ErrorKind::ArgumentConflict),
        ("ps:scale -r minus", ErrorKind::ValueValidation),
        ("login -p secret --password-stdin", ErrorKind::ArgumentConflict),
        ("rollback -r 1 --rollback_id x", ErrorKind::ArgumentConflict),
        ("logs a b", ErrorKind::UnknownArgument),
        ("--version", ErrorKind::DisplayVersion),
        ("help", ErrorKind::DisplayHelp),
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
    }
}

#[test]
fn bash_completes_names_with_colons() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("gigalixir.bash");
    std::fs::write(&script, completion(Shell::Bash)).unwrap();
    let line = "source \"$1\"; [[ $COMP_WORDBREAKS != *:* ]] || exit 1; \
                COMP_WORDS=(gigalixir apps:cr); COMP_CWORD=1; \
                _gigalixir gigalixir apps:cr gigalixir; echo \"${COMPREPLY[@]}\"";
    let bash = std::process::Command::new("bash").args(["--norc", "-c", line, "bash"]).arg(&script).output().unwrap();
    assert_eq!(String::from_utf8(bash.stdout).unwrap(), "apps:create\n");
}

#[test]
#[cfg(feature = "server")]
fn the_top_level_help() {
    insta::assert_snapshot!(tree().term_width(100).render_help());
}
