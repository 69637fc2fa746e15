//! What was seen of an attempt, and what follows from it.

use std::net::SocketAddr;

use super::agent::Arrival;
use super::attack::{Aim, Attack};
use super::attempt::Step;
use super::report::{Check, State};

/// What attacker, witness and agent saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) steps: Vec<Step>,
    pub(super) packets: Vec<String>,
    pub(super) arrived: Vec<Arrival>,
}

/// The control. Gives the verdict where the attempt proves nothing, because it gets nowhere even
/// without the fence.
pub(super) fn control(attack: &Attack, free: &Seen) -> Option<Check> {
    let steps = told(&free.steps);
    let failed = free.steps.iter().find(|step| step.error.is_some());
    let check = |state| checked(attack, state);
    match attack.aim {
        Aim::Refused => failed
            .map(|_step| check(State::Skipped).says(format!("fails without the fence: {steps}"))),
        Aim::Redirected(_) | Aim::Contained if !free.packets.is_empty() => None,
        Aim::Redirected(_) | Aim::Contained => Some(match failed {
            Some(step) if !is_attempt(&step.call) => {
                check(State::Skipped).says(format!("fails without the fence: {steps}"))
            }
            _ => check(State::NotProven).says(format!(
                "without the fence the witness saw nothing either ({steps})"
            )),
        }),
    }
}

/// The verdict on an attempt whose control got through, on a kernel that can refuse families or
/// cannot.
pub(super) fn judge(attack: &Attack, fenced: &Seen, can_refuse_families: bool) -> Check {
    let leak = match (&fenced.packets.first(), attack.aim) {
        (Some(packet), _) => Some(format!("{packet} got out")),
        (None, Aim::Refused) => is_done(&fenced.steps).then(|| "not refused".to_owned()),
        (None, Aim::Redirected(_) | Aim::Contained) => None,
    };
    let steps = told(&fenced.steps);
    if let Some(leak) = leak {
        let is_open = attack.needs_families && !can_refuse_families;
        let state = if is_open { State::Open } else { State::Failed };
        return checked(attack, state).says(format!("{leak} ({steps})"));
    }
    let mut text = steps;
    if fenced.arrived.is_empty() && is_done(&fenced.steps) {
        text.push_str(", but nothing leaves");
    }
    for arrival in &fenced.arrived {
        match arrival {
            Arrival::Connection(Some(destination)) => {
                text.push_str(&format!("; to the agent, as {destination}"));
            }
            Arrival::Datagram => text.push_str("; to the agent"),
            Arrival::Connection(None) => {
                return checked(attack, State::Failed).says(format!(
                    "{text}; reached the agent, which does not know whose it is"
                ));
            }
        }
    }
    if let Aim::Redirected(destination) = attack.aim
        && !fenced
            .arrived
            .iter()
            .any(|arrival| is_for(arrival, destination))
    {
        return checked(attack, State::Failed)
            .says(format!("{text}; did not reach the agent as {destination}"));
    }
    checked(attack, State::Passed).says(text)
}

fn checked(attack: &Attack, state: State) -> Check {
    Check {
        closed_by: Some(attack.closed_by),
        ..Check::new(attack.name, attack.title, state)
    }
}

/// Whether a call is one that would have sent something; others only prepare it.
fn is_attempt(call: &str) -> bool {
    matches!(call, "connect" | "send" | "sendto" | "sendmsg")
}

fn is_done(steps: &[Step]) -> bool {
    steps.iter().all(|step| step.error.is_none())
}

fn is_for(arrival: &Arrival, destination: &str) -> bool {
    match arrival {
        Arrival::Connection(found) => *found == destination.parse::<SocketAddr>().ok(),
        Arrival::Datagram => false,
    }
}

/// What went wrong, and how it ended.
fn told(steps: &[Step]) -> String {
    let last = steps.len().saturating_sub(1);
    let steps: Vec<String> = steps
        .iter()
        .enumerate()
        .filter(|(at, step)| *at == last || step.error.is_some())
        .map(|(_at, step)| format!("{} {}", step.call, step.error.as_deref().unwrap_or("ok")))
        .collect();
    steps.join(", ")
}

#[cfg(test)]
mod tests;
