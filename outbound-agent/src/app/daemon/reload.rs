//! Another configuration while the agent runs: taken whole, or the last good one holds on.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use super::{level, notify};
use crate::app::renew::Next;
use crate::config::{self, Config};
use crate::connection::Agent;
use crate::observe::admin::Refused;
use crate::observe::admin::view::{ConfigProblem, Configuration, Reload, Reloaded};
use crate::observe::diagnostics;
use crate::observe::labels;
use crate::observe::metrics::Metrics;
use crate::observe::timestamp::Timestamp;
use crate::tenants::Shared;

/// Reloads the configuration of an agent. A clone is for the same agent.
#[derive(Clone)]
pub(crate) struct Reloads(Arc<Inner>);

struct Inner {
    file: PathBuf,
    agent: Arc<Agent>,
    assignments: Shared,
    metrics: Metrics,
    now: Mutex<Now>,
    /// One reload after the other.
    turn: Mutex<()>,
    runtime: Handle,
}

/// What holds, and what was tried.
struct Now {
    config: Config,
    view: Configuration,
    seen: Stamps,
}

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Api,
    Files,
    Signal,
}

impl By {
    const fn label(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Files => "files",
            Self::Signal => "signal",
        }
    }
}

/// The files of a configuration, and what changes with each: which it is, how long, and its times.
pub(super) type Stamps = BTreeSet<(PathBuf, Option<[i64; 7]>)>;

impl Reloads {
    /// For an agent that has started with `config`, which stands in `file`. Must be called within
    /// a runtime.
    pub(super) fn new(
        file: &Path,
        config: &Config,
        agent: Arc<Agent>,
        assignments: Shared,
        metrics: Metrics,
    ) -> Self {
        let view = Configuration {
            file: file.to_owned(),
            since: Timestamp::now().to_string(),
            reload: None,
        };
        let now = Now {
            config: config.clone(),
            view,
            // What has changed since it was read is found at the first look.
            seen: config.stamps(),
        };
        Self(Arc::new(Inner {
            file: file.to_owned(),
            agent,
            assignments,
            metrics,
            now: Mutex::new(now),
            turn: Mutex::default(),
            runtime: Handle::current(),
        }))
    }

    /// Which configuration holds.
    pub(crate) fn view(&self) -> Configuration {
        self.now().view.clone()
    }

    /// Reads the configuration again, and takes it if nothing is wrong with it. Blocks.
    pub(crate) fn reload(&self, by: By) -> Result<Reloaded, Refused> {
        let _turn = lock(&self.0.turn);
        let _context = self.0.runtime.enter();
        tell_begin();
        let seen = self.look();
        let taken = config::load(&self.0.file)
            .map_err(|error| refused(&error))
            .and_then(|config| self.take(config));
        let mut reload = Reload {
            at: Timestamp::now().to_string(),
            by: by.label().to_owned(),
            applied: taken.is_ok(),
            error: None,
            problems: Vec::new(),
        };
        match &taken {
            Ok(reloaded) => self.tell_applied(by, reloaded),
            Err(refused) => {
                self.tell_rejected(by, refused);
                reload.error = Some(refused.error.clone());
                reload.problems.clone_from(&refused.problems);
            }
        }
        let mut now = self.now();
        if reload.applied {
            now.view.since.clone_from(&reload.at);
            // Files that were not part of it are now.
            let more = now.config.watched.iter().map(|file| stamp(file));
            let more: Stamps = more.filter(|(file, _)| !has(&seen, file)).collect();
            now.seen = seen.into_iter().chain(more).collect();
        } else {
            now.seen = seen;
        }
        now.view.reload = Some(reload);
        taken
    }

    fn take(&self, config: Config) -> Result<Reloaded, Refused> {
        let Inner {
            agent, assignments, ..
        } = &*self.0;
        config::needs_restart(&self.now().config, &config).map_err(|problems| Refused {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            error: "the configuration needs a restart of the agent".to_owned(),
            problems: views(&problems),
        })?;
        let next = Next::prepare(agent, &config)
            .map_err(|error| Refused::because(StatusCode::UNPROCESSABLE_ENTITY, &error))?;
        diagnostics::set_level(level(config.agent.log_level));
        let (specs, watch) = (config.tenants.clone(), config.agent.watch.clone());
        let (published, ended) = next.take_over(agent, || {
            assignments.with(|assignments| {
                assignments.set_namespaces(config.namespaces.clone());
                assignments.replace(specs, &watch)
            })
        });
        let incomplete = published.err().map(|error| {
            let error = &error as &dyn std::error::Error;
            error!(error, "cannot make the tenants' cgroups true yet");
            Refused::because(StatusCode::CONFLICT, error).error
        });
        let reloaded = Reloaded {
            tenants: config.tenants.len(),
            policies: config.policies.len(),
            ended,
            incomplete,
        };
        self.now().config = config;
        Ok(reloaded)
    }

    fn tell_applied(&self, by: By, reloaded: &Reloaded) {
        let Reloaded {
            tenants,
            policies,
            ended,
            ..
        } = reloaded;
        info!(
            by = by.label(),
            tenants, policies, ended, "configuration reloaded"
        );
        self.0.metrics.config_reloaded(labels::Reload::Applied);
        notify(&[
            sd_notify::NotifyState::Status("configuration reloaded"),
            sd_notify::NotifyState::Ready,
        ]);
    }

    fn tell_rejected(&self, by: By, refused: &Refused) {
        let (by, error) = (by.label(), &refused.error);
        warn!(
            by,
            error, "configuration not reloaded, the last good one holds"
        );
        for problem in &refused.problems {
            let ConfigProblem {
                file,
                line,
                column,
                key,
                message,
            } = problem;
            let place = format!("{}:{line}:{column}", file.display());
            warn!(place, key, message, "configuration is wrong");
        }
        self.0.metrics.config_reloaded(labels::Reload::Rejected);
        notify(&[
            sd_notify::NotifyState::Status("configuration not reloaded: the last good one holds"),
            sd_notify::NotifyState::Ready,
        ]);
    }

    /// The files as they are now. Blocks.
    pub(super) fn look(&self) -> Stamps {
        let watched = self.now().config.watched.clone();
        stamps(&self.0.file, &watched)
    }

    /// The files as they were when they were last read.
    pub(super) fn seen(&self) -> Stamps {
        self.now().seen.clone()
    }

    /// Directories in which files of the configuration may change, come and go.
    pub(super) fn directories(&self) -> BTreeSet<PathBuf> {
        let parents = |file: &PathBuf| file.parent().map(Path::to_owned);
        let now = self.now();
        let mut directories: BTreeSet<_> = now.config.watched.iter().filter_map(parents).collect();
        directories.extend(parents(&self.0.file));
        directories.insert(self.0.file.with_file_name("conf.d"));
        directories
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        lock(&self.0.now)
    }
}

impl Config {
    fn stamps(&self) -> Stamps {
        stamps(self.file(), &self.watched)
    }
}

fn stamps(file: &Path, watched: &[PathBuf]) -> Stamps {
    // A directory that cannot be read is a problem of whoever reads the configuration.
    let files = config::files(file).unwrap_or_else(|_unreadable| vec![file.to_owned()]);
    files
        .iter()
        .chain(watched)
        .map(|file| stamp(file))
        .collect()
}

fn stamp(file: &Path) -> (PathBuf, Option<[i64; 7]>) {
    let about = std::fs::metadata(file).ok().map(|about| {
        [
            about.mtime(),
            about.mtime_nsec(),
            about.ctime(),
            about.ctime_nsec(),
            about.dev().cast_signed(),
            about.ino().cast_signed(),
            about.size().cast_signed(),
        ]
    });
    (file.to_owned(), about)
}

fn has(stamps: &Stamps, file: &Path) -> bool {
    stamps.iter().any(|(known, _)| known == file)
}

fn refused(error: &config::Error) -> Refused {
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    match error {
        config::Error::Invalid(problems) => Refused {
            status,
            error: "the configuration is wrong".to_owned(),
            problems: views(problems),
        },
        config::Error::Read { .. } => Refused::because(status, error),
    }
}

fn views(problems: &config::problem::Problems) -> Vec<ConfigProblem> {
    let view = |problem: &config::problem::Problem| ConfigProblem {
        file: problem.place.file.to_path_buf(),
        line: problem.place.line,
        column: problem.place.column,
        key: problem.key.clone(),
        message: problem.message.clone(),
    };
    problems.iter().map(view).collect()
}

/// Tells the service manager that a reload begins (sd_notify(3), `RELOADING=1`).
fn tell_begin() {
    if let Ok(now) = sd_notify::NotifyState::monotonic_usec_now() {
        notify(&[sd_notify::NotifyState::Reloading, now]);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
