mod query;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};

use http::{Method, StatusCode, Version};
use outbound_common::Counter;
use serde_json::{Value, json};

use self::query::NO_RULE;
use super::*;
use crate::model::addr::OriginalDst;
use crate::model::flow::ConnectId;
use crate::model::policy::Policy;
use crate::model::target::Scheme;
use crate::model::tenant::{CgroupId, TenantId};
use crate::model::traffic::Traffic as _;
use crate::observe::access_log::Lines;

const LONG: Duration = Duration::from_secs(30);

struct Bench {
    records: Records,
    lines: Lines,
    log: AccessLog,
}

fn bench() -> Bench {
    let (log, lines) = AccessLog::memory().unwrap();
    let metrics = Metrics::new("test", None);
    Bench {
        records: Records::new(metrics, log.clone()),
        lines,
        log,
    }
}

impl Bench {
    /// All lines, once no more can come.
    fn lines(&self) -> Vec<Value> {
        assert!(self.log.close(LONG));
        self.lines
            .all()
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[track_caller]
    fn expect_metric(&self, series: &str, value: u64) {
        let text = self.records.metrics.text();
        let line = format!("{series} {value}");
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}
fn acme() -> Arc<Tenant> {
    Arc::new(Tenant {
        id: TenantId::new("acme").unwrap(),
        policy: Arc::new(Policy {
            name: "standard".into(),
            ..Policy::default()
        }),
        credentials: Vec::new(),
        namespace: None,
        parameters: None,
        dispatch: None,
        limits: crate::model::limits::Limits::default(),
    })
}

fn flow() -> Flow {
    Flow {
        connect: ConnectId { socket: 1, at: 1 },
        original_dst: OriginalDst(address("[::ffff:192.0.2.7]:443")),
        tenant_cgroup: CgroupId(40),
        socket_cgroup: CgroupId(41),
        netns: 1,
        pid: 321,
        uid: 1000,
        executable: "curl".into(),
    }
}

fn opened(bench: &Bench) -> ConnectionRecord {
    bench.records.open(Downstream(address("127.0.0.1:4711")))
}

fn identified(bench: &Bench) -> ConnectionRecord {
    let mut record = opened(bench);
    record.identified(&acme(), &flow());
    record
}

fn get<'a>(host: &'a Host, path: &'a str) -> Requested<'a> {
    Requested {
        method: &Method::GET,
        scheme: Scheme::Http,
        host: Some(host),
        port: Some(80),
        path,
        version: Version::HTTP_11,
    }
}

/// Asserts that `line` says all of `expected`.
#[track_caller]
fn assert_says(line: &Value, expected: Value) {
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(line.get(field), Some(value), "{field} in {line}");
    }
}

#[test]
fn an_exchange_is_one_line_and_its_connection_none() {
    let bench = bench();
    let mut connection = identified(&bench);
    connection.protocol(Protocol::Http);
    let mut exchange = connection.exchanges().open();
    let id = exchange.request_id().to_string();
    exchange.traceparent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    exchange.request(get(
        &"api.example.com".parse().unwrap(),
        "/v1/things?token=hush#there",
    ));
    exchange.allowed(Some("*.example.com"), None);
    exchange.credential(&"api-key".into(), crate::observe::labels::Use::Injected);
    exchange.upstream(UpstreamAddr(address("192.0.2.7:80")));
    exchange.status(StatusCode::CREATED);
    exchange.bytes().count_sent(3);
    exchange.bytes().count_received(5);
    exchange.close(Ending::COMPLETED);
    connection.close(Ending::COMPLETED);
    let lines = bench.lines();
    assert_eq!(lines.len(), 1);
    assert_says(
        &lines[0],
        json!({
            "kind": "http", "tenant": "acme", "cgroup.id": 41, "process.pid": 321,
            "process.executable.name": "curl", "user.id": 1000,
            "client.address": "127.0.0.1", "client.port": 4711,
            "original_dst": "192.0.2.7:443",
            "server.address": "api.example.com", "server.port": 80,
            "network.peer.address": "192.0.2.7", "network.peer.port": 80,
            "network.protocol.name": "http", "network.protocol.version": "1.1",
            "http.request.method": "GET", "url.scheme": "http", "url.path": "/v1/things",
            "http.response.status_code": 201,
            "verdict": "allow", "rule": "*.example.com", "outcome": "completed",
            "credential": "api-key", "bytes.sent": 3, "bytes.received": 5,
            "request_id": id, "trace_id": "0af7651916cd43dd8448eb211c80319c",
        }),
    );
    for absent in ["reason", "fault", "would_deny", "kernel.counter"] {
        assert_eq!(lines[0].get(absent), None);
    }
    assert!(!lines[0].to_string().contains("hush"));
    assert!(lines[0]["duration_ms"].as_f64().unwrap() < 30_000.0);
    assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'));
    bench.expect_metric("outbound_connections_opened_total{tenant=\"acme\"}", 1);
    bench.expect_metric(
        "outbound_connections_closed_total{outcome=\"completed\",protocol=\"http\",tenant=\"acme\"}",
        1,
    );
    bench.expect_metric(
        "outbound_exchanges_total{outcome=\"completed\",tenant=\"acme\",verdict=\"allow\"}",
        1,
    );
    bench.expect_metric(
        "outbound_bytes_total{direction=\"received\",tenant=\"acme\"}",
        5,
    );
}

#[test]
fn a_tunnel_is_one_line_and_its_bytes_are_counted_while_it_lives() {
    let bench = bench();
    let mut record = opened(&bench);
    let bytes = record.bytes();
    bytes.count_sent(10);
    record.identified(&acme(), &flow());
    record.protocol(Protocol::Tls);
    record.server_name(&"db.example.com".parse().unwrap());
    bytes.count_sent(1);
    bench.expect_metric(
        "outbound_bytes_total{direction=\"sent\",tenant=\"acme\"}",
        11,
    );
    record.allowed(None, Some(NO_RULE));
    record.upstream(UpstreamAddr(address("[2001:db8::1]:443")));
    record.close(Ending::COMPLETED);
    let lines = bench.lines();
    assert_eq!(lines.len(), 1);
    assert_says(
        &lines[0],
        json!({
            "kind": "tls", "server.address": "db.example.com", "server.port": 443,
            "network.peer.address": "2001:db8::1", "network.protocol.name": "tls",
            "verdict": "allow", "would_deny": "no_rule", "bytes.sent": 11,
        }),
    );
    bench.expect_metric(
        "outbound_would_deny_total{reason=\"no_rule\",tenant=\"acme\"}",
        1,
    );
}

#[test]
fn a_denial_has_one_word_in_log_and_metric() {
    let bench = bench();
    let connection = identified(&bench);
    let mut exchange = connection.exchanges().open();
    exchange.request(get(&"evil.example".parse().unwrap(), "/"));
    exchange.denied_by("*.example");
    exchange.status(StatusCode::FORBIDDEN);
    exchange.close(Ending::of(Reason::RuleDeny));
    connection.close(Ending::COMPLETED);
    assert_says(
        &bench.lines()[0],
        json!({ "verdict": "deny", "outcome": "denied", "reason": "rule_deny", "rule": "*.example" }),
    );
    bench.expect_metric(
        "outbound_denials_total{reason=\"rule_deny\",tenant=\"acme\"}",
        1,
    );
    bench.expect_metric(
        "outbound_exchanges_total{outcome=\"denied\",tenant=\"acme\",verdict=\"deny\"}",
        1,
    );
}

#[test]
fn a_connection_that_nobody_knows_is_a_security_event() {
    let bench = bench();
    opened(&bench).close(Ending::of(Reason::UnknownFlow));
    let lines = bench.lines();
    assert_says(
        &lines[0],
        json!({ "kind": "security_event", "outcome": "refused", "reason": "unknown_flow" }),
    );
    assert_eq!(lines[0].get("tenant"), None);
    assert_eq!(lines[0].get("verdict"), None);
    bench.expect_metric("outbound_connections_opened_total{tenant=\"_unknown\"}", 1);
    bench.expect_metric(
        "outbound_connections_closed_total{outcome=\"refused\",protocol=\"unknown\",tenant=\"_unknown\"}",
        1,
    );
    bench.expect_metric(
        "outbound_denials_total{reason=\"unknown_flow\",tenant=\"_unknown\"}",
        1,
    );
}

#[test]
fn a_connection_that_ends_early_is_a_tcp_line() {
    let bench = bench();
    identified(&bench).close(Ending::of(Reason::TunnelIdleTimeout));
    assert_says(
        &bench.lines()[0],
        json!({ "kind": "tcp", "outcome": "timed_out", "fault": "downstream" }),
    );
}

#[test]
fn bytes_after_an_exchange_that_are_no_request_get_a_line() {
    let bench = bench();
    let mut connection = identified(&bench);
    connection.protocol(Protocol::Http);
    connection.exchanges().open().close(Ending::COMPLETED);
    connection.close(Ending::of(Reason::Malformed));
    let lines = bench.lines();
    assert_eq!(lines.len(), 2);
    assert_says(
        &lines[1],
        json!({ "kind": "security_event", "reason": "malformed" }),
    );
}

#[test]
fn a_dropped_record_closes_itself_as_aborted() {
    let bench = bench();
    let connection = identified(&bench);
    drop(connection.exchanges().open());
    drop(connection);
    drop(identified(&bench));
    let lines = bench.lines();
    assert_eq!(lines.len(), 2);
    assert_says(&lines[0], json!({ "kind": "http", "outcome": "aborted" }));
    assert_says(&lines[1], json!({ "kind": "tcp", "outcome": "aborted" }));
    bench.expect_metric(
        "outbound_connections_closed_total{outcome=\"aborted\",protocol=\"unknown\",tenant=\"acme\"}",
        2,
    );
}

#[test]
fn a_record_dropped_by_a_panic_is_the_agents_failure() {
    let bench = bench();
    let exchange = identified(&bench).exchanges().open();
    let result = catch_unwind(AssertUnwindSafe(move || {
        let _held = exchange;
        panic!("as the test wants");
    }));
    assert!(result.is_err());
    let lines = bench.lines();
    assert_says(
        &lines[0],
        json!({ "outcome": "failed", "reason": "internal", "fault": "internal" }),
    );
}

#[test]
fn what_the_kernel_refused_is_a_security_event() {
    let bench = bench();
    let refusal = KernelRefusal {
        tenant: TenantId::new("acme"),
        cgroup: CgroupId(77),
        destination: OriginalDst(address("198.51.100.9:53")),
        protocol: 17,
        family: 2,
        counter: Counter::Datagram,
        pid: 9,
        uid: 0,
        suppressed: 0,
        executable: "dig".into(),
    };
    bench.records.refusal(&refusal);
    let nowhere = OriginalDst(address("[::]:0"));
    bench.records.refusal(&KernelRefusal {
        tenant: None,
        destination: nowhere,
        suppressed: 40,
        ..refusal
    });
    let lines = bench.lines();
    assert_says(
        &lines[0],
        json!({
            "kind": "security_event", "tenant": "acme", "cgroup.id": 77, "process.pid": 9,
            "user.id": 0, "process.executable.name": "dig", "original_dst": "198.51.100.9:53",
            "network.transport": "udp", "network.type": "ipv4", "outcome": "refused",
            "reason": "kernel", "kernel.counter": "datagram",
        }),
    );
    assert_eq!(lines[0].get("kernel.suppressed"), None);
    assert_says(&lines[1], json!({ "kernel.suppressed": 40 }));
    assert_eq!(lines[1].get("original_dst"), None);
    bench.expect_metric(
        "outbound_denials_total{reason=\"kernel\",tenant=\"acme\"}",
        1,
    );
    bench.expect_metric(
        "outbound_denials_total{reason=\"kernel\",tenant=\"_unknown\"}",
        41,
    );
}

#[test]
fn nothing_in_a_line_acts_on_its_reader() {
    let bench = bench();
    let connection = identified(&bench);
    let mut exchange = connection.exchanges().open();
    let path = "/\n\"\\\u{1b}[2J\u{7f}\u{85}\u{9b}\u{2028}\u{202e}é";
    exchange.request(get(&"a.example".parse().unwrap(), path));
    exchange.close(Ending::COMPLETED);
    drop(connection);
    let parsed = bench.lines();
    assert_eq!(
        parsed[0]["url.path"], path,
        "a reader of JSON gets back what there was"
    );
    let raw = &bench.lines.all()[0];
    assert!(
        raw.contains("/\\n\\\"\\\\\\u001b[2J\\u007f\\u0085\\u009b\\u2028\\u202eé"),
        "{raw}"
    );
}

#[test]
fn long_paths_are_cut_between_characters() {
    let bench = bench();
    let connection = identified(&bench);
    let mut exchange = connection.exchanges().open();
    let path = format!("/{}", "é".repeat(4_000));
    exchange.request(get(&"a.example".parse().unwrap(), &path));
    exchange.close(Ending::COMPLETED);
    drop(connection);
    assert_eq!(bench.lines()[0]["url.path"].as_str().unwrap().len(), 1023);
}

#[test]
fn a_lost_line_is_counted() {
    let bench = bench();
    assert!(bench.log.close(LONG));
    identified(&bench).close(Ending::COMPLETED);
    bench.expect_metric("outbound_access_log_lost_total", 1);
}
