use std::path::Path;

use super::*;

fn metrics() -> Metrics {
    Metrics::new("1.2.3", Some("abc"))
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

#[test]
fn every_event_has_its_series() {
    let metrics = metrics();
    let acme = metrics.tenant(&tenant("acme"));
    acme.connection_opened();
    acme.connection_closed(Protocol::Tls, Outcome::Completed);
    acme.exchange_closed(Verdict::Deny, Outcome::Denied, Duration::from_millis(3));
    acme.carried(Direction::Sent, 7);
    acme.query_answered(Rcode::NxDomain);
    acme.denied(Reason::NoRule);
    acme.would_deny(Reason::RuleDeny);
    metrics.no_tenant().denied(Reason::Kernel);
    metrics.access_log_lost();
    metrics.config_reloaded(Reload::Applied);
    metrics.read_kernel_events(Box::new(|| vec![(Counter::Redirected, 5)]));
    let text = metrics.text();
    for line in [
        "outbound_connections_opened_total{tenant=\"acme\"} 1",
        "outbound_connections_closed_total{outcome=\"completed\",protocol=\"tls\",tenant=\"acme\"} 1",
        "outbound_exchanges_total{outcome=\"denied\",tenant=\"acme\",verdict=\"deny\"} 1",
        "outbound_exchange_duration_seconds_bucket{outcome=\"denied\",le=\"0.005\"} 1",
        "outbound_bytes_total{direction=\"sent\",tenant=\"acme\"} 7",
        "outbound_dns_queries_total{rcode=\"NXDOMAIN\",tenant=\"acme\"} 1",
        "outbound_denials_total{reason=\"no_rule\",tenant=\"acme\"} 1",
        "outbound_denials_total{reason=\"kernel\",tenant=\"_unknown\"} 1",
        "outbound_would_deny_total{reason=\"rule_deny\",tenant=\"acme\"} 1",
        "outbound_kernel_events_total{counter=\"redirected\"} 5",
        "outbound_access_log_lost_total 1",
        "outbound_config_reloads_total{result=\"applied\"} 1",
        "outbound_build_info{commit=\"abc\",version=\"1.2.3\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
}

#[test]
fn kernel_events_are_read_at_each_scrape() {
    let metrics = metrics();
    assert!(!metrics.text().contains("outbound_kernel_events_total"));
    let reads = std::sync::atomic::AtomicU64::new(0);
    metrics.read_kernel_events(Box::new(move || {
        let total = reads.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
        vec![(Counter::NoTenant, total)]
    }));
    assert!(metrics.text().contains("{counter=\"no_tenant\"} 0"));
    assert!(metrics.text().contains("{counter=\"no_tenant\"} 10"));
}

#[test]
fn tenants_beyond_the_bound_share_a_label() {
    let metrics = metrics();
    for number in 0..MAX_TENANTS + 5 {
        metrics
            .tenant(&tenant(&format!("t{number}")))
            .connection_opened();
    }
    metrics.tenant(&tenant("t0")).connection_opened();
    let text = metrics.text();
    assert!(text.contains("outbound_connections_opened_total{tenant=\"_other\"} 5\n"));
    assert!(text.contains("outbound_connections_opened_total{tenant=\"t0\"} 2\n"));
    let series = text.matches("outbound_connections_opened_total{").count();
    assert_eq!(series, MAX_TENANTS + 1);
}

#[test]
fn a_tenant_cannot_take_the_shared_labels() {
    assert_eq!(TenantId::new(UNKNOWN_TENANT), None);
    assert_eq!(TenantId::new(OTHER_TENANTS), None);
}

#[test]
fn the_document_says_what_the_registry_holds() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, markdown()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == markdown(),
        "docs/metrics.md has drifted: run UPDATE_DOCS=1 cargo test -p outbound-agent metrics"
    );
}
