//! What can be typed ([`Command`]): one file per noun, each with its arguments (whose doc comments are the help) and what they
//! do.
//!
//! Every command has today's name (`ps:scale`); where the platform of 2017 called it otherwise (`scale`), that is an
//! alias, or a command of its own if its arguments differ (`set_config APP KEY VALUE`).

pub mod access;
pub mod account;
pub mod activity;
pub mod apps;
pub mod canary;
pub mod certs;
pub mod cluster;
mod command;
pub mod compat;
pub mod config;
pub mod cp;
pub mod deploy;
pub mod domains;
pub mod drains;
pub mod email;
pub mod forward;
pub mod git;
pub mod inside;
pub mod jobs;
pub mod logs;
pub mod maintenance;
pub mod mfa;
pub mod nodes;
pub mod observer;
pub mod ps;
pub mod releases;
pub mod router;
pub mod run;
pub mod schedules;
pub mod signup;
pub mod ssh_keys;
pub mod stacks;
pub mod stats;
pub mod target;
pub mod usage;

use clap::Args;

use super::Client;
use super::error::Error;
use super::output::Output;
pub use command::Command;

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Globals {
    /// Print the server's data as JSON
    #[arg(long, global = true, display_order = 100)]
    pub json: bool,
    /// Print no status lines, only results and errors
    #[arg(short, long, global = true, display_order = 100)]
    pub quiet: bool,
    /// The platform to talk to [default: GIGALIXIR_HOST, else what `login --host` remembered]
    #[arg(long, global = true, value_name = "URL", display_order = 100)]
    pub host: Option<String>,
}

/// Does what was typed.
#[expect(clippy::too_many_lines, reason = "one line for each command")]
pub async fn run(client: &Client, command: Command) -> Result<(), Error> {
    match command {
        Command::Signup(args) => signup::signup(client, args).await,
        Command::SignupStart(args) => signup::start(client, args).await,
        Command::SignupFinish(args) => signup::finish(client, args).await,
        Command::Login(args) => account::login(client, args).await,
        Command::Logout => account::logout(client),
        Command::Account => account::show(client).await,
        Command::ApiKeyReset(args) => account::reset_api_key(client, args).await,
        Command::PasswordChange(args) => account::change_password(client, args).await,
        Command::PasswordReset(args) => account::send_password_token(client, args).await,
        Command::PasswordSet(args) => account::set_password(client, args).await,
        Command::ConfirmationResend(args) => account::resend_confirmation(client, args).await,
        Command::EmailSet(args) => email::set(client, args).await,
        Command::EmailConfirm(args) => email::confirm(client, args).await,
        Command::EmailRevoke(args) => email::revoke(client, args).await,
        Command::MfaActivate(args) => mfa::activate(client, args).await,
        Command::MfaDeactivate(args) => mfa::deactivate(client, args).await,
        Command::RecoveryCodes(args) => mfa::renew_codes(client, args).await,
        Command::SshKeys => ssh_keys::list(client).await,
        Command::SshKeysAdd(args) => ssh_keys::add(client, args).await,
        Command::SshKeysRemove(args) => ssh_keys::remove(client, args).await,
        Command::Usage => usage::now(client).await,
        Command::UsageRunning => usage::running(client).await,
        Command::Invoices => usage::invoices(client).await,
        Command::AccountDestroy(args) => account::destroy(client, args).await,
        Command::Compat(args) => compat::compat(client, &args),
        Command::Apps => apps::list(client).await,
        Command::AppsInfo(args) => apps::info(client, args).await,
        Command::AppsCreate(args) => apps::create(client, args).await,
        Command::AppsDestroy(args) => apps::destroy(client, args).await,
        Command::AppsRename(args) => apps::rename(&args),
        Command::AppsActivity(args) => activity::list(client, args).await,
        Command::StackSet(args) => stacks::set(client, args).await,
        Command::Stacks => stacks::list(client).await,
        Command::Nodes => nodes::list(client).await,
        Command::AppsUsage(args) => usage::of_app(client, args).await,
        Command::Domains(args) => domains::list(client, args).await,
        Command::DomainsAdd(args) => domains::add(client, args).await,
        Command::DomainsRemove(args) => domains::remove(client, args).await,
        Command::Drains(args) => drains::list(client, args).await,
        Command::DrainsAdd(args) => drains::add(client, args).await,
        Command::DrainsRemove(args) => drains::remove(client, args).await,
        Command::Certs(args) => certs::list(client, args).await,
        Command::CertsAdd(args) => certs::add(client, args).await,
        Command::CertsRemove(args) => certs::remove(client, args).await,
        Command::CertsRenew(args) => certs::renew(client, args).await,
        Command::CertsCa => certs::ca(client).await,
        Command::Access(args) => access::list(client, args).await,
        Command::AccessAdd(args) => access::add(client, args).await,
        Command::AccessRemove(args) => access::remove(client, args).await,
        Command::Canary(args) => canary::list(client, args).await,
        Command::CanarySet(args) => canary::set(client, args).await,
        Command::CanaryUnset(args) => canary::unset(client, args).await,
        Command::MaintenanceOn(args) => maintenance::switch(client, args, true).await,
        Command::MaintenanceOff(args) => maintenance::switch(client, args, false).await,
        Command::MaintenancePage(args) => maintenance::page(client, args).await,
        Command::Router(args) => router::show(client, args).await,
        Command::RouterSet(args) => router::set(client, args).await,
        Command::GitRemote(args) => git::set(client, args).await,
        Command::Open(args) => apps::open(client, args).await,
        Command::Ps(args) => ps::status(client, args).await,
        Command::PsScale(args) => ps::scale(client, args).await,
        Command::PsRestart(args) => ps::restart(client, args).await,
        Command::PsKill(args) => ps::kill(client, args).await,
        Command::PsStats(args) => stats::show(client, args).await,
        Command::Run(args) => run::run(client, args).await,
        Command::Jobs(args) => jobs::list(client, args).await,
        Command::JobsInfo(args) => jobs::info(client, args).await,
        Command::JobsLogs(args) => jobs::logs(client, args).await,
        Command::JobsStop(args) => jobs::stop(client, args).await,
        Command::JobsSchedule(args) => schedules::add(client, args).await,
        Command::JobsSchedules(args) => schedules::list(client, args).await,
        Command::JobsUnschedule(args) => schedules::remove(client, args).await,
        Command::PsObserver(args) => observer::observe(client, args).await,
        Command::ClusterCookieRotate(args) => cluster::rotate_cookie(client, args).await,
        Command::PsSsh(args) => inside::shell(client, args).await,
        Command::PsRun(args) => inside::run(client, args).await,
        Command::PsRemoteConsole(args) => inside::remote_console(client, args).await,
        Command::PsMigrate(args) => inside::migrate(client, args).await,
        Command::PsDistillery(args) => inside::distillery(client, args).await,
        Command::PsForward(args) => forward::forward(client, args).await,
        Command::Cp(args) => cp::copy(client, args).await,
        Command::Config(args) => config::list(client, args).await,
        Command::ConfigGet(args) => config::get(client, args).await,
        Command::ConfigSet(args) => config::set(client, args).await,
        Command::ConfigUnset(args) => config::unset(client, args).await,
        Command::ConfigExport(args) => config::export(client, args).await,
        Command::ConfigImport(args) => config::import(client, args).await,
        Command::SetConfig(args) => config::set_one(client, args).await,
        Command::DeleteConfig(args) => config::delete_one(client, args).await,
        Command::Deploy(args) => deploy::deploy(client, &args),
        Command::Releases(args) => releases::list(client, args).await,
        Command::ReleasesRollback(args) => releases::rollback(client, args).await,
        Command::ReleasesUpgradePlan(args) => releases::upgrade_plan(client, args).await,
        Command::Logs(args) => logs::follow(client, args).await,
        Command::Version => version(client.output),
    }
}

/// A thing, and in front of it perhaps the app (`add_domain APP DOMAIN`, as in 2017).
fn last_word(words: &[String]) -> Result<(Option<&str>, &str), Error> {
    match words {
        [word] => Ok((None, word)),
        [app, word] => Ok((Some(app), word)),
        _ => Err(Error::usage("one word is expected, or two of which the first is the app")),
    }
}

/// Prints the version; needs no platform, no home folder, nothing.
pub fn version(output: Output) -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    output.result(&serde_json::json!({ "version": version }), || Ok(format!("gigalixir {version}")))
}
