//! The list of commands: their names, and the first line of each one's help.

use clap::Subcommand;

use super::{
    access, account, activity, apps, canary, certs, cluster, compat, config, cp, deploy, domains, drains, email,
    forward, git, inside, jobs, logs, maintenance, mfa, observer, ps, releases, router, run, schedules, signup,
    ssh_keys, stacks, stats, usage,
};

/// The client's commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make an account: e-mail, code from the mail, password
    Signup(signup::Signup),
    /// Begin a sign-up in a script: mail the code, print the session's uuid
    #[command(name = "signup:start")]
    SignupStart(signup::SignupStart),
    /// End a sign-up in a script: hand in code and password
    #[command(name = "signup:finish")]
    SignupFinish(signup::SignupFinish),
    /// Sign in, and keep the API key in ~/.netrc
    Login(account::Login),
    /// Forget the API key in ~/.netrc
    #[command(after_help = "Examples:\n  gigalixir logout")]
    Logout,
    /// Show who you are
    #[command(after_help = "Examples:\n  gigalixir account\n  gigalixir account --json | jq -r .email")]
    Account,
    /// Replace the API key by a new one
    #[command(name = "account:api_key:reset", visible_alias = "reset_api_key")]
    ApiKeyReset(account::ApiKeyReset),
    /// Change the password
    #[command(name = "account:password:change", visible_alias = "change_password")]
    PasswordChange(account::PasswordChange),
    /// Mail a token that sets a forgotten password anew
    #[command(
        name = "account:password:reset",
        visible_alias = "send_reset_password_token",
        after_help = "Examples:\n  gigalixir account:password:reset -e me@example.com"
    )]
    PasswordReset(account::EmailArgs),
    /// Set the password with a token from the mail
    #[command(name = "account:password:set", visible_alias = "set_password")]
    PasswordSet(account::PasswordSet),
    /// Mail the confirmation of your address again
    #[command(
        name = "account:confirmation:resend",
        visible_alias = "send_email_confirmation_token",
        after_help = "Examples:\n  gigalixir account:confirmation:resend -e me@example.com"
    )]
    ConfirmationResend(account::EmailArgs),
    /// Ask for another e-mail address
    #[command(name = "account:email:set")]
    EmailSet(email::Set),
    /// Confirm another e-mail address with the token mailed to it
    #[command(
        name = "account:email:confirm",
        after_help = "Examples:\n  gigalixir account:email:confirm --token TOKEN-FROM-THE-MAIL"
    )]
    EmailConfirm(email::Token),
    /// Stop or undo a change of e-mail address with the token mailed to the old one
    #[command(
        name = "account:email:revoke",
        after_help = "Examples:\n  gigalixir account:email:revoke --token TOKEN-FROM-THE-MAIL"
    )]
    EmailRevoke(email::Token),
    /// Ask for a token of an authenticator app at every login
    #[command(name = "account:mfa:activate", after_help = "Examples:\n  gigalixir account:mfa:activate")]
    MfaActivate(mfa::Mfa),
    /// Ask for no token any more
    #[command(name = "account:mfa:deactivate", after_help = "Examples:\n  gigalixir account:mfa:deactivate")]
    MfaDeactivate(mfa::Mfa),
    /// Replace the codes that stand in for a lost authenticator app
    #[command(
        name = "account:mfa:recovery_codes:regenerate",
        after_help = "Examples:\n  gigalixir account:mfa:recovery_codes:regenerate > codes.txt"
    )]
    RecoveryCodes(mfa::Mfa),
    /// List your ssh keys
    #[command(
        name = "account:ssh_keys",
        visible_alias = "ssh_keys",
        after_help = "Examples:\n  gigalixir account:ssh_keys"
    )]
    SshKeys,
    /// Add an ssh key
    #[command(name = "account:ssh_keys:add", visible_alias = "add_ssh_key")]
    SshKeysAdd(ssh_keys::Add),
    /// Remove an ssh key
    #[command(name = "account:ssh_keys:remove", visible_alias = "delete_ssh_key")]
    SshKeysRemove(ssh_keys::Remove),
    /// Show what your apps have used in this period
    #[command(
        name = "account:usage",
        visible_alias = "current_period_usage",
        after_help = "Examples:\n  gigalixir account:usage\n  gigalixir account:usage --json"
    )]
    Usage,
    /// Show what your apps would use in a whole period as they run now
    #[command(name = "account:usage:running", after_help = "Examples:\n  gigalixir account:usage:running")]
    UsageRunning,
    /// Show what your apps used in past periods
    #[command(
        name = "account:invoices",
        visible_alias = "invoices",
        after_help = "Examples:\n  gigalixir account:invoices --json"
    )]
    Invoices,
    /// Destroy your account, once it has no apps
    #[command(name = "account:destroy")]
    AccountDestroy(account::Destroy),
    /// Print or make the settings that point Gigalixir's own client here
    Compat(compat::Compat),
    /// List your apps
    #[command(after_help = "Examples:\n  gigalixir apps\n  gigalixir apps --json | jq -r '.[].unique_name'")]
    Apps,
    /// Show one app
    #[command(name = "apps:info")]
    AppsInfo(apps::Info),
    /// Make an app, set the git remote, print the app's name
    #[command(name = "apps:create", visible_alias = "create")]
    AppsCreate(apps::Create),
    /// Destroy an app and all that belongs to it
    #[command(name = "apps:destroy", visible_alias = "delete_app")]
    AppsDestroy(apps::Destroy),
    /// Tell why apps are not renamed, and what to do instead
    #[command(name = "apps:rename")]
    AppsRename(apps::Rename),
    /// Show who did what to an app, newest first
    #[command(name = "apps:activity")]
    AppsActivity(activity::List),
    /// Choose what the next push is built on and runs in
    #[command(name = "stack:set")]
    StackSet(stacks::Set),
    /// List what apps can be built on and run in
    #[command(after_help = "Examples:\n  gigalixir stacks\n  gigalixir stacks --json")]
    Stacks,
    /// List the machines that apps run on
    #[command(after_help = "Examples:\n  gigalixir nodes\n  gigalixir nodes --json")]
    Nodes,
    /// Show what an app used, day by day
    #[command(name = "apps:usage")]
    AppsUsage(usage::OfApp),
    /// List an app's own domains
    Domains(domains::List),
    /// Lead a domain to an app; tells which DNS record to set
    #[command(name = "domains:add", visible_alias = "add_domain")]
    DomainsAdd(domains::Add),
    /// Lead a domain to an app no longer
    #[command(name = "domains:remove", visible_alias = "delete_domain")]
    DomainsRemove(domains::Named),
    /// List where an app's log is sent besides, and how that goes
    #[command(visible_alias = "log_drains")]
    Drains(drains::List),
    /// Send an app's log to another machine too, by HTTP or syslog
    #[command(name = "drains:add", visible_alias = "add_log_drain")]
    DrainsAdd(drains::Add),
    /// Send an app's log there no longer
    #[command(name = "drains:remove", visible_alias = "delete_log_drain")]
    DrainsRemove(drains::Remove),
    /// Show the certificates of an app's hosts, and what happens next
    Certs(certs::List),
    /// Serve a certificate of your own for a host
    #[command(name = "certs:add")]
    CertsAdd(certs::Add),
    /// Serve a certificate of your own no longer
    #[command(name = "certs:remove")]
    CertsRemove(certs::Remove),
    /// Have a host's certificate made anew now
    #[command(name = "certs:renew")]
    CertsRenew(certs::Renew),
    /// Print the root certificate of the platform's own CA
    #[command(name = "certs:ca", after_help = "Examples:\n  gigalixir certs:ca > gigalixir-root.pem")]
    CertsCa,
    /// List who has access to an app
    #[command(visible_alias = "permissions")]
    Access(access::List),
    /// Give somebody access to an app
    #[command(name = "access:add", visible_alias = "add_permission")]
    AccessAdd(access::Add),
    /// Take somebody's access to an app away
    #[command(name = "access:remove", visible_alias = "delete_permission")]
    AccessRemove(access::Remove),
    /// Show which app gets a part of an app's visitors
    Canary(canary::List),
    /// Send a part of an app's visitors to another app
    #[command(name = "canary:set")]
    CanarySet(canary::Set),
    /// Send all visitors to the app itself again
    #[command(name = "canary:unset")]
    CanaryUnset(canary::Unset),
    /// Show visitors a maintenance page instead of the app
    #[command(name = "maintenance:on")]
    MaintenanceOn(maintenance::Switch),
    /// Show visitors the app again
    #[command(name = "maintenance:off")]
    MaintenanceOff(maintenance::Switch),
    /// Give visitors a page of your own while the app is under maintenance
    #[command(name = "maintenance:page")]
    MaintenancePage(maintenance::Page),
    /// Show what holds for visitors' requests
    Router(router::Show),
    /// Change what holds for visitors' requests: limits, affinity, redirects, access log
    #[command(name = "router:set")]
    RouterSet(router::Set),
    /// Set the git remote that pushes to an app
    #[command(name = "git:remote", visible_alias = "set_git_remote")]
    GitRemote(git::GitRemote),
    /// Print an app's address and open it in a browser
    Open(apps::Open),
    /// Show an app's replicas and how they are
    #[command(visible_alias = "status")]
    Ps(ps::Status),
    /// Set how many replicas run, and how large
    #[command(name = "ps:scale", visible_alias = "scale")]
    PsScale(ps::Scale),
    /// Restart an app without a gap
    #[command(name = "ps:restart", visible_alias = "restart")]
    PsRestart(ps::Restart),
    /// End one replica and put a new one in its place
    #[command(name = "ps:kill")]
    PsKill(ps::Kill),
    /// Show how much memory and processor time an app takes
    #[command(name = "ps:stats")]
    PsStats(stats::Show),
    /// Run a command in a fresh replica and end as it ends
    Run(run::Command),
    /// List the jobs that ran or run, newest first
    Jobs(jobs::List),
    /// Show all that is known of a job
    #[command(name = "jobs:info", after_help = "Examples:\n  gigalixir jobs:info 12")]
    JobsInfo(jobs::One),
    /// Show what a job says and follow it to its end
    #[command(name = "jobs:logs")]
    JobsLogs(jobs::Logs),
    /// End a job that waits or runs
    #[command(name = "jobs:stop", after_help = "Examples:\n  gigalixir jobs:stop 12")]
    JobsStop(jobs::One),
    /// Run a command again and again, at times that a cron pattern names
    #[command(name = "jobs:schedule")]
    JobsSchedule(schedules::Add),
    /// List an app's schedules: when each is due and how it went last
    #[command(name = "jobs:schedules")]
    JobsSchedules(schedules::List),
    /// Remove a schedule
    #[command(name = "jobs:unschedule")]
    JobsUnschedule(schedules::Remove),
    /// Look into a replica's Erlang node: processes, tables, ports, applications
    #[command(name = "ps:observer", visible_alias = "observer")]
    PsObserver(observer::Observer),
    /// Give an app another Erlang cookie, and replace every replica at once
    #[command(name = "cluster:cookie:rotate")]
    ClusterCookieRotate(cluster::RotateCookie),
    /// Open a shell in a running replica, or run a program there
    #[command(name = "ps:ssh", visible_alias = "ssh")]
    PsSsh(inside::Shell),
    /// Run a program in a running replica, with the app's environment
    #[command(name = "ps:run")]
    PsRun(inside::Run),
    /// Open an IEx prompt in the running node
    #[command(name = "ps:remote_console", visible_alias = "remote_console")]
    PsRemoteConsole(inside::RemoteConsole),
    /// Run the migrations of the app's Ecto repos in the running node
    #[command(name = "ps:migrate", visible_alias = "migrate")]
    PsMigrate(inside::Migrate),
    /// Run a command of the release's own script
    #[command(name = "ps:distillery")]
    PsDistillery(inside::Distillery),
    /// Lead a port of this machine to one of a replica
    #[command(name = "ps:forward")]
    PsForward(forward::Forward),
    /// Copy files and folders into and out of a replica
    Cp(cp::Copy),
    /// Show an app's variables
    #[command(visible_alias = "configs")]
    Config(config::List),
    /// Print one variable's value
    #[command(name = "config:get")]
    ConfigGet(config::Get),
    /// Set variables and restart
    #[command(name = "config:set")]
    ConfigSet(config::Set),
    /// Unset variables and restart
    #[command(name = "config:unset")]
    ConfigUnset(config::Unset),
    /// Write all variables as .env, JSON or shell lines
    #[command(name = "config:export")]
    ConfigExport(config::Export),
    /// Set variables from a .env or JSON file
    #[command(name = "config:import")]
    ConfigImport(config::Import),
    /// Set one variable, without a restart (2017's spelling)
    #[command(name = "set_config", hide = true)]
    SetConfig(config::SetConfig),
    /// Unset one variable, without a restart (2017's spelling)
    #[command(name = "delete_config", hide = true)]
    DeleteConfig(config::DeleteConfig),
    /// Deploy what is committed here; with --hot into the running nodes
    Deploy(deploy::Deploy),
    /// List an app's releases, newest first
    Releases(releases::List),
    /// Run an earlier release again
    #[command(name = "releases:rollback", visible_alias = "rollback")]
    ReleasesRollback(releases::Rollback),
    /// Tell how a running release would become another, without a restart
    #[command(name = "releases:upgrade-plan")]
    ReleasesUpgradePlan(releases::Plan),
    /// Show an app's log and follow it
    Logs(logs::Logs),
    /// Print the version
    #[command(after_help = "Examples:\n  gigalixir version")]
    Version,
}
