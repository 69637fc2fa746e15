//! Agents die at random moments, in their start as well, and cgroups go under their connections:
//! no packet gets out, and nobody becomes another.

use std::collections::HashSet;
use std::thread;
use std::time::{Duration, Instant};

use harness::chance::{Chance, setting};
use harness::host::{Daemon, Host, ORIGIN_V4, Running, Server};
use harness::sandbox::{Sniffer, eventually, remove_cgroup};
use nix::sys::signal::Signal;

use crate::scene::SECRET;

/// How long faults are made; a scheduled run sets `OUTBOUND_STRESS_SECONDS` higher.
const SECONDS: u64 = 8;
const SEED: u64 = 0x0b5e_55ed;
const TENANTS: [&str; 3] = ["red", "green", "blue"];

/// Asks for what it may have, by a path that names the tenant; and tries by TCP and UDP, over
/// both families, what it may not have and would reach by the uplink.
const LOAD: &str = "
import errno, itertools, socket
def told(act, *arguments):
    try: return act(*arguments)
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
def get(address, path, host):
    with socket.create_connection((address, 80), timeout=5) as stream:
        stream.sendall(f'GET {path} HTTP/1.1\\r\\nhost: {host}\\r\\nconnection: close\\r\\n\\r\\n'.encode())
        return stream.recv(65536)[9:12].decode() or 'nothing'
def send(family, address):
    with socket.socket(family, socket.SOCK_DGRAM) as made: made.sendto(b'x', (address, 443))
print('load is there', flush=True)
for n in itertools.count():
    told(send, socket.AF_INET, '192.0.2.7'), told(send, socket.AF_INET6, '2001:db8:7::7')
    told(get, '192.0.2.7', '/', '192.0.2.7'), told(get, '2001:db8:7::7', '/', '[2001:db8:7::7]')
    print(told(get, '203.0.113.10', f'/TENANT/{n}', 'api.test'), flush=True)
";

fn host() -> Option<Host> {
    let host = Host::with_uplink()?;
    host.resolve(&["api.test"]);
    for tenant in TENANTS {
        host.write(tenant, &format!("{SECRET}-{tenant}"));
        let secret = host.path(tenant).display().to_string();
        host.configure(
            tenant,
            &format!(
                "[policies.{tenant}]\nallow = [\"api.test\"]\ncredentials = [{tenant:?}]\n\
                 [credentials.{tenant}]\ntype = \"header\"\nhosts = [\"api.test\"]\n\
                 value = \"Bearer {{secret}}\"\nsecret = \"file:{secret}\"\nallow_plaintext = true\n"
            ),
        );
        host.tenant(tenant, tenant);
    }
    Some(host)
}

struct Storm {
    host: Host,
    origin: Server,
    witness: Sniffer,
    agent: Option<Daemon>,
    loads: Vec<(&'static str, Running)>,
    chance: Chance,
}

impl Storm {
    fn new(host: Host) -> Self {
        let origin = host.server(&format!("{ORIGIN_V4}:80"));
        let agent = Some(host.agent());
        let loads = TENANTS.map(|tenant| (tenant, load(&host, tenant)));
        Self {
            origin,
            witness: host.sniff(),
            agent,
            loads: loads.into(),
            chance: Chance::seeded(SEED),
            host,
        }
    }

    fn strike(&mut self, fault: u64) {
        let agent = self.agent.take().expect("an agent");
        match fault {
            0 => drop(agent.kill()),
            // In its start, wherever that is, once or more often.
            1 => {
                agent.kill();
                for _again in 0..=self.chance.of(2) {
                    let starting = self.host.start_agent().start();
                    self.pause(600);
                    starting.signal(Signal::SIGKILL);
                    starting.end();
                }
            }
            2 => drop(agent.stop()),
            _ => {
                self.remove();
                self.agent = Some(agent);
                return;
            }
        }
        self.pause(200);
        self.agent = Some(self.host.agent());
    }

    /// A tenant's cgroup goes, with connections under way; the agent makes it anew.
    fn remove(&mut self) {
        let at = self.chance.of(TENANTS.len() as u64) as usize;
        let (tenant, load) = &mut self.loads[at];
        remove_cgroup(&self.host.tenant_cgroup(tenant));
        let anew = eventually("the cgroup is a tenant's again", || {
            let told = self.host.run(tenant, &["true"]).end();
            (told.code == 0).then(|| self::load(&self.host, tenant))
        });
        // Dropped, the old one is reaped.
        *load = anew;
    }

    /// Some of so many milliseconds: what a fault meets is to be chance.
    fn pause(&mut self, most: u64) {
        thread::park_timeout(Duration::from_millis(self.chance.of(most)));
    }

    fn expect_nothing_outside(&mut self) {
        assert_eq!(self.witness.packets(), Vec::<String>::new());
    }

    /// That more is carried, for every tenant.
    fn expect_carried(&self) {
        for tenant in TENANTS {
            let asked = |from| {
                let requests = self.origin.requests();
                let of = format!("/{tenant}/");
                requests
                    .iter()
                    .skip(from)
                    .any(|one| one.target.starts_with(&of))
            };
            let before = self.origin.requests().len();
            eventually("requests are carried", || asked(before).then_some(()));
        }
    }
}

fn load(host: &Host, tenant: &str) -> Running {
    let running = host.python(tenant, &LOAD.replace("TENANT", tenant)).start();
    running.expect("load is there\n");
    running
}

#[test]
fn whatever_dies_at_whatever_moment_nothing_gets_out_and_nobody_becomes_another() {
    let Some(host) = host() else { return };
    let seed = setting("OUTBOUND_STRESS_SEED", SEED);
    let end = Instant::now() + Duration::from_secs(setting("OUTBOUND_STRESS_SECONDS", SECONDS));
    let mut storm = Storm::new(host);
    let (mut to_come, mut number) = (0..4, 0);
    let mut faults = HashSet::new();
    while Instant::now() < end || faults.len() < 4 {
        storm.expect_carried();
        // Each once, and then as it comes.
        let fault = to_come.next();
        let fault = fault.unwrap_or_else(|| storm.chance.of(4));
        faults.insert(fault);
        number += 1;
        storm.strike(fault);
        storm.expect_nothing_outside();
    }
    storm.expect_carried();
    storm.expect_nothing_outside();
    let requests = storm.origin.requests();
    println!(
        "seed {seed}: {number} faults, {} requests carried",
        requests.len()
    );
    for request in &requests {
        // The agent alone adds it, and for whom it takes the tenant to be.
        let tenant = request.target.split('/').nth(1).unwrap();
        let expected = format!("Bearer {SECRET}-{tenant}");
        assert_eq!(
            request.header("authorization"),
            Some(&*expected),
            "{request:?}"
        );
    }
    for line in storm.host.log() {
        if let Some(path) = line["url.path"].as_str().filter(|path| *path != "/") {
            let tenant = line["tenant"].as_str().unwrap();
            assert!(path.starts_with(&format!("/{tenant}/")), "{line}");
        }
    }
}
