//! Where the attempts are made: scratch cgroups, programs pinned apart from any agent's, a
//! network of our own. Gone when dropped; what a doctor that was killed has left goes first.

mod process;
mod scratch;

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nix::poll::PollTimeout;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::agent::Agent;
use super::attack::{self, Aim, Attack, Means};
use super::network::Network;
use super::report::{Check, State};
use super::trial::{self, Seen};
use crate::model::tenant::CgroupId;
use crate::redirect::{self, Redirect, Settings};
use crate::sys;
use process::Process;
use scratch::{Pins, Scratch};

/// How long at most the witness looks for a packet that must come, and how long for one that
/// must not. On a host that is emulated the first takes its time.
const UNTIL_SEEN: Duration = Duration::from_secs(5);
const UNTIL_CONTENT: Duration = Duration::from_millis(20);
/// How long a connection may take to reach the agent.
const UNTIL_ARRIVED: u16 = 5000;

/// Everything, in the order in which it goes.
pub(super) struct Scene {
    redirect: Redirect,
    agent: Agent,
    network: Network,
    interrupt: SignalFd,
    slots: u32,
    _pins: Pins,
    scratch: Scratch,
}

impl Scene {
    /// Makes it all.
    pub(super) fn set() -> anyhow::Result<Self> {
        let interrupt = catch_interrupts()?;
        let cgroup_root = redirect::cgroup_root()?;
        scratch::sweep(&cgroup_root);
        let scratch = Scratch::make(&cgroup_root)?;
        let pins = Pins::new();
        let mut redirect = Redirect::open(&Settings {
            pin_dir: pins.directory().to_owned(),
            cgroup_root,
        })?;
        redirect.guard_agent()?;
        let network = Network::make()?;
        let agent = Agent::listen(&network.inside, &redirect)?;
        let mut scene = Self {
            redirect,
            agent,
            network,
            interrupt,
            slots: 0,
            _pins: pins,
            scratch,
        };
        let fenced = scene.scratch.fenced.clone();
        scene.fence(&fenced)?;
        Ok(scene)
    }

    /// Makes every attempt, the control first. Stops where it is interrupted.
    pub(super) fn play(
        &mut self,
        mut add: impl FnMut(Check) -> io::Result<()>,
    ) -> anyhow::Result<()> {
        for check in self.features() {
            add(check)?;
        }
        for attack in attack::all() {
            anyhow::ensure!(self.interrupt.read_signal()?.is_none(), "interrupted");
            add(self.attempt(attack)?)?;
        }
        // It takes memory shared with the kernel, which safe code cannot have.
        add(
            Check::new("io_uring", "connect by io_uring", State::Skipped)
                .says("not tried: the hooks see it as they see connect"),
        )?;
        Ok(())
    }

    /// What this kernel offers beyond the minimum.
    fn features(&self) -> Vec<Check> {
        let features = self.redirect.features();
        let yes_or = |name, title, is_there, otherwise: &str| match is_there {
            true => Check::new(name, title, State::Passed).says("yes"),
            false => Check::new(name, title, State::Open).says(otherwise),
        };
        let families = features.families.as_ref();
        let refused = "families that are not IP are refused";
        vec![
            yes_or("programs", "programs load and attach", true, ""),
            yes_or(
                "errnos",
                "refusals give the errno that fits",
                features.errnos,
                "EPERM for all of them, as before Linux 5.18; what is refused is the same",
            ),
            yes_or(
                "thread_names",
                "flows and refusals name the thread",
                features.thread_names,
                "their names are empty in the log",
            ),
            match families {
                Ok(()) => yes_or("families", refused, true, ""),
                Err(why) => Check::new("families", refused, State::Open).says(why).remedy(
                    "Linux 6.0 with `bpf` among its security modules; else seccomp on socket and \
                     io_uring_setup, no CAP_NET_RAW, or a network namespace without an uplink",
                ),
            },
        ]
    }

    fn attempt(&mut self, attack: &Attack) -> anyhow::Result<Check> {
        let failed = || format!("cannot make the attempt {}", attack.name);
        let free = self.scratch.free.clone();
        let seen = self.look(attack, &free, false).with_context(failed)?;
        if let Some(check) = trial::control(attack, &seen) {
            return Ok(check);
        }
        let fenced = match attack.means {
            Means::Early => self.scratch.late.clone(),
            Means::Own | Means::Inherited | Means::Passed => self.scratch.fenced.clone(),
        };
        let seen = self.look(attack, &fenced, true).with_context(failed)?;
        let can_refuse_families = self.redirect.features().families.is_ok();
        Ok(trial::judge(attack, &seen, can_refuse_families))
    }

    /// Lets a process make the attempt in a cgroup.
    fn look(&mut self, attack: &Attack, cgroup: &Path, is_fenced: bool) -> anyhow::Result<Seen> {
        self.forget()?;
        let mut process = Process::start(attack, cgroup, &self.network.inside)?;
        if attack.means == Means::Early {
            process.await_line()?;
            if is_fenced {
                self.fence(cgroup)?;
            }
            self.forget()?;
        }
        process.go_on();
        let steps = process.finish()?;
        let is_done = steps.iter().all(|step| step.error.is_none());
        let (until_seen, until_arrived) = match (is_fenced, attack.aim) {
            (false, Aim::Redirected(_) | Aim::Contained) => (UNTIL_SEEN, PollTimeout::ZERO),
            (true, Aim::Redirected(_)) if is_done => {
                (UNTIL_CONTENT, PollTimeout::from(UNTIL_ARRIVED))
            }
            (_, _) => (UNTIL_CONTENT, PollTimeout::ZERO),
        };
        Ok(Seen {
            arrived: self.agent.arrivals(until_arrived)?,
            packets: self.network.witness.packets(until_seen)?,
            steps,
        })
    }

    /// What came until now is not the next attempt's.
    fn forget(&self) -> anyhow::Result<()> {
        while !self.network.witness.packets(Duration::ZERO)?.is_empty() {}
        self.agent.arrivals(PollTimeout::ZERO).map(drop)
    }

    /// What an agent does with the cgroup of a tenant.
    fn fence(&mut self, cgroup: &Path) -> anyhow::Result<()> {
        self.redirect.watch(cgroup)?;
        let id = CgroupId(sys::cgroup_id(cgroup)?);
        self.redirect.assign(id, cgroup, self.slots, 0)?;
        self.slots += 1;
        Ok(())
    }
}

/// From here on an interrupt ends the attempts, and what was made goes as usual.
fn catch_interrupts() -> anyhow::Result<SignalFd> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
    Ok(SignalFd::with_flags(&signals, flags)?)
}
