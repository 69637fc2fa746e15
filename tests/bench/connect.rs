//! What a connect costs a process that is no tenant's, without the kernel side and beside it, and
//! what it costs a tenant: `cargo bench --profile dev -p outbound-tests --bench connect`, as root
//! and with nothing of ours attached. Rounds are interleaved and their order is turned; read the
//! ratios.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[expect(
    dead_code,
    reason = "a benchmark needs less of the stage than the tests"
)]
#[path = "../kernel/stage.rs"]
mod stage;

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::thread;

use harness::sandbox::Sandbox;

use crate::stage::Stage;

const ROUNDS: usize = 12;
const CONNECTS: u32 = 2_000;
/// Of a listener that is nobody's concern.
const PORT: u16 = 18_080;

/// What one connect took, in microseconds.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn main() {
    // In a cgroup of its own, as an agent is.
    let own = Sandbox::new().expect("root");
    let enter = |cgroup: &Path| fs::write(cgroup.join("cgroup.procs"), "0").unwrap();
    enter(&own.cgroup("agent"));
    compare();
    enter(&own.settings().cgroup_root);
}

fn compare() {
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                costs[0].push(without());
            } else {
                let [outside, redirected] = beside();
                costs[1].push(outside);
                costs[2].push(redirected);
            }
        }
    }
    let medians = costs.map(|costs| Cost {
        wall: median(costs.iter().map(|cost| cost.wall)),
        cpu: median(costs.iter().map(|cost| cost.cpu)),
    });
    let mut table = String::from("                        wall us    ratio   cpu us    ratio\n");
    let names = [
        "direct, no hooks",
        "outside, hooks there",
        "tenant, redirected",
    ];
    for (name, cost) in names.iter().zip(medians) {
        let (wall, cpu) = (cost.wall / medians[0].wall, cost.cpu / medians[0].cpu);
        writeln!(
            table,
            "{name:<22} {:>8.1} {wall:>8.2} {:>8.1} {cpu:>8.2}",
            cost.wall, cost.cpu
        )
        .unwrap();
    }
    std::io::stdout().write_all(table.as_bytes()).unwrap();
}

/// Nothing of ours is attached anywhere.
fn without() -> Cost {
    let sandbox = Sandbox::new().expect("root");
    serve(&sandbox);
    let cgroup = sandbox.cgroup("outside");
    measure(&sandbox, &cgroup, "127.0.0.1", PORT)
}

/// The kernel side is there, for a tenant: first another process, then the tenant.
fn beside() -> [Cost; 2] {
    let mut stage = Stage::new().expect("root");
    serve(&stage.sandbox);
    let tenant = stage.tenant("tenant", 0);
    let outside = stage.sandbox.cgroup("outside");
    let outside = measure(&stage.sandbox, &outside, "127.0.0.1", PORT);
    let mut accepted = 0;
    let redirected = thread::scope(|scope| {
        let sandbox = &stage.sandbox;
        let measured = scope.spawn(|| measure(sandbox, &tenant.cgroup, "203.0.113.1", 80));
        while !measured.is_finished() {
            accepted += u32::from(stage.try_accept().is_some());
        }
        measured.join().unwrap()
    });
    while accepted < CONNECTS && stage.try_accept().is_some() {
        accepted += 1;
    }
    assert_eq!(accepted, CONNECTS, "the tenant's connects went elsewhere");
    [outside, redirected]
}

/// Takes connections and lets them go.
fn serve(sandbox: &Sandbox) {
    let address = SocketAddr::from(([127, 0, 0, 1], PORT));
    let listener = sandbox
        .netns()
        .enter(|| TcpListener::bind(address))
        .unwrap();
    thread::spawn(move || listener.incoming().for_each(drop));
}

fn measure(sandbox: &Sandbox, cgroup: &Path, address: &str, port: u16) -> Cost {
    let program = format!(
        "import time, struct\n\
         linger = struct.pack('ii', 1, 0)\n\
         wall, cpu = 0, 0\n\
         for _ in range({CONNECTS}):\n    \
         s = tcp()\n    \
         w, c = time.perf_counter(), time.process_time()\n    \
         s.connect(('{address}', {port}))\n    \
         wall += time.perf_counter() - w; cpu += time.process_time() - c\n    \
         s.setsockopt(SOL_SOCKET, SO_LINGER, linger); s.close()\n\
         print(wall * 1e6 / {CONNECTS}, cpu * 1e6 / {CONNECTS})"
    );
    let said = sandbox.workload(cgroup).python(&program);
    let mut numbers = said.split_whitespace().map(|word| word.parse().unwrap());
    let [wall, cpu] = [numbers.next().unwrap(), numbers.next().unwrap()];
    Cost { wall, cpu }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
