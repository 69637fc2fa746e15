//! `outbound doctor`: what this host lacks, and whether the fence holds.
//!
//! The fence is tried, not looked up: programs are loaded and a scratch cgroup is watched as an
//! agent would do it, in a network of two namespaces made for this, and a process in that cgroup
//! tries every known way out while a witness looks on from outside. Each attempt is made without
//! the fence first: one that the witness does not see even then proves nothing, and is told as
//! such. An agent that runs beside is not disturbed, and none is needed.

mod report;
mod host;
mod doors;
mod attack;
mod attempt;
mod trial;
mod scene;
mod agent;
mod network;
mod netlink;

use std::io;

use anyhow::Context as _;

use super::output;
use report::{Check, Report, State};
use scene::Scene;

/// Checks everything and prints it; gives the exit code.
pub fn run(json: bool) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let mut report = Report::new(&mut out, json);
    report.section("Host")?;
    for check in host::checks() {
        report.add(check)?;
    }
    report.section("Side doors: services that carry data out for whoever may talk to them")?;
    for check in doors::checks() {
        report.add(check)?;
    }
    report.section("Fence: each attempt reaches a witness without it, and must not with it")?;
    match Scene::set() {
        Ok(mut scene) => scene.play(|check| report.add(check))?,
        Err(error) => report.add(
            Check::new("scene", "the attempts", State::Failed)
                .says(format!("not made: {}", output::chain(error.as_ref()))),
        )?,
    }
    Ok(report.finish()?)
}

/// Makes one attempt, as a process of the scene that stands in the cgroup already, and prints
/// what it saw.
pub fn attack(name: &str) -> anyhow::Result<()> {
    let attack = attack::find(name).context("no attack has this name")?;
    let steps = attempt::make(attack);
    output::say(serde_json::to_string(&steps)?)?;
    Ok(())
}
