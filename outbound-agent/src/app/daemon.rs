//! The daemon, put together.
//!
//! The order is the safety: what can fail is built first; listeners are bound before the kernel
//! is told where they are; each cgroup is fenced before it is told whose it is. On the way out
//! nothing is detached: without an agent a tenant has no egress.

pub(crate) mod reload;
mod signals;
mod upkeep;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use outbound_common::Counter;
use tokio::sync::mpsc;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

use self::reload::Reloads;
use self::signals::Signals;
use self::upkeep::{Sighting, Upkeep};
use super::App;
use super::subject::Host;
use crate::config::{Config, LogFormat, LogLevel, LogTarget};
use crate::drain::Tasks;
use crate::hold::{self, Holding, Holds};
use crate::model::addr::OriginalDst;
use crate::model::tenant::{CgroupId, Tenants};
use crate::namespaces::Namespaces;
use crate::observe::access_log::{AccessLog, Target};
use crate::observe::admin::{self, Admin, AdminSocket};
use crate::observe::diagnostics;
use crate::observe::metrics::Metrics;
use crate::observe::readiness::Readiness;
use crate::observe::record::{KernelRefusal, Records};
use crate::redirect::{self, KernelFlows, Redirect, Refusals};
use crate::sys;
use crate::tenants::{Assignments, Shared};

/// Runs with the configuration that stands in `file` until SIGTERM or SIGINT, drains, and gives
/// back.
pub fn run(file: &Path) -> anyhow::Result<()> {
    let config = &crate::config::load(file)?;
    diagnostics::start(
        level(config.agent.log_level),
        format(config.agent.log_format),
    )?;
    sys::keep_memory_private().context("cannot keep memory out of core dumps")?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = config.agent.threads {
        runtime.worker_threads(threads);
    }
    runtime
        .enable_all()
        .build()
        .context("cannot start the runtime")?
        .block_on(serve(file, config))
}

async fn serve(file: &Path, config: &Config) -> anyhow::Result<()> {
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
    let (app, assignments, namespaces) = fence(config, settings, &records)?;
    read_kernel_events(&metrics, &assignments);
    let operators = Tasks::new();
    let agent = Arc::clone(app.agent());
    let reloads = Reloads::new(file, config, agent, assignments.clone(), metrics.clone());
    let host = Host::new(
        config,
        assignments,
        namespaces,
        (Arc::clone(app.agent()), app.port()),
        readiness.clone(),
        reloads.clone(),
    );
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

    let watched = watch::watch(reloads.clone(), operators.clone());
    operators.spawn("configuration", watched);

    signals.wait_for_end(&log, &reloads).await;
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
) -> anyhow::Result<(App, Shared, Arc<Namespaces>)> {
    let mut redirect = Redirect::open(&settings)?;
    if let Err(error) = redirect::leave_root(&settings.cgroup_root) {
        warn!(%error, "in the root cgroup the agent's hook costs every connection of the host");
    }
    redirect.guard_agent()?;
    let root = settings.cgroup_root;
    let snapshot = Arc::new(ArcSwap::from_pointee(Tenants::default()));
    let flows = Arc::new(redirect.flows()?);
    let app = App::start(
        config,
        Arc::clone(&flows) as _,
        Arc::clone(&snapshot),
        records.clone(),
    )?;
    let held = Held::start(config, &app, flows)?;
    let own_cookie = listen_here(&redirect, &app)?;
    reserve_ports(config, &app);
    let refusals = redirect.refusals()?;
    let listeners = redirect.listeners()?;
    let mut server = app.server().clone();
    if let Some(held) = &held {
        server = server.holding(Arc::clone(&held.holds));
    }
    let namespaces = Namespaces::new(server, listeners, root.clone())?;
    let assignments = assign(config, redirect, root, &snapshot)?;
    if let Some(held) = &held {
        held.holds.select(assignments.held_slots())?;
    }
    upkeep::look_at_all(&namespaces, &assignments.homes().borrow());
    namespaces.forget_inherited(own_cookie)?;

    let (assignments, namespaces) = (Shared::new(assignments), Arc::new(namespaces));
    let (sighted, sightings) = mpsc::channel(SIGHTINGS);
    let agent = Arc::clone(app.agent());
    let upkeep = Upkeep::new(
        agent,
        assignments.clone(),
        Arc::clone(&namespaces),
        sightings,
    );
    let upkeep = upkeep.context("cannot hear of cgroups")?;
    let tasks = app.tasks();
    let reported = report_refusals(refusals, records.clone(), snapshot, sighted, tasks.clone());
    tasks.spawn("refusals", reported);
    if let Some(held) = held {
        tasks.spawn("holds", held.keep_true(assignments.clone(), tasks.clone()));
    }
    tasks.spawn("upkeep", upkeep.run(tasks.clone()));
    Ok((app, assignments, namespaces))
}

/// Fences every tenant, and only then says whose is what.
fn assign(
    config: &Config,
    redirect: Redirect,
    root: PathBuf,
    snapshot: &Arc<ArcSwap<Tenants>>,
) -> anyhow::Result<Assignments> {
    let mut assignments = Assignments::new(
        redirect,
        root,
        config.tenants.clone(),
        Arc::clone(snapshot),
        &config.agent.state_dir,
    )?;
    assignments.set_namespaces(config.namespaces.clone());
    for cgroup in &config.agent.watch {
        assignments.watch(cgroup)?;
    }
    let cut = assignments.apply()?;
    if cut != redirect::Cut::default() {
        info!(
            cut.ended,
            cut.left, "ended what tenants had connected before"
        );
    }
    Ok(assignments)
}

/// The connects that wait for their upstreams, where a policy asks for that.
struct Held {
    holds: Arc<Holds>,
    _here: Holding,
}

impl Held {
    fn start(config: &Config, app: &App, flows: Arc<KernelFlows>) -> anyhow::Result<Option<Self>> {
        if !config.policies.iter().any(|policy| policy.true_errors) {
            return Ok(None);
        }
        let limits = hold::Limits {
            per_tenant: config.limits.held_connects,
            resolve: config.limits.resolve,
            kept: config.limits.detect + config.limits.client_hello,
        };
        let holds = Holds::new(Arc::clone(app.agent()), flows, app.port(), limits);
        let holds = Arc::new(holds);
        let here = holds.hold_here()?;
        Ok(Some(Self { holds, _here: here }))
    }

    /// Keeps up with who wants it.
    async fn keep_true(self, assignments: Shared, tasks: Tasks) {
        loop {
            tokio::select! {
                biased; // Ends first.
                () = tasks.draining() => return,
                () = tokio::time::sleep(RESELECT) => {}
            }
            let slots = assignments.with(|assignments| assignments.held_slots());
            if let Err(error) = self.holds.select(slots) {
                error!(
                    error = &error as &dyn std::error::Error,
                    "cannot say whose connects are held"
                );
            }
        }
    }
}

/// How soon a tenant that is new to true errors has them.
const RESELECT: Duration = Duration::from_secs(1);

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
/// Gives that namespace's cookie.
fn listen_here(redirect: &Redirect, app: &App) -> anyhow::Result<u64> {
    let socket =
        std::net::UdpSocket::bind("127.0.0.1:0").context("cannot open a socket on loopback")?;
    let cookie = sys::netns_cookie(std::os::fd::AsFd::as_fd(&socket))
        .context("cannot tell the network namespace")?;
    redirect.listen(cookie, app.listening().entry())?;
    Ok(cookie)
}

/// Keeps others from coming to the agent's ports by chance while it is away.
fn reserve_ports(config: &Config, app: &App) {
    let ports = [app.port(), app.dns_port()];
    if let Err(error) = redirect::reserved::reserve_for_good(&ports, &config.agent.state_dir) {
        warn!(%error, ?ports, "cannot reserve the agent's ports (ip_local_reserved_ports)");
    }
}

/// Writes down what the kernel refused.
async fn report_refusals(
    mut refusals: Refusals,
    records: Records,
    tenants: Arc<ArcSwap<Tenants>>,
    sighted: mpsc::Sender<Sighting>,
    tasks: Tasks,
) {
    loop {
        let refusal = tokio::select! {
            biased; // What was refused is written down before the end.
            Some(refusal) = refusals.next() => refusal,
            () = tasks.draining() => return,
        };
        // Whoever is refused all the time keeps no other task from this thread.
        tokio::task::consume_budget().await;
        let Some(counter) = refusal.check() else {
            continue;
        };
        let cgroup = CgroupId(refusal.tenant_cgroup);
        if counter == Counter::NoListener {
            let pid = refusal.pid;
            // Where too many wait already, the next look at the cgroup finds it.
            let _full = sighted.try_send(Sighting { pid, cgroup });
        }
        let tenant = tenants.load().of(cgroup).map(|tenant| tenant.id.clone());
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
            suppressed: refusal.suppressed,
            executable: String::from_utf8_lossy(name).into(),
        });
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

const SIGHTINGS: usize = 64;
