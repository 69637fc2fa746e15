//! Expressions mean what they mean in CEL: what the crate `cel` says of them, ours says too.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use cel::{Context, Env, Value};
use fastrand::Rng;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use outbound_agent::config;
use outbound_agent::model::reason::Reason;
use outbound_agent::model::target::Scheme;
use outbound_agent::path::policy::{self, Facts, Readings, Request, Verdict};

const HEADERS: [(&str, &str); 4] = [
    ("accept", "b"),
    ("accept", "ab"),
    ("x-id", "7"),
    ("x-a", ""),
];
const QUERY: &str = "a=ab&b=&a=b";
const PARAMETERS: &str = "{ plan = \"ab\", seats = 7, half = 0.5, on = true, list = [\"a\", \"ab\"], \
                          mixed = [1, \"a\", true], object = { a = \"b\" } }";

/// What becomes of an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Yes,
    No,
    Failed,
}

/// What a rule with these expressions says, one after the other.
fn ours(expressions: &[String]) -> Vec<Told> {
    let mut text = String::from(
        "version = 1\n[[dispatch_namespaces]]\nbinding = \"d\"\nnamespace = \"production\"\n\
         outbound = { service = \"egress\", parameters = [\"plan\", \"seats\", \"half\", \"on\", \
         \"list\", \"mixed\", \"object\"] }\n[services.egress]\nmain = \"egress.js\"\n",
    );
    for (number, expression) in expressions.iter().enumerate() {
        text.push_str(&format!(
            "[[policies.p{number}.rules]]\nname = \"asked\"\naction = \"allow\"\nhost = \"*\"\n\
             when = {expression:?}\n[[tenants]]\nname = \"acme{number}\"\npolicy = \"p{number}\"\n\
             cgroup = \"/{number}\"\nnamespace = \"production\"\noutbound = {PARAMETERS}\n"
        ));
    }
    let config = config::parse(&text, Path::new("test.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    let mut headers = HeaderMap::new();
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        headers.append(name, HeaderValue::from_static(value));
    }
    let path = Readings::of("/ab");
    let judge = |spec: &config::TenantSpec| {
        let facts = Facts {
            tenant: Some(&spec.tenant),
            executable: "curl",
            scheme: Scheme::Https,
            host: &"ab.test".parse().unwrap(),
            port: 443,
            request: Some(Request {
                method: &Method::GET,
                path: &path,
                query: Some(QUERY),
                headers: &headers,
            }),
            is_foreseen: false,
        };
        match policy::decide(&spec.tenant.policy, &facts) {
            Verdict::Allow(_) => Told::Yes,
            Verdict::Deny(denial) if denial.reason == Reason::ConditionFailed => Told::Failed,
            Verdict::Deny(_) => Told::No,
        }
    };
    config.tenants.iter().map(judge).collect()
}

/// What another implementation says.
struct Theirs {
    env: Arc<Env>,
    parameters: serde_json::Value,
}

impl Theirs {
    fn new() -> Self {
        let parameters = serde_json::json!({ "plan": "ab", "seats": 7, "half": 0.5, "on": true,
            "list": ["a", "ab"], "mixed": [1, "a", true], "object": { "a": "b" } });
        Self {
            env: Arc::new(Env::stdlib()),
            parameters,
        }
    }

    fn tell(&self, expression: &str) -> Told {
        let program = self.env.compile(expression);
        let program = program.unwrap_or_else(|errors| panic!("{expression}: {errors}"));
        let mut context = Context::with_env(Arc::clone(&self.env));
        for (name, value) in [
            ("host", "ab.test"),
            ("scheme", "https"),
            ("method", "GET"),
            ("path", "/ab"),
            ("dispatch_namespace", "production"),
            ("executable", "curl"),
        ] {
            context.add_variable(name, value).unwrap();
        }
        let several = |pairs: &[(&'static str, &'static str)]| {
            let mut table = BTreeMap::<&str, Vec<&str>>::new();
            for (key, value) in pairs {
                table.entry(key).or_default().push(value);
            }
            table
        };
        context.add_variable("port", 443_i64).unwrap();
        context.add_variable("headers", several(&HEADERS)).unwrap();
        let query = [("a", "ab"), ("b", ""), ("a", "b")];
        context.add_variable("query", several(&query)).unwrap();
        context.add_variable("params", &self.parameters).unwrap();
        match program.execute(&context) {
            Ok(Value::Bool(true)) => Told::Yes,
            Ok(Value::Bool(false)) => Told::No,
            Ok(_) | Err(_) => Told::Failed,
        }
    }
}

/// Makes expressions of every form that is taken.
struct Maker {
    rng: Rng,
    variables: Vec<&'static str>,
}

impl Maker {
    fn one_of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.rng.usize(..all.len())]
    }

    fn condition(&mut self, depth: usize) -> String {
        let next = depth.saturating_sub(1);
        if depth == 0 {
            return self
                .one_of(&[
                    "true",
                    "false",
                    "port == 443",
                    "params.on",
                    "'x-id' in headers",
                ])
                .to_owned();
        }
        match self.rng.u32(..14) {
            0 => format!("({} && {})", self.condition(next), self.condition(next)),
            1 => format!("({} || {})", self.condition(next), self.condition(next)),
            2 => format!("!({})", self.condition(next)),
            3 => {
                let (one, two) = (self.condition(next), self.condition(next));
                format!("({one} ? {two} : {})", self.condition(next))
            }
            4 => {
                let sign = self.one_of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {sign} {}", self.text(next), self.text(next))
            }
            5 => {
                let sign = self.one_of(&["==", "!=", "<", "<=", ">", ">="]);
                format!("{} {sign} {}", self.number(next), self.number(next))
            }
            6 | 7 => self.test(next),
            8 => format!("{} in {}", self.text(next), self.list(next)),
            9 => {
                let key = self.one_of(&["accept", "x-id", "a", "b", "none"]);
                let table = self.one_of(&["headers", "query", "params", "params.object"]);
                format!("'{key}' in {table}")
            }
            10 => {
                let of = self.one_of(&[
                    "headers.accept",
                    "headers.none",
                    "query.a",
                    "query.c",
                    "params.plan",
                    "params.x",
                    "params.object.a",
                    "params.object.b",
                    "params.none.a",
                ]);
                format!("has({of})")
            }
            11 if self.variables.len() < 2 => self.each(next),
            12 => {
                let sign = self.one_of(&["==", "!=", "<", ">"]);
                format!("{} {sign} {}", self.parameter(), self.parameter())
            }
            _ => format!("{} in [443, 80, -7, 7]", self.number(next)),
        }
    }

    fn test(&mut self, next: usize) -> String {
        if self.rng.bool() {
            let test = self.one_of(&["startsWith", "endsWith", "contains"]);
            format!("({}).{test}({})", self.text(next), self.text(next))
        } else {
            let pattern = self.one_of(&["^a", "b$", "a|7", "[0-9]+", "^$", "(?i)AB", "a{2}"]);
            format!("({}).matches('{pattern}')", self.text(next))
        }
    }

    fn each(&mut self, depth: usize) -> String {
        let list = match self.rng.u32(..4) {
            0 => self.one_of(&["headers", "query"]).to_owned(),
            _ => self.list(depth),
        };
        let quantifier = self.one_of(&["exists", "all", "exists_one"]);
        let name = ["v", "w"][self.variables.len()];
        self.variables.push(name);
        let of_each = self.condition(depth);
        self.variables.pop();
        format!("{list}.{quantifier}({name}, {of_each})")
    }

    fn text(&mut self, depth: usize) -> String {
        if depth > 0 {
            match self.rng.u32(..6) {
                0 => return format!("('' + {} + {})", self.text(depth - 1), self.text(depth - 1)),
                1 => {
                    let place = self.one_of(&["0", "1", "2", "-1"]);
                    return format!("{}[{place}]", self.list(depth - 1));
                }
                2 => {
                    let condition = self.condition(depth - 1);
                    return format!(
                        "({condition} ? {} : {})",
                        self.text(depth - 1),
                        self.text(depth - 1)
                    );
                }
                _ => {}
            }
        }
        let mut known = vec![
            "host",
            "scheme",
            "method",
            "path",
            "dispatch_namespace",
            "executable",
            "''",
            "'a'",
            "'b'",
            "\"ab\"",
            "r'7'",
            "'\\x61'",
            "params.plan",
            "params.seats",
            "params.none",
        ];
        known.extend(&self.variables);
        known.extend(&self.variables);
        self.one_of(&known).to_owned()
    }

    fn number(&mut self, depth: usize) -> String {
        match self.rng.u32(..7) {
            0 => format!("size({})", self.text(depth.saturating_sub(1))),
            1 => format!("{}.size()", self.list(depth.saturating_sub(1))),
            2 => self
                .one_of(&["params.seats", "params.half", "params.plan", "params.none"])
                .to_owned(),
            _ => self
                .one_of(&[
                    "port", "0", "1", "7", "443", "-1", "0x1BB", "7.0", "0.5", "1e2",
                ])
                .to_owned(),
        }
    }

    fn list(&mut self, depth: usize) -> String {
        let _deeper = depth;
        self.one_of(&[
            "headers.accept",
            "headers['x-id']",
            "headers['none']",
            "headers['x-a']",
            "query.a",
            "query['b']",
            "query.c",
            "['a', 'ab']",
            "['b']",
            "params.list",
            "params.mixed",
            "params.none",
        ])
        .to_owned()
    }

    fn parameter(&mut self) -> &'static str {
        self.one_of(&[
            "params.plan",
            "params.seats",
            "params.half",
            "params.on",
            "params.list",
            "params.object",
            "params.object.a",
            "params.mixed[1]",
            "params.mixed[9]",
            "params.list['a']",
            "params.plan.x",
        ])
    }
}

#[test]
fn every_expression_means_what_it_means_to_another_implementation() {
    let mut maker = Maker {
        rng: Rng::with_seed(7),
        variables: Vec::new(),
    };
    let mut expressions: Vec<String> = (0..1500).map(|_| maker.condition(4)).collect();
    expressions.retain(|expression| expression.len() < 1500);
    let theirs = Theirs::new();
    let mut counts = BTreeMap::new();
    for (expression, ours) in expressions.iter().zip(ours(&expressions)) {
        let theirs = theirs.tell(expression);
        assert_eq!(ours, theirs, "{expression}");
        *counts.entry(format!("{ours:?}")).or_insert(0) += 1;
    }
    // Of each there is enough to tell them apart.
    assert!(counts.values().all(|count| *count > 100), "{counts:?}");
}
