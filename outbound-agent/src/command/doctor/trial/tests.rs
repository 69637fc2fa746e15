use super::*;
use crate::command::doctor::attack::find;

fn steps(steps: &[(&str, Option<&str>)]) -> Vec<Step> {
    steps
        .iter()
        .map(|(call, error)| Step {
            call: (*call).to_owned(),
            error: error.map(str::to_owned),
        })
        .collect()
}

fn seen(calls: &[(&str, Option<&str>)], packets: &[&str], arrived: &[Arrival]) -> Seen {
    Seen {
        steps: steps(calls),
        packets: packets.iter().map(|&packet| packet.to_owned()).collect(),
        arrived: arrived.to_vec(),
    }
}

fn attack(name: &str) -> &'static Attack {
    find(name).unwrap()
}

fn verdict(name: &str, fenced: &Seen) -> State {
    judge(attack(name), fenced, true).state
}

const PACKET: &[&str] = &["10.99.0.1 > 192.0.2.7 protocol 6"];
const DONE: &[(&str, Option<&str>)] = &[("connect", None)];

fn known() -> Arrival {
    Arrival::Connection("192.0.2.7:80".parse().ok())
}

#[test]
fn what_gets_nowhere_without_the_fence_proves_nothing() {
    let free = seen(&[("connect", Some("no answer"))], &[], &[]);
    let check = control(attack("tcp4"), &free).unwrap();
    assert_eq!(check.state, State::NotProven);
    let seen_outside = seen(&[("connect", Some("ECONNREFUSED"))], PACKET, &[]);
    assert_eq!(control(attack("tcp4"), &seen_outside), None);
}

#[test]
fn what_the_kernel_does_not_have_is_skipped() {
    let free = seen(&[("socket", Some("EPROTONOSUPPORT"))], &[], &[]);
    for name in ["sctp", "vsock"] {
        let check = control(attack(name), &free).unwrap();
        assert_eq!(check.state, State::Skipped);
        assert!(
            check.text.contains("socket EPROTONOSUPPORT"),
            "{}",
            check.text
        );
    }
}

#[test]
fn one_packet_outside_fails_whatever_the_attacker_saw() {
    let fenced = seen(&[("connect", Some("EPERM"))], PACKET, &[]);
    assert_eq!(verdict("tcp4", &fenced), State::Failed);
    assert_eq!(verdict("bind_device", &fenced), State::Failed);
    let check = judge(attack("bind_device"), &fenced, false);
    assert_eq!(check.state, State::Failed);
}

#[test]
fn a_connection_must_reach_the_agent_under_its_own_destination() {
    assert_eq!(verdict("tcp4", &seen(DONE, &[], &[known()])), State::Passed);
    let elsewhere = Arrival::Connection("192.0.2.8:80".parse().ok());
    for arrived in [vec![], vec![elsewhere], vec![Arrival::Connection(None)]] {
        assert_eq!(verdict("tcp4", &seen(DONE, &[], &arrived)), State::Failed);
    }
}

#[test]
fn what_arrives_without_an_identity_fails_everywhere() {
    let fenced = seen(DONE, &[], &[Arrival::Connection(None)]);
    assert_eq!(verdict("bind_device", &fenced), State::Failed);
}

#[test]
fn a_call_that_must_be_refused_is() {
    let refused = seen(&[("bind", Some("EADDRINUSE"))], &[], &[]);
    assert_eq!(verdict("agent_port", &refused), State::Passed);
    assert_eq!(
        verdict("agent_port", &seen(&[("bind", None)], &[], &[])),
        State::Failed
    );
}

#[test]
fn families_are_open_only_where_the_kernel_cannot_close_them() {
    let made = seen(&[("socket", None)], &[], &[]);
    assert_eq!(verdict("vsock", &made), State::Failed);
    let open = judge(attack("vsock"), &made, false);
    assert_eq!(open.state, State::Open);
}
