use std::collections::BTreeMap;

use super::*;
use crate::model::credential::Kind;
use crate::model::policy::{Fallback, Mode, Tls};

mod credentials;
mod files;
mod worker;
mod rules;
mod documents;

/// Parses a text that stands behind `version = 1`, on line 2 onwards; the variable `TOKEN`
/// is set.
fn read(text: &str) -> Result<Config, Error> {
    let mut problems = Problems::default();
    let text = format!("version = 1\n{text}");
    let table = parse_file(&text, Path::new("o.toml"), true, &mut problems);
    let environment = |name: &str| match name {
        "TOKEN" => Some("t0ken".into()),
        "EMPTY" => Some(OsString::new()),
        "BROKEN" => Some("a\nb".into()),
        _ => None,
    };
    finish(Path::new("test.toml"), &table, environment, problems)
}

#[track_caller]
fn config(text: &str) -> Config {
    read(text).unwrap_or_else(|error| panic!("{error}"))
}

/// What is wrong with a text, a line each.
#[track_caller]
fn problems(text: &str) -> String {
    read(text).map(drop).unwrap_err().to_string()
}

const WHOLE: &str = r#"
[agent]
admin_group = "outbound"
metrics = "[::1]:9000"
watch = ["/tenants.slice"]
port = 0
threads = 2
log_level = "debug"
[access_log]
path = "stdout"
required = true
[resolver]
hosts = { "Api.Test" = ["192.0.2.1", "2001:db8::1"] }
servers = ["192.0.2.53", "[2001:db8::53]:5353"]
[limits]
detect = "50ms"
header_bytes = "16KiB"
[tls]
roots = ["/etc/outbound/partner.pem"]
[policies.standard]
mode = "audit"
tls = "terminate"
passthrough = ["pinned.test"]
default = "allow"
allow = ["api.test", "tcp://db.test:5432"]
deny = ["*.evil.test"]
credentials = ["api"]
[credentials.api]
type = "header"
hosts = ["api.test"]
header = "X-Api-Key"
value = "Bearer {secret}"
secret = "env:TOKEN"
[[tenants]]
name = "acme"
policy = "standard"
cgroup = "/tenants.slice/acme"
[[tenants]]
name = "nested"
policy = "standard"
cgroup = "tenants.slice/acme/nested/"
inbound = true
"#;

#[test]
fn everything_that_is_written_is_taken() {
    let Config {
        agent,
        access_log,
        resolver,
        limits,
        tls,
        services,
        namespaces,
        policies,
        tenants,
        watched,
        ..
    } = config(WHOLE);
    assert!(services.is_empty() && namespaces.is_empty());
    assert_eq!(watched, tls.roots);
    assert_eq!(agent.admin_group.as_deref(), Some("outbound"));
    assert_eq!(agent.metrics.to_string(), "[::1]:9000");
    assert_eq!(agent.watch, [PathBuf::from("tenants.slice")]);
    assert_eq!((agent.port, agent.threads), (0, Some(2)));
    assert_eq!(agent.log_level, LogLevel::Debug);
    assert_eq!(
        (access_log.target, access_log.required),
        (LogTarget::Stdout, true)
    );
    assert_eq!(resolver.hosts[&"api.test".parse().unwrap()].len(), 2);
    assert_eq!(
        resolver.servers,
        [
            "192.0.2.53:53".parse().unwrap(),
            "[2001:db8::53]:5353".parse().unwrap()
        ]
    );
    assert_eq!(limits.detect, Duration::from_millis(50));
    assert_eq!(limits.header_bytes, 16 * 1024);
    assert_eq!(tls.roots, [PathBuf::from("/etc/outbound/partner.pem")]);
    assert_eq!(policies[0].tls, Tls::Terminate);
    assert!(!policies[0].passthrough.is_empty());
    assert_eq!(
        (policies[0].mode, policies[0].default),
        (Mode::Audit, Fallback::Allow)
    );

    let [acme, nested] = &tenants[..] else {
        panic!("{tenants:?}")
    };
    assert_eq!(acme.tenant.id.as_str(), "acme");
    assert_eq!(acme.cgroups.to_string(), "/tenants.slice/acme");
    assert_eq!(nested.cgroups.to_string(), "/tenants.slice/acme/nested");
    assert!(!acme.inbound && nested.inbound);
    assert!(Arc::ptr_eq(&acme.tenant.policy, &policies[0]));
    let credential = &acme.tenant.credentials[0];
    let Kind::Header { field, secret } = &credential.kind else {
        panic!("{credential:?}")
    };
    assert_eq!(field.name, "x-api-key");
    assert_eq!((&*field.wrap.before, &*field.wrap.after), ("Bearer ", ""));
    assert_eq!(&*secret.name, "env:TOKEN");
    assert!(!credential.binding.allow_plaintext);
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = r#"
[agent]
metric = "127.0.0.1:1"
port = 70000
state_dir = "var"
[limit]
[limits]
detect = 50
body_idle = "5 minutes"
drain = "0s"
header_bytes = "64"
headers = 0
[policies.p]
mode = "enforced"
allow = ["ftp://a.test", "a.test", 7]
[[tenants]]
name = "a b"
policy = "q"
"#;
    assert_eq!(
        problems(text),
        r#"o.toml:4:1: agent.metric: unknown key; did you mean `metrics`?
o.toml:5:8: agent.port: 70000 is not accepted; write a port, 1 to 65535, or 0 for any that is free
o.toml:6:13: agent.state_dir: "var" is not accepted; write an absolute path
o.toml:7:2: limit: unknown key; did you mean `limits`?
o.toml:9:10: limits.detect: 50 is not accepted; write a time above zero with its unit, ms, s, m or h, as in "30s"
o.toml:10:13: limits.body_idle: "5 minutes" is not accepted; write a time above zero with its unit, ms, s, m or h, as in "30s"
o.toml:11:9: limits.drain: "0s" is not accepted; write a time above zero with its unit, ms, s, m or h, as in "30s"
o.toml:12:16: limits.header_bytes: "64" is not accepted; write a size above zero with its unit, B, KiB, MiB or GiB, as in "64KiB"
o.toml:13:11: limits.headers: 0 is not accepted; write a whole number from 1 to 16777216
o.toml:15:8: policies.p.mode: "enforced" is not accepted; write "enforce", "audit" or "off"
o.toml:16:10: policies.p.allow[0]: "ftp://a.test": `ftp://` is not a scheme; write http, https or tcp
o.toml:16:36: policies.p.allow[2]: 7 is not accepted; write [scheme://]host[:port], where the host is a name, "*.name", a glob, an address, a range, "@set" or "*"
o.toml:17:1: tenants[0]: the key `cgroup` is missing; write a cgroup below the cgroup root, without `.` and `..`, as in "/tenants.slice/acme" or "/tenants.slice/{tenant}", or with `*` and `?` in its names every one that matches, as in "/pods.slice/{tenant}-*"
o.toml:18:8: tenants[0].name: "a b" is not accepted; write 1 to 63 letters, digits, `.`, `_` or `-`, the first no `.`"#
    );
}

#[test]
fn syntax_errors_are_told_with_their_place() {
    let told = problems("[agent]\nport = = 1\n[limits]\nbody_idle = 5");
    assert!(told.contains("o.toml:3:8: "), "{told}");
    assert!(told.contains("limits.body_idle"), "{told}");
    let told = problems("a = 1\na = 2");
    assert!(told.contains("o.toml:3:1: duplicate key"), "{told}");
}

#[test]
fn the_agents_ports_are_two() {
    for (text, place) in [
        ("port = 15053", "o.toml:3:8: agent.port"),
        ("dns_port = 15001", "o.toml:3:12: agent.dns_port"),
        (
            "port = 7000\ndns_port = 7000",
            "o.toml:4:12: agent.dns_port",
        ),
    ] {
        let told = problems(&format!("[agent]\n{text}"));
        assert!(told.contains(place), "{told}");
        assert!(told.contains("write two ports"), "{told}");
    }
}

#[test]
fn a_reference_to_nothing_is_a_problem() {
    let told = problems(
        "[policies.standard]\ncredentials = [\"api\"]\n[[tenants]]\nname = \"a\"\npolicy = \"standart\"\ncgroup = \"/a\"",
    );
    assert_eq!(
        told,
        "o.toml:3:16: policies.standard.credentials[0]: no credential is called \"api\"; there is none yet\n\
         o.toml:6:10: tenants[0].policy: no policy is called \"standart\"; did you mean \"standard\"?"
    );
}

#[test]
fn what_refers_to_something_broken_is_no_second_problem() {
    let told = problems(
        "[policies.p]\nmode = 1\n[[tenants]]\nname = \"a\"\npolicy = \"p\"\ncgroup = \"/a\"",
    );
    assert_eq!(told.lines().count(), 1, "{told}");
}

#[test]
fn a_tenant_and_a_cgroup_are_written_once() {
    let tenant = |name, cgroup| {
        format!("[[tenants]]\nname = \"{name}\"\npolicy = \"p\"\ncgroup = \"{cgroup}\"\n")
    };
    let told = problems(&format!(
        "[policies.p]\n{}{}{}",
        tenant("a", "/a"),
        tenant("a", "/b"),
        tenant("c", "a/")
    ));
    let told_of_patterns = problems(&format!(
        "[policies.p]\n{}{}",
        tenant("a", "/x/{tenant}-*"),
        tenant("b", "/x/a-*")
    ));
    assert_eq!(
        told_of_patterns,
        "o.toml:10:10: tenants[1].cgroup: cgroup \"/x/a-*\" is already given to a at o.toml:6:10"
    );
    assert_eq!(
        told,
        "o.toml:8:8: tenants[1].name: tenant a is already written at o.toml:4:8\n\
         o.toml:14:10: tenants[2].cgroup: cgroup \"/a\" is already given to a at o.toml:6:10"
    );
}

#[test]
fn a_cgroup_is_below_the_root_and_nowhere_else() {
    for cgroup in ["/", "", "/..", "/a/../b", "/a/./b", "//a", "/a//b", "."] {
        let told = problems(&format!(
            "[policies.p]\n[[tenants]]\nname = \"a\"\npolicy = \"p\"\ncgroup = \"{cgroup}\""
        ));
        assert!(told.contains("tenants[0].cgroup"), "{cgroup}: {told}");
    }
}
