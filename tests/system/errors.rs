use harness::host::{Host, Server};
use harness::sandbox::eventually;
use serde_json::Value;

/// How each connect ends, in its own line: address, port, and what `connect` gave, blocking and
/// then not.
const CONNECT: &str = "
import errno, select, socket, sys
def name(code):
    return errno.errorcode[code] if code else 'ok'
def blocking(made, target):
    made.setblocking(True)
    return name(made.connect_ex(target))
def polled(made, target):
    made.setblocking(False)
    begun = made.connect_ex(target)
    if begun != errno.EINPROGRESS:
        return 'at once ' + name(begun)
    if not select.select([], [made], [], 15)[1]:
        return 'nothing'
    return name(made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
for way, target in [word.split('=') for word in sys.argv[1:]]:
    address, port = target.rsplit(',', 1)
    told = []
    for connect in (blocking, polled):
        made = socket.socket(socket.AF_INET6 if ':' in address else socket.AF_INET)
        if way == 'v6only':
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        told.append(connect(made, (address, int(port))))
        made.close()
    print(target, *told, flush=True)
";

const POLICIES: &str = r#"
[policies.true]
true_errors = true
allow = [
    "203.0.113.0/24", "198.51.100.0/24", "192.0.2.0/24", "2001:db8::/32",
    "tcp://203.0.113.10:7", "api.test:8080",
]
deny = ["203.0.113.66", "2001:db8::66"]

[policies.names]
true_errors = true
allow = ["api.test"]

[policies.plain]
allow = ["203.0.113.0/24", "198.51.100.0/24"]
"#;

/// A host with ways to everywhere and nowhere: `held` has true errors, `named` has them and may
/// reach a name alone, `plain` has none.
pub(crate) fn host() -> Option<Host> {
    let host = Host::new()?;
    host.configure("policies", POLICIES);
    host.configure("limits", "[limits]\nconnect = \"1s\"\n");
    host.resolve(&["api.test"]);
    host.tenant("held", "true");
    host.tenant("named", "names");
    host.tenant("plain", "plain");
    for route in [
        "route add unreachable 198.51.100.7",
        "route add prohibit 198.51.100.8",
        "link add silent arp off type veth peer name nobody",
        "link set silent up",
        "link set nobody up",
        "route add 198.51.100.9 dev silent src 203.0.113.10",
        "-6 route add unreachable 2001:db8:7::/48",
    ] {
        host.ip(route);
    }
    Some(host)
}

#[track_caller]
fn connects(host: &Host, tenant: &str, targets: &[&str]) -> String {
    let words = [&["-c", CONNECT], targets].concat();
    host.run(tenant, &[&["python3", "-S"], &words[..]].concat())
        .output()
}

#[test]
fn connect_fails_as_the_upstream_did() {
    let Some(host) = host() else { return };
    let origin = host.server("203.0.113.10:80");
    let _agent = host.agent();
    let told = connects(
        &host,
        "held",
        &[
            "v4=203.0.113.10,80",
            "v4=203.0.113.10,443",
            "v4=198.51.100.7,80",
            "v4=198.51.100.8,80",
            "v4=192.0.2.1,80",
        ],
    );
    assert_eq!(
        told,
        "203.0.113.10,80 ok ok\n\
         203.0.113.10,443 ECONNREFUSED ECONNREFUSED\n\
         198.51.100.7,80 EHOSTUNREACH EHOSTUNREACH\n\
         198.51.100.8,80 EHOSTUNREACH EHOSTUNREACH\n\
         192.0.2.1,80 ENETUNREACH ENETUNREACH\n"
    );
    expect_connections(&origin, 2);
    let line = host.expect_log(&[("server.port", "443")]);
    assert_eq!(line["tenant"], "held");
    assert_eq!(line["reason"], "upstream_refused");
    assert_eq!(line["rule"], "allow 203.0.113.0/24");
    for (verdict, count) in [
        ("connected", 2.0),
        ("refused", 2.0),
        ("host_unreachable", 4.0),
        ("net_unreachable", 2.0),
    ] {
        host.expect_metric(&released("held", verdict), count);
    }
}

#[test]
fn connect_over_ipv6_fails_as_the_upstream_did() {
    let Some(host) = host() else { return };
    let origin = host.server("[2001:db8::10]:80");
    let _agent = host.agent();
    // With its own loopback address, and over the tenant's IPv4 one.
    for way in ["v6only", "v6"] {
        let targets = [
            format!("{way}=2001:db8::10,80"),
            format!("{way}=2001:db8::10,443"),
            format!("{way}=2001:db8:7::1,80"),
            format!("{way}=2001:db8:8::1,80"),
            format!("{way}=2001:db8::66,80"),
        ];
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        assert_eq!(
            connects(&host, "held", &targets),
            "2001:db8::10,80 ok ok\n\
             2001:db8::10,443 ECONNREFUSED ECONNREFUSED\n\
             2001:db8:7::1,80 EHOSTUNREACH EHOSTUNREACH\n\
             2001:db8:8::1,80 ENETUNREACH ENETUNREACH\n\
             2001:db8::66,80 ECONNREFUSED ECONNREFUSED\n",
            "{way}"
        );
    }
    expect_connections(&origin, 4);
}

#[test]
fn an_upstream_that_is_silent_is_a_connect_that_times_out() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    // Long enough for two more packets: nothing is dialled or told for them.
    let program = "import socket\n\
                   made = socket.socket()\n\
                   made.settimeout(4)\n\
                   try:\n\
                   \x20   made.connect(('198.51.100.9', 80))\n\
                   except OSError as error:\n\
                   \x20   print(error)\n";
    assert_eq!(host.python("held", program).output(), "timed out\n");
    let line = host.expect_log(&[("reason", "connect_timeout")]);
    assert_eq!(line["original_dst"], "198.51.100.9:80");
    assert_eq!(host.log().len(), 1, "{:#?}", host.log());
    host.expect_metric(&released("held", "timed_out"), 1.0);
}

#[test]
fn what_is_denied_whatever_it_is_for_is_refused() {
    let Some(host) = host() else { return };
    host.ip("address add 203.0.113.66/32 dev lo");
    let origin = host.server("203.0.113.66:80");
    let _agent = host.agent();
    let told = connects(
        &host,
        "held",
        &["v4=203.0.113.66,80", "v4=10.0.0.1,80", "v4=203.0.113.10,25"],
    );
    assert_eq!(
        told,
        "203.0.113.66,80 ECONNREFUSED ECONNREFUSED\n\
         10.0.0.1,80 ECONNREFUSED ECONNREFUSED\n\
         203.0.113.10,25 ECONNREFUSED ECONNREFUSED\n"
    );
    assert_eq!(origin.connections(), 0);
    for (address, reason, rule) in [
        ("203.0.113.66:80", "rule_deny", "deny 203.0.113.66".into()),
        ("10.0.0.1:80", "private_address", Value::Null),
        ("203.0.113.10:25", "no_rule", Value::Null),
    ] {
        let line = host.expect_log(&[("original_dst", address)]);
        assert_eq!(line["outcome"], "denied");
        assert_eq!(line["reason"], reason);
        assert_eq!(line["rule"], rule);
    }
    host.expect_metric(&released("held", "denied"), 6.0);
}

#[test]
fn a_name_opens_its_own_address_and_no_other_is_dialled() {
    let Some(host) = host() else { return };
    host.ip("address add 203.0.113.11/32 dev lo");
    let other = host.server("203.0.113.11:80");
    let origin = host.server("203.0.113.10:80");
    let _agent = host.agent();
    let told = connects(
        &host,
        "named",
        &[
            "v4=203.0.113.10,80",
            "v4=203.0.113.10,443",
            "v4=203.0.113.11,80",
            "v4=198.51.100.7,80",
        ],
    );
    // Whom the last two are for, only their first bytes would have said.
    assert_eq!(
        told,
        "203.0.113.10,80 ok ok\n\
         203.0.113.10,443 ECONNREFUSED ECONNREFUSED\n\
         203.0.113.11,80 ok ok\n\
         198.51.100.7,80 ok ok\n"
    );
    expect_connections(&origin, 2);
    assert_eq!(other.connections(), 0);
    host.expect_metric(&released("named", "open"), 4.0);
}

#[test]
fn who_did_not_ask_for_it_notices_nothing() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let told = connects(
        &host,
        "plain",
        &["v4=203.0.113.10,443", "v4=198.51.100.7,80"],
    );
    assert_eq!(told, "203.0.113.10,443 ok ok\n198.51.100.7,80 ok ok\n");
    let (_status, metrics) = host.get("/metrics");
    assert!(
        !metrics.contains("outbound_held_connects_total"),
        "{metrics}"
    );
    // Nor does who is no tenant: the port is the agent's, and the kernel keeps others off it.
    let told = host.connect("127.1.0.1:15001");
    assert!(told.is_err(), "{told:?}");
}

/// So many have been made to it; one too many shows at the end, where nothing more is under way.
#[track_caller]
pub(crate) fn expect_connections(server: &Server, count: usize) {
    eventually(&format!("{count} connections"), || {
        (server.connections() >= count).then_some(())
    });
    assert_eq!(server.connections(), count);
}

pub(crate) fn released(tenant: &str, verdict: &str) -> String {
    format!("outbound_held_connects_total{{tenant={tenant:?},verdict={verdict:?}}}")
}
