//! The steps: each says what happens, makes it happen, and fails where it did not.

use std::fs;

use anyhow::Result;
use serde_json::Value;

use super::cast::{self, Agent, Resident};
use super::evidence::Lines;
use super::plain;
use super::scene::{ORIGIN_V4, ORIGIN_V6, Scene};
use super::telling::{Show, curl, expect, indented, python, said, text};
use crate::say::{self, Paint, paint};

/// Sets the scene and goes through the steps.
pub(super) fn run(scene: &Scene, is_fast: bool) -> Result<()> {
    scene.enter()?;
    let _origins = cast::start_origins(scene)?;
    let agent = Agent::start(scene)?;
    let mut show = Show {
        scene,
        origin: Lines::new(scene.directory.join("origin.jsonl")),
        log: Lines::new(scene.directory.join("access.jsonl")),
        step: 0,
        is_fast,
    };
    say::line("");
    say::heading(
        "The agent runs; three tenants, acme, globex and initech, live in cgroups of their own. Nothing they\n    start knows of a proxy. The network is a namespace with nothing but scripted origins.",
    );
    let told = show.steps(agent);
    if told.is_err() {
        say::line(paint(Paint::Dim, "the last the agent said:"));
        say::line(indented(&scene.tail("agent.log"), "  "));
    }
    told
}

impl Show<'_> {
    fn steps(&mut self, agent: Agent) -> Result<()> {
        self.request_is_logged()?;
        self.request_is_blocked()?;
        let _agent = self.no_agent_no_egress(agent)?;
        self.credential_is_added()?;
        self.tls_is_seen_by_name()?;
        self.ipv6_is_no_way_around()?;
        self.each_tenant_has_its_policy()?;
        self.worker_is_in_the_path()?;
        self.figures()?;
        say::line("");
        say::line(paint(
            Paint::Green,
            "That was Outbound. Everything it set up is being taken away again.",
        ));
        Ok(())
    }

    fn request_is_logged(&mut self) -> Result<()> {
        self.title(
            "A request, logged",
            "acme calls an API that its policy allows, with a plain curl.",
        );
        let answer = self.tenant("acme", &curl("http://api.example.test/v1/hello", ORIGIN_V4))?;
        let seen = self.seen(&[])?;
        let logged = self.logged()?;
        expect(
            "the tenant has its answer",
            answer.contains("Hello from api.example.test"),
        )?;
        expect(
            "the origin has the request",
            seen.says(&[("method", "GET"), ("path", "/v1/hello")]),
        )?;
        expect(
            "the log has both, with tenant and program",
            logged.says(&[
                ("kind", "http"),
                ("tenant", "acme"),
                ("server.address", "api.example.test"),
                ("verdict", "allow"),
                ("http.response.status_code", "200"),
            ]) && logged.get("process.executable.name").contains("curl"),
        )
    }

    fn request_is_blocked(&mut self) -> Result<()> {
        self.title(
            "A request, blocked",
            "No rule of acme's policy names this host.",
        );
        let answer = self.tenant(
            "acme",
            &curl("http://tracker.example.test/pixel", ORIGIN_V4),
        )?;
        let logged = self.logged()?;
        let reply: Value = serde_json::from_str(&answer)?;
        expect(
            "the tenant is told what was refused and why",
            reply["reason"] == "no_rule" && reply["host"] == "tracker.example.test",
        )?;
        expect("nothing reached the origin", self.origin.is_silent())?;
        expect(
            "the log has the denial",
            logged.says(&[
                ("tenant", "acme"),
                ("verdict", "deny"),
                ("http.response.status_code", "403"),
            ]),
        )
    }

    fn no_agent_no_egress(&mut self, agent: Agent) -> Result<Agent> {
        self.title(
            "No agent, no egress",
            "A program of acme keeps running while the agent is killed with SIGKILL and started again.",
        );
        let mut resident = Resident::start(self.scene, "acme", &python(RESIDENT))?;
        let mut tries = |who: &str| -> Result<String> {
            let answer = resident.tries()?;
            said(who, &answer);
            Ok(answer)
        };
        let before = tries("acme, agent alive ")?;
        agent.kill()?;
        self.origin.next()?;
        let without = tries("acme, agent killed")?;
        let is_silent = self.origin.is_silent();
        let outside = text(
            &plain("curl")
                .args(&curl("http://api.example.test/v1/outside", ORIGIN_V4)[1..])
                .output()?,
        );
        said("no tenant at all  ", outside.trim());
        self.origin.skip();
        let agent = Agent::start(self.scene)?;
        let after = tries("acme, agent back  ")?;
        self.origin.skip();
        self.log.skip();
        expect(
            "with the agent the request gets through",
            before.starts_with("200"),
        )?;
        expect(
            "without it the connection is refused, and nothing gets out",
            without.contains("refused") && is_silent,
        )?;
        expect(
            "who is no tenant notices nothing",
            outside.contains("Hello"),
        )?;
        expect(
            "with the agent back the same process gets through again",
            after.starts_with("200"),
        )?;
        Ok(agent)
    }

    fn credential_is_added(&mut self) -> Result<()> {
        self.title(
            "A credential that its tenant never saw",
            "acme's Python asks its billing API, without a key. The agent holds the key and adds it.",
        );
        let secret = fs::read_to_string(self.scene.secret())?;
        let secret = secret.trim();
        let answer = self.tenant("acme", &python(BILLING))?;
        let seen = self.seen(&["authorization"])?;
        let logged = self.logged()?;
        expect(
            "the origin got the key",
            seen.header("authorization") == format!("Bearer {secret}"),
        )?;
        expect(
            "the tenant did not",
            answer.contains("Hello") && !answer.contains(secret),
        )?;
        expect(
            "the log names the credential and does not show it",
            logged.says(&[("credential", "billing-key")]) && !self.log.text().contains(secret),
        )
    }

    fn tls_is_seen_by_name(&mut self) -> Result<()> {
        self.title(
            "HTTPS, seen by name",
            "The TLS is the tenant's own, end to end; the agent reads the name in its ClientHello.",
        );
        let certificate = self.scene.certificate();
        let certificate = certificate.to_string_lossy();
        let mut command = curl("https://api.example.test/v1/private", ORIGIN_V4);
        command.extend(["--cacert", &certificate].map(str::to_owned));
        let answer = self.tenant("acme", &command)?;
        let seen = self.seen(&[])?;
        let logged = self.logged()?;
        expect(
            "the tenant verified the origin's own certificate",
            answer.contains("Hello"),
        )?;
        expect(
            "the origin saw the tenant's TLS",
            seen.says(&[("server_name", "api.example.test")]),
        )?;
        expect(
            "the log has the name",
            logged.says(&[
                ("kind", "tls"),
                ("server.address", "api.example.test"),
                ("verdict", "allow"),
            ]),
        )?;
        let mut command = curl("https://tracker.example.test/pixel", ORIGIN_V4);
        command.extend(["--cacert", &certificate].map(str::to_owned));
        let answer = self.tenant("acme", &command)?;
        let logged = self.logged()?;
        expect("a name without a rule gets a reset, the origin nothing", {
            answer.starts_with("curl: (35)") && self.origin.is_silent()
        })?;
        expect(
            "and the log has it",
            logged.says(&[
                ("server.address", "tracker.example.test"),
                ("verdict", "deny"),
            ]),
        )
    }

    fn ipv6_is_no_way_around(&mut self) -> Result<()> {
        self.title("IPv6, the same", "One request by IPv6 allowed, one denied.");
        let answer = self.tenant("acme", &curl("http://v6.example.test/v1/hello", ORIGIN_V6))?;
        let seen = self.seen(&[])?;
        let logged = self.logged()?;
        expect(
            "the tenant has its answer",
            answer.contains("Hello from v6.example.test"),
        )?;
        expect(
            "the origin was asked by IPv6",
            seen.says(&[("address", "[2001:db8::10]:80")]),
        )?;
        expect(
            "the log has the destination that was asked for",
            logged.says(&[("original_dst", "[2001:db8::10]:80"), ("verdict", "allow")]),
        )?;
        let answer = self.tenant(
            "acme",
            &curl("http://tracker.example.test/pixel", ORIGIN_V6),
        )?;
        let logged = self.logged()?;
        expect("the other is told why not", {
            answer.contains("no_rule") && self.origin.is_silent()
        })?;
        expect(
            "and the log has it",
            logged.says(&[("original_dst", "[2001:db8::10]:80"), ("verdict", "deny")]),
        )
    }

    fn each_tenant_has_its_policy(&mut self) -> Result<()> {
        self.title(
            "Another tenant, another policy",
            "globex may ask the billing API and nothing else.",
        );
        let answer = self.tenant(
            "globex",
            &curl("http://api.example.test/v1/hello", ORIGIN_V4),
        )?;
        let logged = self.logged()?;
        expect("what acme may, globex may not", {
            answer.contains("no_rule") && logged.says(&[("tenant", "globex"), ("verdict", "deny")])
        })?;
        let answer = self.tenant(
            "globex",
            &curl("http://billing.example.test/v1/invoices", ORIGIN_V4),
        )?;
        let seen = self.seen(&[])?;
        let logged = self.logged()?;
        expect("what it may it gets", {
            answer.contains("Hello") && logged.says(&[("tenant", "globex"), ("verdict", "allow")])
        })?;
        expect(
            "without acme's credential",
            seen.header("authorization").is_empty(),
        )
    }

    fn worker_is_in_the_path(&mut self) -> Result<()> {
        self.title(
            "The operator's own code in the path",
            "Every request of initech passes a JavaScript module, with the parameter of its dispatch.",
        );
        let command = curl("http://api.example.test/v1/hello", ORIGIN_V4);
        let answer = self.dispatched("initech", "customer_name=Initech", &command)?;
        // The worker tells of the request beside it; which of them comes first is chance.
        let (one, other) = (self.origin.next()?, self.origin.next()?);
        let (told, seen) = match one.says(&[("method", "POST")]) {
            true => (one, other),
            false => (other, one),
        };
        said("logs saw", &told.get("body"));
        said("origin saw", &seen.as_seen(&["authorization"]));
        let logged = self.logged()?;
        expect("the tenant has its answer", {
            answer.contains("Hello from api.example.test")
        })?;
        expect(
            "the module told the operator's log, for whom and what",
            told.says(&[("path", "/requests")])
                && told.get("body").contains("\"customer_name\":\"Initech\"")
                && told
                    .get("body")
                    .contains("http://api.example.test/v1/hello"),
        )?;
        let token = seen.header("authorization");
        let claims = text(&plain("python3").args(["-c", CLAIMS, &token]).output()?);
        said("the token", claims.trim());
        expect(
            "the API got a token for that customer, signed by the agent",
            claims.contains("Initech"),
        )?;
        expect(
            "the log has the worker's part",
            logged.says(&[("tenant", "initech"), ("worker.outcome", "responded")])
                && !logged.get("dispatch.id").is_empty(),
        )?;
        let answer = self.tenant("initech", &command)?;
        self.log.skip();
        expect("without a dispatch nothing leaves", {
            answer.contains("not_dispatched") && self.origin.is_silent()
        })
    }

    fn figures(&mut self) -> Result<()> {
        self.title(
            "The figures",
            "What Prometheus reads, since the agent came back.",
        );
        let (_status, body) = cast::get("/metrics")?;
        let series: Vec<&str> = body.lines().filter(|line| is_shown(line)).collect();
        for line in &series {
            let (name, value) = line.rsplit_once(' ').unwrap_or((line, ""));
            say::line(format_args!(
                "  {} {name}",
                paint(Paint::Cyan, format_args!("{value:>6}"))
            ));
        }
        let counts = |name: &str, tenant: &str| {
            series.iter().any(|line| {
                line.starts_with(name)
                    && line.contains(&format!("tenant=\"{tenant}\""))
                    && !line.ends_with(" 0")
            })
        };
        expect("both tenants' exchanges and denials are counted", {
            ["acme", "globex"].into_iter().all(|tenant| {
                counts("outbound_exchanges_total", tenant)
                    && counts("outbound_denials_total", tenant)
            })
        })
    }
}

/// Asks once per line that it is given.
const RESIDENT: &str = r"
import http.client, sys
for _line in sys.stdin:
    try:
        api = http.client.HTTPConnection('203.0.113.10', 80, timeout=10)
        api.request('GET', '/v1/again', headers={'Host': 'api.example.test'})
        answer = api.getresponse()
        print(answer.status, answer.read().decode().strip(), flush=True)
    except OSError as error:
        print(error, flush=True)
";

const BILLING: &str = r"
import http.client
billing = http.client.HTTPConnection('203.0.113.10', 80, timeout=10)
billing.request('GET', '/v1/invoices', headers={'Host': 'billing.example.test'})
print(billing.getresponse().read().decode())
";

/// The claims of a token.
const CLAIMS: &str = r"
import base64, sys
claims = sys.argv[1].split('.')[1]
print(base64.urlsafe_b64decode(claims + '=' * (-len(claims) % 4)).decode())
";

/// The series worth a look: what went through, what did not, how much.
fn is_shown(line: &str) -> bool {
    [
        "outbound_connections_opened_total",
        "outbound_exchanges_total",
        "outbound_denials_total",
        "outbound_bytes_total",
    ]
    .into_iter()
    .any(|name| line.starts_with(name))
        && !line.ends_with(" 0")
}
