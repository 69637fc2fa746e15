//! One line of the access log: its fields, in order, and how they become JSON.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderName;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use super::{Account, ByteCounter, Opened, Who};
use crate::model::addr::OriginalDst;
use crate::model::host::Host;
use crate::model::reason::{Ending, Fault, Reason};
use crate::model::tenant::CgroupId;
use crate::observe::labels::{Kind, Verdict};
use crate::observe::timestamp::Timestamp;

macro_rules! line {
    ($($(#[$doc:meta])* $field:ident $name:literal: $type:ty,)*) => {
        /// What a line says. The names are OpenTelemetry's where it has one, and an interface:
        /// what is renamed here breaks somebody's alerts. What is unknown is left out.
        #[derive(Debug, Serialize)]
        pub(super) struct Line<'a> {
            /// When it began.
            timestamp: Timestamp,
            kind: &'static str,
            $(
                $(#[$doc])*
                #[serde(rename = $name, skip_serializing_if = "Option::is_none")]
                pub(super) $field: Option<$type>,
            )*
        }

        impl Line<'_> {
            /// A line that says nothing yet.
            pub(super) const fn new(kind: Kind, opened: Opened) -> Self {
                Self { timestamp: opened.at, kind: kind.label(), $($field: None,)* }
            }
        }
    };
}

line! {
    tenant "tenant": &'a str,
    /// Which dispatch its parameters are of, where they are of one.
    dispatch_id "dispatch.id": &'a str,
    cgroup_id "cgroup.id": u64,
    process_pid "process.pid": u32,
    process_executable_name "process.executable.name": &'a str,
    user_id "user.id": u32,
    client_address "client.address": IpAddr,
    client_port "client.port": u16,
    /// Where the workload wanted to connect, with port.
    original_dst "original_dst": SocketAddr,
    /// The name that the workload gave, or the address that it asked for.
    server_address "server.address": Server<'a>,
    server_port "server.port": u16,
    /// What was dialled.
    network_peer_address "network.peer.address": IpAddr,
    network_peer_port "network.peer.port": u16,
    network_type "network.type": &'static str,
    network_transport "network.transport": &'static str,
    network_protocol_name "network.protocol.name": &'static str,
    network_protocol_version "network.protocol.version": &'static str,
    http_request_method "http.request.method": &'a str,
    url_scheme "url.scheme": &'static str,
    url_path "url.path": &'a str,
    /// Only where a rule asks for it, as much of it as that asks for.
    url_query "url.query": &'a str,
    /// Likewise.
    http_request_headers "http.request.headers": Headers<'a>,
    http_response_status_code "http.response.status_code": u16,
    /// In lower case, without the last dot.
    dns_question_name "dns.question.name": &'a str,
    dns_question_type "dns.question.type": &'a str,
    /// Left out where no answer was sent.
    dns_response_code "dns.response.code": &'static str,
    /// How many records the answer has.
    dns_answers_count "dns.answers.count": usize,
    /// Left out where policy was not asked.
    verdict "verdict": &'static str,
    rule "rule": &'a str,
    outcome "outcome": &'static str,
    reason "reason": &'static str,
    fault "fault": &'static str,
    /// The reason for which enforce mode would have denied it.
    would_deny "would_deny": &'static str,
    /// The rule by which it would have, if by one.
    would_deny_rule "would_deny.rule": &'a str,
    /// Its name.
    credential "credential": &'a str,
    worker_name "worker.name": &'a str,
    worker_outcome "worker.outcome": &'static str,
    worker_duration_ms "worker.duration_ms": f64,
    bytes_sent "bytes.sent": u64,
    bytes_received "bytes.received": u64,
    duration_ms "duration_ms": f64,
    request_id "request_id": &'a str,
    trace_id "trace_id": &'a str,
    kernel_counter "kernel.counter": &'static str,
    /// How many of the tenant's refusals have no line, since the last that has one.
    kernel_suppressed "kernel.suppressed": u64,
}

/// Headers with their values; one that is there more than once has its values in a row.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct Headers<'a>(BTreeMap<&'a str, Vec<&'a str>>);

impl<'a> Headers<'a> {
    pub(super) fn of(captured: &'a [(HeaderName, String)]) -> Option<Self> {
        let mut headers = BTreeMap::<_, Vec<&'a str>>::new();
        for (name, value) in captured {
            headers.entry(name.as_str()).or_default().push(value);
        }
        (!headers.is_empty()).then_some(Self(headers))
    }
}

/// A server as a name or as an address.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Server<'a> {
    Name(&'a str),
    Address(IpAddr),
}

impl<'a> From<&'a Host> for Server<'a> {
    fn from(host: &'a Host) -> Self {
        match host {
            Host::Name(name) => Self::Name(name),
            Host::Address(address) => Self::Address(*address),
        }
    }
}

impl<'a> Line<'a> {
    /// Whose it is, and where it wanted to go.
    pub(super) fn who(&mut self, who: &'a Who) {
        self.client_address = Some(who.downstream.ip());
        self.client_port = Some(who.downstream.port());
        self.tenant = who.tenant.as_ref().map(|tenant| tenant.id.as_str());
        self.dispatch_id = who
            .tenant
            .as_ref()
            .and_then(|tenant| tenant.dispatch.as_deref());
        let Some(flow) = &who.flow else {
            return;
        };
        self.process(flow.socket_cgroup, flow.pid, flow.uid, &flow.executable);
        self.asked_for(flow.original_dst);
    }

    /// Where it wanted to go: also the server, until a name is known.
    pub(super) fn asked_for(&mut self, original_dst: OriginalDst) {
        let (ip, port) = (original_dst.ip(), original_dst.port());
        self.original_dst = Some(SocketAddr::new(ip, port));
        self.server_address = Some(Server::Address(ip));
        self.server_port = Some(port);
    }

    /// Which process; a pid of 0 is one that the kernel could not tell, and so is its user.
    pub(super) fn process(&mut self, cgroup: CgroupId, pid: u32, uid: u32, executable: &'a str) {
        self.cgroup_id = (cgroup.0 != 0).then_some(cgroup.0);
        self.process_pid = (pid != 0).then_some(pid);
        self.user_id = self.process_pid.map(|_known| uid);
        self.process_executable_name = (!executable.is_empty()).then_some(executable);
    }

    /// What was decided and done, and how it ended.
    pub(super) fn account(&mut self, account: &'a Account, ending: Ending) {
        self.verdict = match account.verdict(ending) {
            Verdict::None => None,
            verdict @ (Verdict::Allow | Verdict::Deny) => Some(verdict.label()),
        };
        self.rule = account.rule.as_deref();
        if let Some((reason, rule)) = &account.would_deny {
            self.would_deny = Some(reason.label());
            self.would_deny_rule = rule.as_deref();
        }
        self.credential = account.credential.as_deref();
        self.network_peer_address = account.upstream.map(|upstream| upstream.ip());
        self.network_peer_port = account.upstream.map(|upstream| upstream.port());
        self.ending(ending);
    }

    /// How it ended.
    pub(super) fn ending(&mut self, ending: Ending) {
        self.outcome = Some(ending.outcome.label());
        self.reason = ending.reason.map(Reason::label);
        self.fault = ending.fault.map(Fault::label);
    }

    /// How much, and how long it took.
    pub(super) fn carried(&mut self, bytes: &ByteCounter, opened: Opened) {
        self.bytes_sent = Some(bytes.sent());
        self.bytes_received = Some(bytes.received());
        self.took(opened);
    }

    /// What the outbound worker did, and how long it took until its response began.
    pub(super) fn worker(&mut self, name: &'a str, outcome: &'static str, took: Duration) {
        self.worker_name = Some(name);
        self.worker_outcome = Some(outcome);
        self.worker_duration_ms = Some(millis(took));
    }

    /// How long it took.
    pub(super) fn took(&mut self, opened: Opened) {
        self.duration_ms = Some(millis(opened.clock.elapsed()));
    }

    /// The line, newline included.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = Vec::with_capacity(TYPICAL_BYTES);
        self.serialize(&mut Serializer::with_formatter(&mut json, Printable))
            .expect("fields are texts and numbers, and a Vec takes every write");
        json.push(b'\n');
        json
    }
}

const TYPICAL_BYTES: usize = 1024;

/// Milliseconds with three decimals.
fn millis(duration: Duration) -> f64 {
    let micros = u32::try_from(duration.as_micros()).map_or_else(
        // Beyond an hour nobody misses the microseconds.
        |_long| duration.as_millis() as f64 * 1_000.0,
        f64::from,
    );
    micros / 1_000.0
}

/// Escapes, beyond what JSON asks for, what a terminal or a line-based reader would act on:
/// DEL, the C1 controls, line and paragraph separators, and marks that reorder text.
struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, found)) = rest.char_indices().find(|(_, c)| acts_on_a_reader(*c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", u32::from(found))?;
            rest = &rest[at + found.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

const fn acts_on_a_reader(character: char) -> bool {
    matches!(
        character,
        '\u{7f}'..='\u{9f}'
            | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{feff}'
    )
}
