//! What an outbound worker costs: the same agent without one, with a module in a thread and in a
//! process of its own, with the module of the documents, and with `workerd` as a server beside it.
//!
//! `cargo bench -p outbound-tests --bench worker`. Every agent is a process of its own, all at
//! once; rounds are interleaved and their order is turned. Processor time is that of the agent
//! and of what runs the worker, per request; read the ratios. A name as an argument runs that
//! part alone: `cost`, `memory`, `tenants`.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "worker/agent.rs"]
mod agent;
#[path = "worker/cost.rs"]
mod cost;
#[path = "worker/load.rs"]
mod load;
#[path = "worker/memory.rs"]
mod memory;
#[path = "worker/process.rs"]
mod process;
#[path = "worker/workerd.rs"]
mod workerd;

use std::io::Write as _;

use outbound_agent::path::worker::host::child;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        // An agent starts the program that it is part of.
        [child::COMMAND, _service] => return child::main().unwrap(),
        ["agent", config] => return agent::main(config),
        _ => {}
    }
    let wanted = |part: &str| {
        let mut named = words
            .iter()
            .filter(|word| !word.starts_with('-'))
            .peekable();
        named.peek().is_none() || named.any(|word| *word == part)
    };
    process::pin(process::LOAD_CORE);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        if wanted("cost") {
            say(&cost::table().await);
        }
        if wanted("memory") {
            say(&memory::of_bodies().await);
        }
        if wanted("tenants") {
            say(&memory::of_tenants().await);
        }
    });
}

fn say(table: &str) {
    std::io::stdout().write_all(table.as_bytes()).unwrap();
}
