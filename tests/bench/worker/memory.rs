//! Memory: of bodies on their way, and of many tenants.

use std::fmt::Write as _;

use crate::cost::{configuration, request};
use crate::load;
use crate::process::Agent;

const PASS: &str = "export default { fetch(request) { return fetch(request) } }";
const TENANTS: u16 = 10_000;

fn service(hosting: &str) -> String {
    format!(
        "[services.egress]\nmain = \"DIRECTORY/egress.js\"\nhosting = \"{hosting}\"\n\
         limits = {{ cpu = \"5s\" }}\n"
    )
}

/// The most that 1 GiB through the worker, up and down, takes beyond what is taken at rest.
pub(crate) async fn of_bodies() -> String {
    let origin = load::origin().await;
    let host = format!("api.example.com:{}", origin.port());
    let mut table = String::from("1 GiB through a pass-through worker: memory in KiB\n");
    for hosting in ["thread", "process"] {
        let text = configuration(origin, &service(hosting));
        let agent = Agent::start(&text, &[("egress.js", PASS)], None);
        load::ask_at_once(agent.address, &[request(origin)], 4, 50).await;
        let idle: u64 = agent.resident().iter().sum();
        for (name, is_upload) in [("download", false), ("upload", true)] {
            agent.forget_peak();
            load::transfer(agent.address, &host, is_upload).await;
            let peak: u64 = agent.peaks().iter().sum();
            let more = peak.saturating_sub(idle);
            writeln!(
                table,
                "{hosting:<8} {name:<9} idle {idle:>7} peak {peak:>7} more {more:>6} (goal 16384)"
            )
            .unwrap();
        }
    }
    table
}

/// What an isolate for each of many tenants comes to.
pub(crate) async fn of_tenants() -> String {
    let origin = load::origin().await;
    let requests = [request(origin)];
    let mut text = configuration(origin, &service("process"));
    for number in 2..=TENANTS {
        write!(
            text,
            "[[tenants]]\nname = \"t{number}\"\npolicy = \"p\"\ncgroup = \"/t{number}\"\n\
             namespace = \"production\"\noutbound = {{ customer_name = \"t{number}\" }}\n"
        )
        .unwrap();
    }
    let agent = Agent::start(&text, &[("egress.js", PASS)], None);
    let mut table = String::from("an isolate per tenant: resident memory in KiB (agent, worker)\n");
    writeln!(table, "{:>6} tenants {:?}", 0, agent.resident()).unwrap();
    for number in 1..=TENANTS {
        load::ask(
            &mut load::connect(agent.address, number).await,
            &requests,
            1,
        )
        .await;
        if [1, 10, 100, 1_000, 2_000, 5_000, TENANTS].contains(&number) {
            writeln!(table, "{number:>6} tenants {:?}", agent.resident()).unwrap();
        }
    }
    table
}
