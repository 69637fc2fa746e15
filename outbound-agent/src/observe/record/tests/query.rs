use super::*;
use crate::model::rcode::Rcode;

#[test]
fn a_query_is_one_line_whatever_it_came_by() {
    let bench = bench();
    let mut query = bench.records.query(Downstream(address("127.0.0.1:4711")));
    query.identified(&flow(), Some(&acme()));
    query.question("api.test", "A");
    query.allowed(Some("allow api.test"), None);
    query.reply(Rcode::NoError, 2);
    query.close(Ending::COMPLETED);
    let mut connection = identified(&bench);
    connection.protocol(Protocol::Dns);
    let mut query = connection.query();
    query.question("evil.test", "TXT");
    query.denied_by("deny evil.test");
    query.reply(Rcode::Refused, 0);
    query.close(Ending::of(Reason::RuleDeny));
    connection.close(Ending::COMPLETED);
    let lines = bench.lines();
    assert_eq!(lines.len(), 2);
    assert_says(
        &lines[0],
        json!({
            "kind": "dns", "tenant": "acme", "network.transport": "udp",
            "original_dst": "192.0.2.7:443", "dns.question.name": "api.test",
            "dns.question.type": "A", "dns.response.code": "NOERROR", "dns.answers.count": 2,
            "rule": "allow api.test", "verdict": "allow", "outcome": "completed",
        }),
    );
    assert_says(
        &lines[1],
        json!({
            "kind": "dns", "tenant": "acme", "network.transport": "tcp",
            "dns.question.name": "evil.test", "dns.response.code": "REFUSED",
            "rule": "deny evil.test", "verdict": "deny", "reason": "rule_deny",
        }),
    );
    bench.expect_metric(
        "outbound_dns_queries_total{rcode=\"REFUSED\",tenant=\"acme\"}",
        1,
    );
    bench.expect_metric(
        "outbound_denials_total{reason=\"rule_deny\",tenant=\"acme\"}",
        1,
    );
}

#[test]
fn a_query_of_nobody_is_a_security_event_without_an_answer() {
    let bench = bench();
    let query = bench.records.query(Downstream(address("127.0.0.1:4711")));
    query.close(Ending::of(Reason::UnknownFlow));
    let lines = bench.lines();
    assert_says(
        &lines[0],
        json!({ "kind": "security_event", "reason": "unknown_flow", "client.port": 4711 }),
    );
    assert!(lines[0].get("dns.response.code").is_none());
    assert!(
        !bench
            .records
            .metrics
            .text()
            .contains("outbound_dns_queries_total")
    );
}

#[test]
fn records_move_into_bodies_and_tasks() {
    fn moves<T: Send + Sync + 'static>() {}
    moves::<ExchangeRecord>();
    moves::<ConnectionRecord>();
    moves::<QueryRecord>();
}

pub(super) const NO_RULE: Watched<'static> = Watched {
    reason: Reason::NoRule,
    rule: None,
};
