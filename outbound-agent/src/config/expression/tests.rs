use std::fmt::Write as _;

use super::*;
use crate::model::expression::{Fact, Failure};

#[track_caller]
fn wrong(text: &str) -> String {
    match compile(text) {
        Ok(when) => panic!("{text:?} is taken: {when:?}"),
        Err(why) => why,
    }
}

/// What is taken, and the facts that it asks about.
const TAKEN: &[(&str, &[Fact])] = &[
    ("true", &[]),
    ("host == 'api.test'", &[Fact::Host]),
    (
        "host.endsWith('.' + tenant + '.test')",
        &[Fact::Host, Fact::Tenant],
    ),
    (
        "port in [443, 8443] && scheme == \"https\"",
        &[Fact::Port, Fact::Scheme],
    ),
    ("method in ['GET', 'HEAD']", &[Fact::Method]),
    (
        "!(path.startsWith('/a') || path.matches(r'^/v\\d+/'))",
        &[Fact::Path],
    ),
    (
        "'x-id' in headers && size(headers['x-id']) == 1",
        &[Fact::Headers],
    ),
    (
        "has(headers.accept) && headers.accept[0] == 'a'",
        &[Fact::Headers],
    ),
    ("query['q'].exists(v, v.contains('x'))", &[Fact::Query]),
    (
        "headers.all(name, !name.startsWith('x-'))",
        &[Fact::Headers],
    ),
    (
        "['a', 'b'].exists_one(p, path.lowerAscii().contains(p))",
        &[Fact::Path],
    ),
    ("query.q.all(a, query.r.exists(b, a == b))", &[Fact::Query]),
    ("params.plan == 'pro' && params.seats >= 5", &[Fact::Params]),
    ("params.a.b[0]['c'].size() > 1.5", &[Fact::Params]),
    ("params.on", &[Fact::Params]),
    (
        "params.on ? params.x == null : dispatch_namespace != ''",
        &[Fact::Params, Fact::Namespace],
    ),
    ("'admin' in params.roles", &[Fact::Params]),
    ("cidr('10.0.0.0/8').containsIP(address)", &[Fact::Address]),
    (
        "cidr('::1').containsIP(address) || executable == 'curl'",
        &[Fact::Address, Fact::Executable],
    ),
    ("(port > 1024 ? 'a' : 'b') == 'a' // why", &[Fact::Port]),
    ("port == -0x1F || port < -1 || 1e-3 < 2.5", &[Fact::Port]),
    (
        "host == '\\x41\\u00e9\\101\\n\\''\n  && true",
        &[Fact::Host],
    ),
];

#[test]
fn what_a_rule_needs_is_taken() {
    for (text, facts) in TAKEN {
        let when = compile(text).unwrap_or_else(|why| panic!("{text:?}: {why}"));
        assert_eq!(&*when.facts, *facts, "{text}");
        assert_eq!(when.to_string(), *text);
    }
    let when = compile("host == '\\x41\\u00e9\\101\\n\\''").unwrap();
    let root = format!("{:?}", when.root);
    assert!(root.contains(r#""AéA\n'""#), "{root}");
}

/// What is refused, and what is said of it.
const REFUSED: &[(&str, &str)] = &[
    ("", "at character 1: it ends where a value is expected"),
    (
        "hots == 'a'",
        "at character 1: `hots` is not known; did you mean `host`?",
    ),
    (
        "namespace == 'a'",
        "`namespace` is a reserved word of CEL; did you mean `dispatch_namespace`?",
    ),
    (
        "query.a.exists(for, true)",
        "`for` is a reserved word of CEL",
    ),
    ("zzz", "there is host, port, scheme, method, path"),
    (
        "host == 'a' and true",
        "at character 13: `and` stands where an operator",
    ),
    (
        "host = 'a'",
        "at character 6: '=' is not part of any expression",
    ),
    ("host == 'a", "at character 9: this text has no end"),
    ("host == 'a\n'", "a text ends in the line it begins in"),
    ("host == '\\q'", "is no escape of CEL"),
    ("host == b'a'", "octets are not accepted"),
    ("port == 443u", "443u is no number"),
    ("port == 99999999999999999999", "is no number"),
    ("1e999 > 1.0", "is no number"),
    (
        "host",
        "the whole expression has to be true or false, and is a text",
    ),
    (
        "size(host)",
        "the whole expression has to be true or false, and is a number",
    ),
    (
        "host && true",
        "what stands beside `&&` has to be true or false, and is a text",
    ),
    (
        "!port",
        "what stands behind `!` has to be true or false, and is a number",
    ),
    (
        "host == 443",
        "`==` compares two texts or two numbers, not a text and a number",
    ),
    ("port == '443'", "not a number and a text"),
    ("headers == 'a'", "not a table of lists of texts and a text"),
    ("headers['x'] == 'a'", "not a list of texts and a text"),
    ("true < false", "`<` compares two texts or two numbers"),
    (
        "host in 'abc'",
        "`in` asks whether a list has a value or a table a key",
    ),
    (
        "port in headers",
        "not a number in a table of lists of texts",
    ),
    ("port in ['a']", "not a number in a list of texts"),
    (
        "host + 1 == 'a'",
        "what is put together has to be a text, and is a number",
    ),
    (
        "port - 1 == 442",
        "`-` is not accepted; of the arithmetic only `+` is, for texts",
    ),
    ("port * 2 == 4", "`*` is not accepted"),
    ("port == -host", "`host` stands where a number is expected"),
    ("{'a': 1} == 1", "tables are not accepted; write a list"),
    (
        "host in [host]",
        "a list has texts or whole numbers in it, as they are",
    ),
    (
        "host in ['a', 1]",
        "a list has texts or numbers in it, not both",
    ),
    ("[].exists(v, true)", "a list without members"),
    ("host.x == 'a'", "a text has no members with names"),
    ("host['x'] == 'a'", "a text has no members"),
    (
        "headers[1] == 'a'",
        "the index has to be a text, and is a number",
    ),
    (
        "headers.a['x'] == 'a'",
        "the index has to be a number, and is a text",
    ),
    (
        "params[true] == 'a'",
        "an index has to be a text or a number",
    ),
    ("has(host)", "`has` is for what has a name in something"),
    ("has(host.x)", "a text has no members with names"),
    ("size(port) == 1", "a number has no size"),
    (
        "host.startWith('a')",
        "no function is called `startWith`; did you mean `startsWith`?",
    ),
    (
        "now() < 1",
        "no function is called `now`; there is startsWith",
    ),
    ("startsWith(host, 'a')", "`startsWith` is not called so"),
    (
        "host.startsWith(1)",
        "what `startsWith` asks for has to be a text, and is a number",
    ),
    (
        "port.startsWith('a')",
        "what `startsWith` is asked of has to be a text",
    ),
    (
        "host.matches(tenant)",
        "a regular expression is written as a text",
    ),
    (
        "host.matches('(')",
        "at character 14: \"(\" is no regular expression that is taken",
    ),
    (
        "host.matches('(a{1,200}){1,200}')",
        "is no regular expression that is taken",
    ),
    (
        "host.exists(c, true)",
        "`exists` goes through a list or the keys of a table, not a text",
    ),
    ("query.a.exists('v', true)", "`exists` takes a name first"),
    (
        "query.a.exists(v, v)",
        "what `exists` asks of each has to be true or false",
    ),
    ("query.a.map(v, v) == 1", "no function is called `map`"),
    (
        "query.a.exists(a, query.b.exists(b, query.c.exists(c, true)))",
        "more than 2 of exists",
    ),
    ("query.a.exists(v, true) && v == 'a'", "`v` is not known"),
    ("address == '1.2.3.4'", "`address` is only for cidr("),
    (
        "cidr('10.0.0.0/33').containsIP(address)",
        "\"10.0.0.0/33\" is not an address or a range",
    ),
    (
        "cidr(host).containsIP(address)",
        "write cidr('192.0.2.0/24').containsIP(address)",
    ),
    (
        "cidr('10.0.0.0/8').containsIP(host)",
        "write cidr('192.0.2.0/24').containsIP(address)",
    ),
    (
        "host == 'a' ? 'x' : 1",
        "both sides of `:` have to be alike, not a text and a number",
    ),
    ("1 < port < 3", "brackets around what is compared first"),
    (
        "host ? true : false",
        "what stands before `?` has to be true or false",
    ),
    ("true ? true", "it ends where `:` is expected"),
    ("(true", "it ends where `)` is expected"),
    (
        "host.startsWith('a' 'b')",
        "a text stands where `,` is expected",
    ),
    ("true)", "`)` stands where an operator"),
    (
        "é == 'a'",
        "at character 1: 'é' is not part of any expression",
    ),
    ("host == 'é' && hots == 'a'", "at character 16: `hots`"),
];

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, said) in REFUSED {
        let why = wrong(text);
        assert!(why.contains(said), "{text:?}: {why}");
    }
}

#[test]
fn what_is_asked_of_the_address_is_little() {
    let mut text = String::from("false");
    for network in 0..5 {
        write!(text, " || cidr('10.{network}.0.0/16').containsIP(address)").unwrap();
    }
    assert!(wrong(&text).contains("more than 4 ranges; `addresses` takes any number"));
    let same = "cidr('10.0.0.0/8').containsIP(address) || ".repeat(9) + "false";
    assert_eq!(compile(&same).unwrap().networks.len(), 1);
}

/// On a stack that is much smaller than any that reads a configuration.
fn on_small_stack(read: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    thread.spawn(read).unwrap().join().unwrap();
}

#[test]
fn no_nesting_reaches_the_end_of_the_stack() {
    on_small_stack(|| {
        for (open, middle, close) in [
            ("(", "true", ")"),
            ("!", "true", ""),
            ("[", "1", "]"),
            ("true ? true : ", "true", ""),
            ("true ? (", "true", ") : true"),
            ("size(", "host", ")"),
            ("query.a.exists(v, ", "true", ")"),
            ("params.a[", "0", "]"),
            ("(", "", ""),
            ("-", "1", ""),
            ("{", "", ""),
        ] {
            for depth in [10, 100, 1000] {
                let text = open.repeat(depth) + middle + &close.repeat(depth);
                let told = compile(&text);
                let is_deep = depth > limits::DEPTH;
                assert!(!is_deep || told.is_err(), "{open} {depth}: {told:?}");
            }
        }
        for depth in [10, 100, 900] {
            let pattern = "(".repeat(depth) + &")".repeat(depth);
            let told = compile(&format!("host.matches('{pattern}')"));
            assert_eq!(told.is_ok(), depth == 10, "{told:?}");
        }
        for chained in ["params", "headers"] {
            for behind in [".a", "[0]", "['a']", ".size()", ".a.b()"] {
                let text = chained.to_owned() + &behind.repeat(200);
                assert!(wrong(&text).contains("at character"), "{behind}");
            }
        }
    });
}

#[test]
fn what_stands_side_by_side_may_be_many() {
    on_small_stack(|| {
        for between in [" && ", " || ", " + "] {
            let text = vec!["true"; 200].join(between);
            let sum = text.replace("true", "'a'") + " == 'a'";
            let text = if between == " + " { sum } else { text };
            assert!(compile(&text).is_ok(), "{between}");
        }
    });
    let long = vec!["true"; 600].join(" && ");
    assert!(wrong(&long).contains("longer than 2048 octets"));
}

const PAGE: &str = include_str!("../../../docs/conditions.md");

#[test]
fn the_page_tells_of_everything_and_its_examples_are_taken() {
    let named = |label: &str| PAGE.contains(&format!("`{label}`"));
    let facts = Fact::ALL.iter().map(|fact| fact.label());
    for label in facts.chain(check::FUNCTIONS) {
        assert!(
            named(label) || PAGE.contains(&format!("`{label}(")),
            "{label}"
        );
    }
    for failure in Failure::ALL {
        assert!(
            PAGE.contains(&format!("| {} |", failure.label())),
            "{failure:?}"
        );
    }
    for (number, of) in [
        (limits::LENGTH, "octets long"),
        (limits::DEPTH, "deep"),
        (limits::MACROS, "macros"),
        (limits::NETWORKS, "ranges of addresses"),
        (limits::STEPS as usize, "steps"),
    ] {
        assert!(PAGE.contains(&format!("{number} {of}")), "{number} {of}");
    }
    let (_, block) = PAGE.split_once("```cel\n").unwrap();
    for line in block.split_once("```").unwrap().0.lines() {
        compile(line).unwrap_or_else(|why| panic!("{line}: {why}"));
    }
}
