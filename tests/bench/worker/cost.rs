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
    agent: Agent,
    cpu: Vec<f64>,
    median_wait: Vec<f64>,
}

/// Measures every variant, interleaved.
pub(crate) async fn table() -> String {
    let origin = load::origin().await;
    let logs = load::origin().await;
    let mut variants = variants(origin, logs).await;
    let request = request(origin);
    for variant in &variants {
        load::ask_at_once(variant.agent.address, &request, CONNECTIONS, 20).await;
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
            variant.measure(&request).await;
        }
    }
    write(&variants)
}

impl Variant {
    fn new(name: &'static str, goal: Option<f64>, agent: Agent) -> Self {
        Self {
            name,
            goal,
            agent,
            cpu: Vec::new(),
            median_wait: Vec::new(),
        }
    }

    async fn measure(&mut self, request: &str) {
        let before = self.agent.cpu();
        load::ask_at_once(self.agent.address, request, CONNECTIONS, REQUESTS).await;
        let used = self.agent.cpu() - before;
        self.cpu
            .push(micros(used) / f64::from(CONNECTIONS * REQUESTS));
        let mut connection = load::connect(self.agent.address, 1).await;
        let took = load::ask(&mut connection, request, SINGLE_REQUESTS).await;
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
    let mut variants = vec![
        Variant::new(
            "no worker",
            None,
            Agent::start(&configuration(host, ""), &[], None),
        ),
        Variant::new("pass-through, thread", Some(1.35), module(PASS, "thread")),
        Variant::new("pass-through, process", Some(1.6), module(PASS, "process")),
        Variant::new(
            "documents' example, thread",
            Some(2.0),
            module(EXAMPLE, "thread"),
        ),
        Variant::new(
            "documents' example, process",
            Some(2.0),
            module(EXAMPLE, "process"),
        ),
        Variant::new(
            "identity stream, process",
            None,
            module(IDENTITY, "process"),
        ),
        Variant::new("byte transform, process", None, module(BYTES, "process")),
    ];
    let (server, address) = workerd::start().await;
    let service = format!(
        "[services.egress]\nurl = \"http://{address}\"\nsigning_key = \"file:DIRECTORY/key\"\n"
    );
    let files = [("key", "between us")];
    let agent = Agent::start(&configuration(host, &service), &files, Some(server));
    variants.push(Variant::new("workerd, pass-through", None, agent));
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

fn write(variants: &[Variant]) -> String {
    let mut table = String::from(
        "                               cpu us/request    ratio     goal   p50 us (one connection)    added\n",
    );
    let of = |values: &[f64]| median(values.iter().copied());
    let (cpu, wait) = (of(&variants[0].cpu), of(&variants[0].median_wait));
    for variant in variants {
        let goal = variant
            .goal
            .map_or_else(String::new, |goal| format!("{goal:.2}"));
        let (used, waited) = (of(&variant.cpu), of(&variant.median_wait));
        writeln!(
            table,
            "{:<30} {used:>14.1} {:>8.2} {goal:>8} {waited:>25.1} {:>8.1}",
            variant.name,
            used / cpu,
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
