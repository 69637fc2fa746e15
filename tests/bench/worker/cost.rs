//! Processor time per request, and what a worker adds to the wait of a single connection.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use crate::load;
use crate::process::Agent;
use crate::workerd;

const ROUNDS: usize = 9;
const CONNECTIONS: u32 = 32;
const REQUESTS: u32 = 125;
const SINGLE_REQUESTS: u32 = 600;

const PASS: &str = "export default { fetch(request) { return fetch(request) } }";
/// Its response goes through the module, if unread: it may be looked at.
const ASYNC: &str = "export default { async fetch(request) { return fetch(request) } }";
const IDENTITY: &str = "export default { async fetch(request) {
    const response = await fetch(request);
    return new Response(response.body.pipeThrough(new TransformStream()), response);
} }";
const BYTES: &str = "export default { async fetch(request) {
    const response = await fetch(request);
    const same = { transform(chunk, controller) { controller.enqueue(chunk) } };
    return new Response(response.body.pipeThrough(new TransformStream(same)), response);
} }";
/// Of the same shape as that of the documents: a log behind the response, a signed token.
const EXAMPLE: &str = include_str!("../../../outbound-agent/docs/examples/worker.js");

/// What is compared with what.
struct Variant {
    name: &'static str,
    goal: Option<f64>,
    /// How many requests leave the agent for each of the tenant's.
    sends: u8,
    is_beside: bool,
    agent: Agent,
    /// What a tenant sends, one after the other.
    requests: Vec<String>,
    cpu: Vec<f64>,
    median_wait: Vec<f64>,
}

/// Measures every variant, interleaved.
pub(crate) async fn table() -> String {
    let origin = load::origin().await;
    let logs = load::origin().await;
    let mut variants = variants(origin, logs).await;
    for variant in &variants {
        load::ask_at_once(variant.agent.address, &variant.requests, CONNECTIONS, 20).await;
    }
    for round in 0..ROUNDS {
        let count = variants.len();
        for turn in 0..count {
            let place = if round % 2 == 0 {
                turn
            } else {
                count - 1 - turn
            };
            let variant = &mut variants[(place + round / 2) % count];
            variant.measure().await;
        }
    }
    write(&variants)
}

impl Variant {
    fn new(name: &'static str, agent: Agent, origin: SocketAddr) -> Self {
        Self {
            name,
            goal: None,
            sends: 1,
            is_beside: false,
            agent,
            requests: vec![request(origin)],
            cpu: Vec::new(),
            median_wait: Vec::new(),
        }
    }

    fn with_goal(self, goal: f64) -> Self {
        let goal = Some(goal);
        Self { goal, ..self }
    }

    fn sending_two(self) -> Self {
        Self { sends: 2, ..self }
    }

    fn beside(self) -> Self {
        Self {
            is_beside: true,
            ..self
        }
    }

    async fn measure(&mut self) {
        let before = self.agent.cpu();
        load::ask_at_once(self.agent.address, &self.requests, CONNECTIONS, REQUESTS).await;
        let used = self.agent.cpu() - before;
        self.cpu
            .push(micros(used) / f64::from(CONNECTIONS * REQUESTS));
        let mut connection = load::connect(self.agent.address, 1).await;
        let took = load::ask(&mut connection, &self.requests, SINGLE_REQUESTS).await;
        self.median_wait.push(median(took.into_iter().map(micros)));
    }
}

async fn variants(origin: SocketAddr, logs: SocketAddr) -> Vec<Variant> {
    let (host, log) = (origin, logs.port());
    let module = |source: &str, hosting: &str| {
        let service = format!(
            "[services.egress]\nmain = \"DIRECTORY/egress.js\"\nhosting = \"{hosting}\"\n\
             network = [\"private:127.0.0.0/8\"]\n\
             vars = {{ LOG_URL = \"http://127.0.0.1:{log}/\" }}\n\
             secrets = {{ SIGNING_KEY = \"file:DIRECTORY/key\" }}\n\
             limits = {{ cpu = \"5s\" }}\n"
        );
        let files = [
            ("egress.js", source),
            ("key", "k123456789012345678901234567890123"),
        ];
        Agent::start(&configuration(host, &service), &files, None)
    };
    let none = || Agent::start(&configuration(host, ""), &[], None);
    let variant = |name, agent| Variant::new(name, agent, origin);
    let mut both = variant("no worker, both requests", none()).sending_two();
    both.requests.push(log_request(origin));
    let mut variants = vec![
        variant("no worker", none()),
        both,
        variant("pass-through, thread", module(PASS, "thread")).with_goal(1.35),
        variant("pass-through, process", module(PASS, "process")).with_goal(1.6),
        variant("as an async function, thread", module(ASYNC, "thread")),
        variant("as an async function, process", module(ASYNC, "process")),
        variant("documents' example, thread", module(EXAMPLE, "thread"))
            .sending_two()
            .with_goal(2.0),
        variant("documents' example, process", module(EXAMPLE, "process"))
            .sending_two()
            .with_goal(2.0),
        variant("identity stream, process", module(IDENTITY, "process")),
        variant("byte transform, process", module(BYTES, "process")),
    ];
    let key = "between us";
    let beside = async |module: &str| {
        let log = format!("http://127.0.0.1:{log}/");
        let (server, address) = workerd::start(module, key, &log).await;
        let service = format!(
            "[services.egress]\nurl = \"http://{address}\"\n\
             signing_key = \"file:DIRECTORY/key\"\nnetwork = [\"private:127.0.0.0/8\"]\n"
        );
        let files = [("key", key)];
        Agent::start(&configuration(host, &service), &files, Some(server))
    };
    let passing = beside(workerd::PASS).await;
    variants.push(variant("pass-through, workerd", passing).beside());
    let example = beside(workerd::EXAMPLE).await;
    let example = variant("documents' example, workerd", example);
    variants.push(example.sending_two().beside());
    variants
}

/// One tenant, `acme`, whose namespace has the service, if there is one.
pub(crate) fn configuration(origin: SocketAddr, service: &str) -> String {
    let (namespace, member) = match service {
        "" => (String::new(), ""),
        service => (
            format!(
                "[[dispatch_namespaces]]\nbinding = \"dispatcher\"\nnamespace = \"production\"\n\
                 outbound = {{ service = \"egress\", parameters = [\"customer_name\", \"url\"] }}\n{service}"
            ),
            "namespace = \"production\"\noutbound = { customer_name = \"Acme\" }\n",
        ),
    };
    format!(
        "# {}\nversion = 1\n[agent]\nport = 0\ndns_port = 0\nstate_dir = \"DIRECTORY/state\"\n\
         [resolver]\nhosts = {{ \"api.example.com\" = [\"127.0.0.1\"] }}\n{namespace}\
         [policies.p]\nallow = [\"api.example.com:*\", \"127.0.0.0/8:*\"]\n\
         [[tenants]]\nname = \"acme\"\npolicy = \"p\"\ncgroup = \"/acme\"\n{member}",
        origin.port()
    )
}

pub(crate) fn request(origin: SocketAddr) -> String {
    format!(
        "GET /v1/things?page=2 HTTP/1.1\r\nhost: api.example.com:{}\r\n\
         user-agent: bench/1.0\r\naccept: */*\r\naccept-encoding: gzip\r\n\r\n",
        origin.port()
    )
}

/// What the documents' example sends to its log.
fn log_request(origin: SocketAddr) -> String {
    let body =
        r#"{"customer_name":"Acme","original_url":"http://api.example.com/v1/things?page=2"}"#;
    format!(
        "POST / HTTP/1.1\r\nhost: api.example.com:{}\r\ncontent-type: text/plain;charset=UTF-8\r\n\
         content-length: {}\r\n\r\n{body}",
        origin.port(),
        body.len()
    )
}

/// `of both` compares with a tenant that sends itself what the worker sends: the request, and one
/// to a log. `workerd` is how many times more a worker of the same shape takes there.
fn write(variants: &[Variant]) -> String {
    let mut table = String::from(
        "                               cpu us/request   ratio    goal  of both  workerd   p50 us (one connection)   added\n",
    );
    let of = |values: &[f64]| median(values.iter().copied());
    let cpu = |is_it: &dyn Fn(&Variant) -> bool| {
        let found = variants.iter().find(|variant| is_it(variant));
        of(&found.expect("every variant is there").cpu)
    };
    let (none, both) = (cpu(&|it| it.sends == 1), cpu(&|it| it.sends == 2));
    let workerd = |sends| cpu(&|it| it.is_beside && it.sends == sends);
    let wait = of(&variants[0].median_wait);
    for variant in variants {
        let (used, waited) = (of(&variant.cpu), of(&variant.median_wait));
        let goal = variant.goal.map(|goal| format!("{goal:.2}"));
        let of_both = (variant.sends == 2).then(|| format!("{:.2}", used / both));
        writeln!(
            table,
            "{:<30} {used:>14.1} {:>7.2} {:>7} {:>8} {:>8.2} {waited:>25.1} {:>7.1}",
            variant.name,
            used / none,
            goal.unwrap_or_default(),
            of_both.unwrap_or_default(),
            workerd(variant.sends) / used,
            waited - wait
        )
        .unwrap();
    }
    table
}

fn micros(time: Duration) -> f64 {
    1e6 * time.as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
