//! The daemon, put together.
//!
//! The order is the safety: what can fail is built first; listeners are bound before the kernel
//! is told where they are; each cgroup is fenced before it is told whose it is. On the way out
//! nothing is detached: without an agent a tenant has no egress.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use outbound_common::ListenerEntry;
use outbound_common::tenant::{LISTENER_NO_IPV6, LISTENER_PREFER_IPV4};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use super::App;
use super::subject::Host;
use crate::config::{Config, LogFormat, LogLevel, LogTarget};
use crate::drain::Tasks;
use crate::model::addr::OriginalDst;
use crate::model::tenant::{CgroupId, Tenants};
use crate::observe::access_log::{AccessLog, Target};
use crate::observe::admin::{self, Admin, AdminSocket};
use crate::observe::diagnostics;
use crate::observe::metrics::Metrics;
use crate::observe::readiness::Readiness;
use crate::observe::record::{KernelRefusal, Records};
use crate::redirect::{self, Redirect, Refusals};
use crate::sys;
use crate::tenants::{Assignments, Shared};

/// Runs until SIGTERM or SIGINT, drains, and gives back.
pub fn run(config: &Config) -> anyhow::Result<()> {
    diagnostics::start(
        level(config.agent.log_level),
        format(config.agent.log_format),
    )?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.agent.threads {
        runtime.worker_threads(threads);
    }
    runtime
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let settings = settings(config)?;
    redirect::check(&settings)?;
    let signals = Signals::listen()?;
    // Of two agents with one configuration the second learns here that there is a first.
    let group = config.agent.admin_group.as_deref().unwrap_or("root");
    let socket = AdminSocket::bind(&config.agent.admin_socket, group)?;
    let readiness = Readiness::new();
    let starting = readiness.wait_for("start");
    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), option_env!("OUTBOUND_COMMIT"));
    let log = AccessLog::open(
        &target(&config.access_log.target),
        config.access_log.required,
    )?;
    let metrics_listener = admin::bind_metrics(config.agent.metrics).await?;

    let records = Records::new(metrics.clone(), log.clone());
    let (app, assignments) = fence(config, settings, &records)?;
    read_kernel_events(&metrics, &assignments);
    let operators = Tasks::new();
    let host = Host::new(config, assignments, app.port(), readiness.clone());
    let admin = Admin::new(
        metrics,
        readiness.clone(),
        log.clone(),
        Arc::new(host),
        operators.clone(),
    );
    admin.serve_metrics(metrics_listener);
    admin.serve_socket(socket);
    drop(starting);
    notify(&[sd_notify::NotifyState::Ready]);
    info!(tenants = config.tenants.len(), port = app.port(), "ready");

    signals.wait_for_end(&log).await;
    info!("stopping");
    notify(&[sd_notify::NotifyState::Stopping]);
    let _draining = readiness.wait_for("drain");
    let drained = app.stop(config.limits.drain).await;
    if !drained.forced.is_empty() {
        warn!(forced = ?drained.forced, "not everything had ended at the deadline");
    }
    operators.drain(Duration::from_secs(1)).await;
    if !log.close(Duration::from_secs(5)) {
        error!("the access log could not be written to its end");
    }
    Ok(())
}

/// Opens the kernel side, listens, and fences every tenant, in this order.
fn fence(
    config: &Config,
    settings: redirect::Settings,
    records: &Records,
) -> anyhow::Result<(App, Shared)> {
    let mut redirect = Redirect::open(&settings)?;
    redirect.guard_agent()?;
    let root = settings.cgroup_root;
    let snapshot = Arc::new(ArcSwap::from_pointee(Tenants::default()));
    let app = App::start(
        config,
        Arc::new(redirect.flows()?),
        Arc::clone(&snapshot),
        records.clone(),
    )?;
    listen_here(&redirect, &app)?;
    for cgroup in &config.agent.watch {
        watch(&mut redirect, &root, cgroup)?;
    }
    let refusals = redirect.refusals()?;
    let mut assignments = Assignments::new(redirect, root, config.tenants.clone(), snapshot)?;
    assignments.apply()?;
    let assignments = Shared::new(assignments);
    let tasks = app.tasks();
    tasks.spawn(
        "refusals",
        report_refusals(
            refusals,
            records.clone(),
            assignments.clone(),
            tasks.clone(),
        ),
    );
    tasks.spawn("tenants", keep_true(assignments.clone(), tasks.clone()));
    Ok((app, assignments))
}

fn read_kernel_events(metrics: &Metrics, assignments: &Shared) {
    let assignments = assignments.clone();
    metrics.read_kernel_events(Box::new(move || {
        assignments
            .with(|assignments| assignments.redirect().counters())
            .unwrap_or_else(|error| {
                warn!(%error, "cannot read the kernel's counters");
                Vec::new()
            })
    }));
}

/// Where the kernel side is on this host.
fn settings(config: &Config) -> anyhow::Result<redirect::Settings> {
    let cgroup_root = match &config.agent.cgroup_root {
        Some(root) => root.clone(),
        None => redirect::cgroup_root()?,
    };
    Ok(redirect::Settings {
        pin_dir: config.agent.pin_dir.clone(),
        cgroup_root,
    })
}

/// Tells the kernel where the agent listens in its own network namespace, which tenants share.
fn listen_here(redirect: &Redirect, app: &App) -> anyhow::Result<()> {
    let socket =
        std::net::UdpSocket::bind("127.0.0.1:0").context("cannot open a socket on loopback")?;
    let cookie = sys::netns_cookie(std::os::fd::AsFd::as_fd(&socket))
        .context("cannot tell the network namespace")?;
    let flags = if app.has_ipv6() {
        LISTENER_PREFER_IPV4
    } else {
        LISTENER_NO_IPV6
    };
    redirect.listen(
        cookie,
        ListenerEntry {
            tcp_port: app.port(),
            dns_port: app.dns_port(),
            flags,
        },
    )?;
    Ok(())
}

/// Fences a parent whose children are all to be tenants.
fn watch(redirect: &mut Redirect, root: &Path, cgroup: &Path) -> anyhow::Result<()> {
    let directory: PathBuf = root.join(cgroup.strip_prefix("/").unwrap_or(cgroup));
    std::fs::create_dir_all(&directory)
        .with_context(|| format!("cannot make the watched cgroup {}", directory.display()))?;
    redirect.watch(cgroup)?;
    Ok(())
}

/// Writes down what the kernel refused.
async fn report_refusals(
    mut refusals: Refusals,
    records: Records,
    assignments: Shared,
    tasks: Tasks,
) {
    loop {
        let refusal = tokio::select! {
            biased; // What was refused is written down before the end.
            Some(refusal) = refusals.next() => refusal,
            () = tasks.draining() => return,
        };
        let Some(counter) = refusal.check() else {
            continue;
        };
        let cgroup = CgroupId(refusal.tenant_cgroup);
        let tenant = assignments.with(|assignments| assignments.tenant_of(cgroup));
        let destination =
            outbound_common::addr::socket_addr(refusal.destination, refusal.destination_port);
        let name = refusal
            .comm
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        records.refusal(&KernelRefusal {
            tenant,
            cgroup: CgroupId(refusal.process_cgroup),
            destination: OriginalDst(destination),
            protocol: refusal.protocol,
            family: refusal.family,
            counter,
            pid: refusal.pid,
            uid: refusal.uid,
            executable: String::from_utf8_lossy(name).into(),
        });
    }
}

/// Finds cgroups that were removed and made anew, and flows that nobody came for.
async fn keep_true(assignments: Shared, tasks: Tasks) {
    loop {
        tokio::select! {
            biased; // Ends first.
            () = tasks.draining() => return,
            () = tokio::time::sleep(RECONCILE) => {}
        }
        let kept = assignments.with(|assignments| {
            assignments.apply()?;
            assignments
                .redirect()
                .sweep(FLOW_LIFETIME)
                .map_err(crate::tenants::Error::from)
        });
        if let Err(error) = kept {
            error!(
                error = &error as &dyn std::error::Error,
                "cannot keep the tenants' cgroups true"
            );
        }
    }
}

/// What a process is told from outside.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns at SIGTERM or SIGINT; SIGHUP opens the access log anew, as after a rotation.
    async fn wait_for_end(mut self, log: &AccessLog) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => log.reopen(),
            }
        }
    }
}

fn notify(states: &[sd_notify::NotifyState<'_>]) {
    // Without a service manager there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot notify the service manager");
    }
}

fn target(target: &LogTarget) -> Target {
    match target {
        LogTarget::Stdout => Target::Stdout,
        LogTarget::Journald => Target::Journald,
        LogTarget::File(path) => Target::File(path.clone()),
    }
}

const fn level(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

const fn format(format: LogFormat) -> diagnostics::Format {
    match format {
        LogFormat::Text => diagnostics::Format::Text,
        LogFormat::Json => diagnostics::Format::Json,
    }
}

const RECONCILE: Duration = Duration::from_secs(1);
/// Longer than any handshake with the agent's own listener takes.
const FLOW_LIFETIME: Duration = Duration::from_secs(30);
