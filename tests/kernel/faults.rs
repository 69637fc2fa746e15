//! Everything goes wrong at once, for some seconds: no packet gets out, nobody becomes another.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use harness::chance::{Chance, setting};
use harness::sandbox::{PATIENCE, Process};
use outbound_common::names::map;
use outbound_common::{Addr16, Flow, FlowKey};

use crate::stage::{Stage, Tenant};

/// How long faults are made; a scheduled run sets `OUTBOUND_STRESS_SECONDS` higher.
const SECONDS: u64 = 8;
const SEED: u64 = 0x0b5e_55ed;
const TENANTS: u32 = 4;

/// Whose a destination is: each tenant connects to a network of its own.
const fn network(number: u32) -> [u8; 3] {
    [198, 51, 100 + number as u8]
}

/// Connects, sends, asks for names and dies of nothing, until it is told to end. That a socket is
/// refused is what some faults come to.
fn load(stage: &Stage, tenant: &Tenant, number: u32) -> Process {
    let [a, b, c] = network(number);
    let program = format!(
        "import itertools\n\
         def stream(address, port, family=AF_INET):\n    \
         s = tcp(family); s.settimeout(0.2); s.connect((address, port)); s.send(b'x')\n\
         def datagram(address, port):\n    \
         udp().sendto(b'q', (address, port))\n\
         for n in itertools.count():\n    \
         if select.select([0], [], [], 0)[0]: break\n    \
         address = '{a}.{b}.{c}.%d' % (1 + n % 250)\n    \
         attempt(stream, address, 1 + n % 60000)\n    \
         attempt(stream, '::ffff:' + address, 443, AF_INET6)\n    \
         attempt(datagram, address, 53)\n    \
         attempt(datagram, address, 443)\n\
         print('ended')"
    );
    stage.workload(&tenant.cgroup).start_python(&program)
}

#[test]
fn whatever_fails_under_load_nothing_gets_out_and_nobody_becomes_another() {
    let Some(stage) = Stage::with_uplink() else {
        return;
    };
    let seed = setting("OUTBOUND_STRESS_SEED", SEED);
    let seconds = setting("OUTBOUND_STRESS_SECONDS", SECONDS);
    println!("OUTBOUND_STRESS_SEED={seed} OUTBOUND_STRESS_SECONDS={seconds}");
    let mut witness = stage.sandbox.sniff();
    let mut storm = Storm::new(stage);
    let (mut carried, mut faults) = (0, HashSet::new());
    let mut faults_to_come = 0..4;
    let end = Instant::now() + Duration::from_secs(seconds);
    // A busy machine makes few faults in a time.
    while Instant::now() < end || faults.len() < 4 || carried < 50 {
        assert!(Instant::now() < end + PATIENCE * 6, "{carried} {faults:?}");
        carried += identities(&storm.stage, &storm.tenants);
        // Each once, and then as it comes.
        let fault = faults_to_come.next();
        let fault = fault.unwrap_or_else(|| storm.chance.of(12));
        faults.insert(fault.min(4));
        storm.strike(fault);
        storm.expect_load();
        assert_eq!(witness.packets(), Vec::<String>::new(), "seed {seed}");
    }
    let Storm { stage, tenants, .. } = storm;
    for (_tenant, load) in &tenants {
        load.go_on();
    }
    while tenants.iter().any(|(_tenant, load)| !load.has_ended()) {
        carried += identities(&stage, &tenants);
    }
    for (_tenant, load) in tenants {
        assert_eq!(load.output(), "ended", "seed {seed}");
    }
    println!(
        "{carried} connections carried, {} kinds of faults",
        faults.len()
    );
    assert_eq!(witness.packets(), Vec::<String>::new(), "seed {seed}");
    stage.redirect().sweep(Duration::ZERO).unwrap();
    assert_eq!(stage.pending(), 0);
}

/// Tenants under load, and what happens to them.
struct Storm {
    stage: Stage,
    tenants: Vec<(Tenant, Process)>,
    flows: HashMap<MapData, FlowKey, Flow>,
    chance: Chance,
    generation: u32,
}

impl Storm {
    fn new(mut stage: Stage) -> Self {
        let data = MapData::from_pin(stage.sandbox.settings().pin_dir.join(map::FLOWS)).unwrap();
        let start = |number| {
            let tenant = stage.tenant(&format!("t{number}"), number);
            let load = load(&stage, &tenant, number);
            (tenant, load)
        };
        Self {
            tenants: (0..TENANTS).map(start).collect(),
            stage,
            flows: HashMap::try_from(Map::HashMap(data)).unwrap(),
            chance: Chance::seeded(SEED),
            generation: 0,
        }
    }

    /// That every load is still at it; else what it says.
    fn expect_load(&mut self) {
        let ended = |(_tenant, load): &(Tenant, Process)| load.has_ended();
        if let Some(at) = self.tenants.iter().position(ended) {
            let (tenant, load) = self.tenants.swap_remove(at);
            panic!("{:?} ended early: {}", tenant.cgroup, load.output());
        }
    }

    fn strike(&mut self, fault: u64) {
        match fault {
            // The agent is killed, and another adopts what is there.
            0 => {
                self.stage.stop_listening();
                self.stage.reload();
                self.stage.start_listening();
            }
            1 => self.fill(),
            2 => self.remove(),
            // A tenant is nobody's for a moment.
            3 => {
                let number = self.anyone();
                let (tenant, _load) = &self.tenants[index_of(&self.tenants, number)];
                let redirect = self.stage.redirect();
                redirect.unassign(tenant.id).unwrap();
                let assigned = redirect.assign(tenant.id, &tenant.cgroup, number, 0);
                assigned.unwrap();
            }
            _ => {}
        }
    }

    /// The map of flows fills with what nobody comes for, and is swept.
    fn fill(&mut self) {
        let key = |n| FlowKey {
            netns: 1,
            source: Addr16([0, 0, 0, n]),
            agent: Addr16::UNSPECIFIED,
            source_port: 1,
            agent_port: 1,
            protocol: 6,
        };
        let stale = Flow::stamp(1, 1, 9, 1);
        let mut numbers = 0..20_000;
        while numbers
            .next()
            .is_some_and(|n| self.flows.insert(key(n), stale, 0).is_ok())
        {}
        self.stage.redirect().sweep(Duration::from_secs(1)).unwrap();
    }

    /// A cgroup goes under its connections, and is made anew.
    fn remove(&mut self) {
        let number = self.anyone();
        self.generation += 1;
        let (gone, _load) = self.tenants.swap_remove(index_of(&self.tenants, number));
        self.stage.sandbox.kill(&gone.cgroup);
        std::fs::remove_dir(&gone.cgroup).unwrap();
        self.stage.redirect().unassign(gone.id).unwrap();
        let name = format!("t{number}-{}", self.generation);
        let tenant = self.stage.tenant(&name, number);
        let load = load(&self.stage, &tenant, number);
        self.tenants.push((tenant, load));
    }

    fn anyone(&mut self) -> u32 {
        self.chance.of(u64::from(TENANTS)) as u32
    }
}

/// The tenant of a network, by its slot's number in the cgroup's name.
fn index_of(tenants: &[(Tenant, Process)], number: u32) -> usize {
    let is_meant = |(tenant, _load): &(Tenant, Process)| number_of(tenant) == number;
    tenants.iter().position(is_meant).expect("a tenant")
}

fn number_of(tenant: &Tenant) -> u32 {
    let name = tenant.cgroup.file_name().and_then(|name| name.to_str());
    let name = name
        .and_then(|name| name.strip_prefix('t'))
        .expect("a name");
    let number = name.split('-').next().unwrap_or_default();
    number.parse().expect("a number")
}

/// Takes what was accepted meanwhile: whoever is known went where that tenant goes. A connection
/// without a flow is nobody's, which is how the agent treats it.
fn identities(stage: &Stage, tenants: &[(Tenant, Process)]) -> usize {
    let mut count = 0;
    while let Some(accepted) = stage.try_accept() {
        let Some(flow) = accepted.flow else { continue };
        let IpAddr::V4(destination) = flow.original_dst.0.ip().to_canonical() else {
            panic!("{flow:?}");
        };
        let known = tenants
            .iter()
            .find(|(tenant, _)| tenant.id == flow.tenant_cgroup);
        // Else one whose cgroup has gone, of which this may be the last.
        if let Some((tenant, _load)) = known {
            let [a, b, c] = network(number_of(tenant));
            let [x, y, z, _] = Ipv4Addr::octets(&destination);
            assert_eq!([a, b, c], [x, y, z], "{flow:?}");
        }
        count += 1;
    }
    count
}
