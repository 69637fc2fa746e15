//! The commands of the `outbound` binary, a file each.

pub mod run;
pub mod assign;
pub mod check;
mod import;
mod record;
mod suggest;
mod replay;
pub mod reload;
pub mod status;
mod tenants;
pub mod trust;
pub mod doctor;
pub mod detach;
mod dispatch;
mod parameters;
pub mod client;
pub mod output;
mod doors;
mod worker_test;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::app::{daemon, subject};
use crate::cli::{self, Cli, Command};
use crate::config;
use crate::observe::admin::view::Status;
use crate::path::worker;
use output::complain;

/// Does what the command line says. 0 done, 1 failed, 2 wrong usage; `run` gives back its
/// command's.
pub fn dispatch(cli: Cli) -> ExitCode {
    let done = match cli.command {
        Command::Agent => run_agent(&cli.config).map(|()| ExitCode::SUCCESS),
        Command::Run(run) => socket(run.admin.socket.clone(), &cli.config)
            .and_then(|socket| wait(run::run(&socket, &run)))
            .map(ExitCode::from),
        Command::Assign(assign) => socket(assign.admin.socket.clone(), &cli.config)
            .and_then(|socket| wait(assign::assign(&socket, assign, &mut io::stdout())))
            .map(|()| ExitCode::SUCCESS),
        Command::Unassign(unassign) => socket(unassign.admin.socket.clone(), &cli.config)
            .and_then(|socket| wait(assign::unassign(&socket, unassign, &mut io::stdout())))
            .map(|()| ExitCode::SUCCESS),
        Command::Reload(reload) => reload_agent(reload, &cli.config),
        Command::Check(check) => Ok(check::run(&check, &cli.config)),
        Command::Import(import) => {
            import::import(&import.file, &mut io::stdout().lock()).map(|()| ExitCode::SUCCESS)
        }
        Command::Suggest(wanted) => suggest_rules(&wanted, &cli.config).map(|()| ExitCode::SUCCESS),
        Command::Replay(replay) => replay_log(&replay.log, &cli.config),
        Command::Status(status) => show_status(&status, &cli.config).map(ExitCode::from),
        Command::Tenants(wanted) => socket(wanted.admin.socket.clone(), &cli.config)
            .and_then(|socket| wait(tenants::run(&socket, wanted.json, &mut io::stdout())))
            .map(|()| ExitCode::SUCCESS),
        Command::Trust(trust) => show_trust(&trust, &cli.config).map(|()| ExitCode::SUCCESS),
        Command::Doctor(doctor) => doctor::run(doctor.json).map(ExitCode::from),
        Command::DoctorAttack(attack) => doctor::attack(&attack.name).map(|()| ExitCode::SUCCESS),
        Command::Worker(cli::Worker::Test(test)) => worker_test::run(&test),
        Command::WorkerProcess { service: _ } => worker::host::child::main()
            .map(|()| ExitCode::SUCCESS)
            .map_err(Into::into),
        Command::Detach(detach) => pin_dir(detach.pin_dir, &cli.config)
            .and_then(|pin_dir| {
                // Under a configuration that cannot be read the ports stay reserved.
                let state_dir = settings(&cli.config).ok().map(|agent| agent.state_dir);
                detach::run(&pin_dir, state_dir.as_deref())
            })
            .map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        complain(output::chain(error.as_ref()));
        ExitCode::FAILURE
    })
}

fn run_agent(config: &Path) -> anyhow::Result<()> {
    daemon::run(config)
}

fn suggest_rules(wanted: &cli::Suggest, config: &Path) -> anyhow::Result<()> {
    let log = match &wanted.log {
        Some(log) => log.clone(),
        None => match config::load_access_log(config)?.target {
            config::LogTarget::File(path) => path,
            config::LogTarget::Stdout | config::LogTarget::Journald => {
                anyhow::bail!("the access log is no file; name one with its lines")
            }
        },
    };
    let list = suggest::suggest(&log, &wanted.tenant);
    let list = list.with_context(|| format!("cannot read {}", log.display()))?;
    Ok(output::say(list)?)
}

fn replay_log(log: &Path, config: &Path) -> anyhow::Result<ExitCode> {
    let config = config::load(config)?;
    let differences = replay::replay(log, &config);
    let differences = differences.with_context(|| format!("cannot read {}", log.display()))?;
    output::say(differences.text())?;
    Ok(match differences.are_none() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn show_status(status: &cli::Status, config: &Path) -> anyhow::Result<u8> {
    let socket = socket(status.admin.socket.clone(), config)?;
    let pin_dir = pin_dir(None, config)?;
    let attached = || subject::attachments(&pin_dir);
    let answer = wait(async {
        Ok(status::run(&socket, status.json, attached, &mut io::stdout().lock()).await?)
    })?;
    Ok(answer.exit_code())
}

fn reload_agent(reload: cli::Reload, config: &Path) -> anyhow::Result<ExitCode> {
    let socket = match reload.admin.socket {
        Some(socket) => socket,
        // Its file may be wrong now: then it is where an agent is by default, if it is there.
        None => match settings(config) {
            Ok(agent) => agent.admin_socket,
            Err(error) => Some(config::Agent::default().admin_socket)
                .filter(|socket| socket.exists())
                .ok_or(error)?,
        },
    };
    wait(reload::run(&socket, reload.json, &mut io::stdout().lock()))
}

fn show_trust(trust: &cli::Trust, config: &Path) -> anyhow::Result<()> {
    let socket = socket(trust.admin.socket.clone(), config)?;
    let view = wait(async {
        Ok(match &trust.tenant {
            Some(tenant) => client::tenant(&socket, tenant).await?.trust,
            None => {
                client::get_json::<Status>(&socket, "/v1/status")
                    .await?
                    .trust
            }
        })
    })?;
    let view = view.context("each tenant has an authority of its own: say --tenant NAME")?;
    trust::run(trust, &view)
}

/// The admin socket: as said, or as the configuration says, or the default where there is none.
fn socket(said: Option<PathBuf>, config: &Path) -> anyhow::Result<PathBuf> {
    said.map_or_else(|| Ok(settings(config)?.admin_socket), Ok)
}

/// The directory of pins, likewise.
fn pin_dir(said: Option<PathBuf>, config: &Path) -> anyhow::Result<PathBuf> {
    said.map_or_else(|| Ok(settings(config)?.pin_dir), Ok)
}

fn settings(path: &Path) -> anyhow::Result<config::Agent> {
    match config::load_agent(path) {
        Ok(agent) => Ok(agent),
        Err(config::Error::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(config::Agent::default())
        }
        Err(error) => Err(error.into()),
    }
}

/// A command is one task on one thread.
fn wait<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
