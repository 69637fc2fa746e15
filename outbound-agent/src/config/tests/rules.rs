//! Rules, sets, `extends` and `floor`.

use std::fmt::Write as _;
use std::time::Instant;

use super::*;
use crate::model::rule::Action;
use crate::model::targets::Rule;

fn rule<'a>(config: &'a Config, name: &str) -> &'a Rule {
    let policy = &config.policies[0];
    let mut rules = policy.allow.rules().chain(policy.deny.rules());
    let found = rules.find(|rule| &*rule.label == name);
    found.unwrap_or_else(|| panic!("no rule {name}"))
}

#[test]
fn a_rule_is_taken_with_its_place() {
    let config = config(
        r#"
[[policies.p.rules]]
name = "read-only"
host = ["api.test", "*.api.test"]
port = 8443
methods = ["GET", "HEAD"]
paths = "/repos/**"
query = { debug = false }
action = "allow"
"#,
    );
    let rule = rule(&config, "read-only");
    let clause = rule.clause.as_ref().unwrap();
    assert_eq!(clause.action, Action::Allow);
    assert_eq!(clause.conditions.methods.len(), 2);
    assert_eq!(clause.conditions.query.len(), 1);
    assert_eq!(rule.place.as_ref().unwrap().line, 3);
    assert_eq!(config.policies[0].allow.rules().count(), 2);
}

/// A rule, and what is said of it.
const WRONG: &[(&str, &str)] = &[
    ("host = \"a.test\"", "p.rules[0]: the key `name` is missing"),
    (
        "name = \"x\"\nhost = \"a.test\"",
        "the key `action` is missing",
    ),
    (
        "name = \"x\"\naction = \"allow\"",
        "the key `host` is missing",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"a.test\"\nrate = \"1/s\"",
        "rules[0].rate: is not for a deny",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"a.test\"\nstatus = 404",
        "rules[0].status: is not for an allow",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"a.test:80\"\nport = 80",
        "\"a.test:80\": its port stands in the rule as well",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"a.test\"\nscheme = \"tcp\"",
        "an allow for tcp needs a port",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"tcp://a.test:1\"\nmethods = \"GET\"",
        "is not for tcp",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"a.test\"\nmethods = \"get\"",
        "\"get\" is not accepted; write a method",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"a.test\"\npaths = \"repos\"",
        "\"repos\" is not accepted; write a path",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"a.test\"\npaths = []",
        "is empty, which nothing can meet",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"a.test\"\nmethod = \"GET\"",
        "did you mean `methods`?",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"a.test\"\ncredentials = [\"api\"]",
        "rules[0].credentials[0]: \"api\" is no credential of this policy; it has none",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"a.test\"\nworker = \"none\"",
        "rules[0].worker: is not for a deny",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"a.test\"\nworker = \"egres\"",
        "rules[0].worker: no service is called \"egres\"; there is none yet",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"a.test\"\nwhen = \"hots == 'a'\"",
        "rules[0].when: \"hots == 'a'\": at character 1: `hots` is not known; did you mean `host`?",
    ),
    (
        "name = \"x\"\naction = \"allow\"\nhost = \"tcp://a.test:1\"\nwhen = \"method == 'GET'\"",
        "is not for tcp",
    ),
    (
        "name = \"x\"\naction = \"deny\"\nhost = \"@pypy\"",
        "no set is called \"pypy\"; did you mean \"@pypi\"?",
    ),
];

#[test]
fn what_is_wrong_with_a_rule_is_said_with_its_key() {
    for (rule, problem) in WRONG {
        let problems = problems(&format!("[[policies.p.rules]]\n{rule}"));
        assert!(problems.contains(problem), "{rule}\n{problems}");
    }
    let twice = "[[policies.p.rules]]\nname = \"x\"\naction = \"deny\"\nhost = \"a.test\"\n";
    let problems = problems(&twice.repeat(2));
    assert!(
        problems.contains("\"x\" is already the rule at o.toml:3:8"),
        "{problems}"
    );
}

#[test]
fn a_policy_has_what_it_extends_and_cannot_extend_itself() {
    let config = config(
        "[policies.a]\nextends = [\"b\"]\nallow = [\"a.test\"]\n\
         [policies.b]\nextends = [\"c\"]\ndeny = [\"b.test\"]\n\
         [policies.c]\nmode = \"audit\"\nallow = [\"c.test\"]\n",
    );
    let a = &config.policies[0];
    assert_eq!(a.allow.rules().count(), 2);
    assert_eq!(a.deny.rules().count(), 1);
    assert_eq!(a.mode, Mode::Enforce);

    let circle = "[policies.a]\nextends = [\"b\"]\n[policies.b]\nextends = [\"a\"]\n";
    assert!(problems(circle).contains("\"a\" would extend itself"));
    let nobody = problems("[policies.a]\nextends = [\"x\"]\n");
    assert!(nobody.contains("no policy is called \"x\""), "{nobody}");
}

#[test]
fn there_is_one_floor_below_every_other_policy() {
    let config = config("[policies.a]\n[policies.base]\nfloor = true\ndefault = \"allow\"\n");
    assert_eq!(&*config.policies[0].floor.as_ref().unwrap().name, "base");
    assert!(config.policies[1].floor.is_none());
    let two = problems("[policies.a]\nfloor = true\n[policies.b]\nfloor = true\n");
    assert!(
        two.contains("policies.b.floor: the floor is \"a\" already"),
        "{two}"
    );
}

#[test]
fn a_set_is_read_from_its_file_and_wrong_lines_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hosts.txt");
    fs::write(
        &file,
        "# bad ones\nevil.test   # really\n\n*.evil.test\n192.0.2.0/24\n",
    )
    .unwrap();
    let text = format!("[sets.bad]\nfile = {file:?}\n[policies.p]\ndeny = [\"@bad\"]\n");
    let config = config(&text);
    assert_eq!(config.watched, std::slice::from_ref(&file));
    let deny = &config.policies[0].deny;
    let mut entries = Vec::new();
    for host in ["evil.test", "x.evil.test", "192.0.2.7", "good.test"] {
        deny.covering(&host.parse().unwrap(), |covering| {
            entries.push((host, covering.entry().unwrap().line));
        });
    }
    assert_eq!(
        entries,
        [("evil.test", 2), ("x.evil.test", 4), ("192.0.2.7", 5)]
    );

    fs::write(&file, "a.test\nhttp://b.test\na b\n").unwrap();
    let problems = problems(&text);
    assert!(
        problems.contains("hosts.txt:2:1: sets.bad.file: \"http://b.test\""),
        "{problems}"
    );
    assert!(problems.contains("hosts.txt:3:1"), "{problems}");
    fs::remove_file(&file).unwrap();
    assert!(super::problems(&text).contains("cannot read"));
}

#[test]
fn a_hundred_thousand_hosts_are_found_as_one_is() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hosts.txt");
    let load = |count: usize| {
        let mut hosts = String::new();
        for number in 0..count {
            writeln!(hosts, "host-{number}.example").unwrap();
        }
        fs::write(&file, hosts).unwrap();
        let begun = Instant::now();
        let config = config(&format!(
            "[sets.many]\nfile = {file:?}\n[policies.p]\ndeny = [\"@many\"]\n[policies.q]\ndeny = [\"@many\"]\n"
        ));
        (config, begun.elapsed())
    };
    let (_config, few) = load(10_000);
    let (config, many) = load(100_000);
    // Ten times as many in ten times the time, however busy the machine; a hundred if quadratic.
    assert!(many < few * 50, "{few:?} for a tenth, {many:?} for all");
    for policy in &config.policies {
        let mut found = 0;
        policy
            .deny
            .covering(&"host-99999.example".parse().unwrap(), |covering| {
                assert_eq!(covering.entry().unwrap().line, 100_000);
                found += 1;
            });
        assert_eq!(found, 1);
    }
}

#[test]
fn a_rule_knows_where_it_is_written() {
    let config = config("[policies.p]\nallow = [\n  \"a.test\",\n  \"b.test\"]");
    let names = config.policies[0].allow.names();
    let (_, rules) = names.max_by_key(|(host, _)| host.to_string()).unwrap();
    assert_eq!(rules[0].place.as_ref().unwrap().to_string(), "o.toml:5:3");
    assert_eq!(&*rules[0].label, "allow b.test");
}
