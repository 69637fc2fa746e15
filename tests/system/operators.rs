use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;

use harness::sandbox::eventually;
use serde_json::{Value, json};

use crate::scene::{SECRET, curl, host, origin};

#[test]
fn health_readiness_and_metrics_are_public_and_the_rest_is_not() {
    let Some(host) = host() else { return };
    let agent = host.agent();
    for (path, body) in [
        ("/healthz", json!({ "status": "ok" })),
        ("/readyz", json!({ "ready": true, "waiting_for": [] })),
    ] {
        let (status, text) = host.get(path);
        assert_eq!(status, 200, "{path}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), body);
    }
    for path in ["/v1/status", "/v1/tenants", "/v1/tenants/acme", "/nothing"] {
        assert_eq!(host.get(path).0, 404, "{path}");
    }
    let (status, text) = host.admin("/v1/tenants/acme");
    let tenant: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &tenant["policy"]), (200, &json!("acme")));
    assert_eq!(tenant["credentials"], json!(["token"]));
    let (_status, text) = host.admin("/v1/status");
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["pid"], agent.process().pid());
    assert_eq!(state["tenants"], 2);
    agent.stop();
    assert!(host.try_get("/healthz").is_none());
    assert!(!host.path("admin.sock").exists());
}

#[test]
fn metrics_tell_what_happened_and_read_as_prometheus_reads_them() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    curl(&host, "acme", "http://bulk.test/bytes/1000").output();
    curl(&host, "acme", "http://bulk.test/bytes/2000").output();
    curl(&host, "acme", "http://evil.test/").output();
    curl(&host, "globex", "http://api.test/").output();
    for (sample, value) in [
        ("outbound_connections_opened_total{tenant=\"acme\"}", 3.0),
        (
            "outbound_connections_closed_total{outcome=\"completed\",protocol=\"http\",tenant=\"acme\"}",
            3.0,
        ),
        (
            "outbound_exchanges_total{outcome=\"completed\",tenant=\"acme\",verdict=\"allow\"}",
            2.0,
        ),
        (
            "outbound_exchanges_total{outcome=\"denied\",tenant=\"acme\",verdict=\"deny\"}",
            1.0,
        ),
        (
            "outbound_exchanges_total{outcome=\"denied\",tenant=\"globex\",verdict=\"deny\"}",
            1.0,
        ),
        (
            "outbound_bytes_total{direction=\"received\",tenant=\"acme\"}",
            3000.0,
        ),
        (
            "outbound_denials_total{reason=\"no_rule\",tenant=\"globex\"}",
            1.0,
        ),
        (
            "outbound_exchange_duration_seconds_count{outcome=\"completed\"}",
            2.0,
        ),
        ("outbound_kernel_events_total{counter=\"redirected\"}", 4.0),
        (
            "outbound_kernel_events_total{counter=\"flow_missing\"}",
            0.0,
        ),
    ] {
        host.expect_metric(sample, value);
    }
    expect_exposition(&host.get("/metrics").1);
}

/// As `promtool check metrics` would: each family is told of once, before its samples, which
/// stand together, each once.
#[track_caller]
fn expect_exposition(text: &str) {
    assert!(text.ends_with('\n'));
    let mut families = BTreeMap::new();
    let mut samples = std::collections::BTreeSet::new();
    let (mut helped, mut current) = ("", ("", ""));
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').expect(line);
            assert!(!words.trim().is_empty(), "{line}");
            helped = name;
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            current = kind.split_once(' ').expect(line);
            assert_eq!(helped, current.0, "{line}");
            assert!(current.0.starts_with("outbound_"), "{line}");
            assert!(families.insert(current.0, current.1).is_none(), "{line}");
            assert_eq!(
                current.0.ends_with("_total"),
                current.1 == "counter",
                "{line}"
            );
        } else {
            let (sample, value) = line.rsplit_once(' ').expect(line);
            let name = sample.split('{').next().expect(line);
            let suffix = name.strip_prefix(current.0).expect(line);
            let suffixes: &[&str] = match current.1 {
                "histogram" => &["_bucket", "_sum", "_count"],
                _ => &[""],
            };
            assert!(suffixes.contains(&suffix), "{line}");
            let value: f64 = value.parse().expect(line);
            assert!(value >= 0.0, "{line}");
            assert!(samples.insert(sample), "{line}");
        }
    }
    assert!(families.len() > 5, "{families:?}");
}

#[test]
fn the_service_manager_is_told_when_the_agent_is_ready_and_when_it_stops() {
    let Some(host) = host() else { return };
    let path = host.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let told = || {
        let mut buffer = [0; 4096];
        let length = manager.recv(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    let agent = host.agent_of(host.start_agent().env("NOTIFY_SOCKET", &path));
    let ready = eventually("the manager is told", told);
    assert!(ready.contains("READY=1"), "{ready}");
    agent.stop();
    assert!(told().is_some_and(|text| text.contains("STOPPING=1")));
}

#[test]
fn a_follower_sees_every_line_of_the_log_and_ends_with_the_agent() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let socket = host.path("admin.sock").display().to_string();
    let url = "http://agent/v1/events?follow=1";
    let arguments = ["-sS", "-N", "-v", "--unix-socket", &socket, url];
    let follower = host.program("curl", &arguments).start();
    eventually("the follower is served", || {
        follower
            .complaints()
            .contains("< HTTP/1.1 200")
            .then_some(())
    });
    curl(&host, "acme", "http://api.test/followed").output();
    curl(&host, "acme", "http://evil.test/denied").output();
    follower.expect("/denied");
    agent.stop();
    let ended = follower.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    let lines = ended.stdout;
    assert_eq!(
        lines,
        std::fs::read_to_string(host.path("access.jsonl")).unwrap()
    );
    assert!(!lines.contains(SECRET));
}
