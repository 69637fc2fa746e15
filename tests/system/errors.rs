use harness::host::{Host, ORIGIN_V4};
use harness::sandbox::eventually;

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
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.configure("policies", POLICIES);
    host.configure("limits", "[limits]\nconnect = \"1s\"\n");
    host.configure(
        "resolver",
        &format!("[resolver.hosts]\n\"api.test\" = [{ORIGIN_V4:?}]\n"),
    );
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
    assert_eq!(origin.connections(), 2);
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
        let sample =
            format!("outbound_held_connects_total{{tenant=\"held\",verdict=\"{verdict}\"}}");
        host.expect_metric(&sample, count);
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
    assert_eq!(origin.connections(), 4);
}
