use harness::host::{Daemon, Host, Invocation};
use harness::sandbox::eventually;
use serde_json::Value;

use crate::scene::{Prober, host, origin};

/// Connects until the agent listens in the namespace, and asks `api.test` over an address.
const PATIENT: &str = "
import errno, select, socket, sys
def patient(address, **bound):
    while True:
        try:
            return socket.create_connection((address, 80), timeout=15, **bound)
        except OSError as error:
            if error.errno != errno.ENETUNREACH:
                raise
            # The processor is the agent's meanwhile.
            select.select([], [], [], 0.001)
def ask(stream, path='/'):
    stream.sendall(f'GET {path} HTTP/1.1\\r\\nhost: api.test\\r\\nconnection: close\\r\\n\\r\\n'.encode())
    reply = b''
    while chunk := stream.recv(65536):
        reply += chunk
    return reply[9:12].decode()
";

/// A tenant's Python in a namespace that it is put into after it has started, as container
/// runtimes do.
fn contained(host: &Host, tenant: &str, statements: &str) -> Invocation {
    let program = format!("{PATIENT}\n{statements}");
    host.run(tenant, &["unshare", "--net", "python3", "-uc", &program])
}

/// As [`contained`], by `outbound run --netns`.
fn sealed(host: &Host, tenant: &str, statements: &str) -> Invocation {
    let program = format!("{PATIENT}\n{statements}");
    let run = ["run", "--netns", "--tenant", tenant, "--"];
    host.outbound(&[&run[..], &["python3", "-uc", &program]].concat())
}

/// In how many namespaces beside its own the agent listens.
fn served(host: &Host) -> u64 {
    let status: Value = serde_json::from_str(&host.admin("/v1/status").1).unwrap();
    status["namespaces"].as_u64().unwrap()
}

#[test]
fn a_workload_in_a_namespace_of_its_own_is_served_until_it_ends() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let statements = "
for address in ['203.0.113.10', '2001:db8::10', '::ffff:203.0.113.10']:
    stream = patient(address)
    print(stream.getpeername()[0], ask(stream))
print('there', flush=True); sys.stdin.readline()";
    let workload = contained(&host, "acme", statements).start();
    workload.expect("there\n");
    assert_eq!(
        workload.output(),
        "203.0.113.10 200\n2001:db8::10 200\n::ffff:203.0.113.10 200\nthere\n"
    );
    assert_eq!(served(&host), 1);
    host.expect_log(&[
        ("tenant", "acme"),
        ("original_dst", "[2001:db8::10]:80"),
        ("outcome", "completed"),
    ]);
    assert_eq!(workload.end().code, 0);
    eventually("the agent leaves", || (served(&host) == 0).then_some(()));
}

#[test]
fn a_sealed_run_has_nothing_but_lo_and_the_agent_from_its_first_connect() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let statements = "
print([name for _, name in socket.if_nameindex()])
for address in ['203.0.113.10', '2001:db8::10']:
    print(ask(socket.create_connection((address, 80), timeout=15)))
print(len(open('/proc/net/route').readlines()) - 1)
raw = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
try: raw.sendto(b'x', ('203.0.113.10', 443))
except OSError as error: print(errno.errorcode[error.errno])";
    let output = sealed(&host, "acme", statements).output();
    assert_eq!(output, "['lo']\n200\n200\n0\nECONNREFUSED\n");
    eventually("the agent leaves", || (served(&host) == 0).then_some(()));
}

#[test]
fn a_workload_with_addresses_of_its_own_connects_from_them() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let statements = "
import subprocess
for words in ['link add d0 type veth peer name d1', 'address add 10.1.2.3/24 dev d0',
        'address add fd01::3/64 dev d0 nodad', 'link set d1 up', 'link set d0 up',
        'route add default dev d0', '-6 route add default dev d0']:
    subprocess.run(['ip', *words.split()], check=True)
for address, source in [('203.0.113.10', '10.1.2.3'), ('2001:db8::10', 'fd01::3')]:
    for port in [0, 4242]:
        stream = patient(address, source_address=(source, port))
        print(stream.getsockname()[0], ask(stream))";
    let output = contained(&host, "acme", statements).output();
    let each = ["10.1.2.3 200", "10.1.2.3 200", "fd01::3 200", "fd01::3 200"];
    assert_eq!(output.trim(), each.join("\n"));
}

#[test]
fn one_source_port_in_two_namespaces_is_two_tenants() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let statements = "
stream = patient('203.0.113.10', source_address=('127.0.0.1', 9000))
print('connected', flush=True); sys.stdin.readline()
print(ask(stream))";
    let acme = sealed(&host, "acme", statements).start();
    let globex = sealed(&host, "globex", statements).start();
    for workload in [&acme, &globex] {
        workload.expect("connected\n");
    }
    for (workload, status) in [(acme, "200"), (globex, "403")] {
        workload.say("");
        assert_eq!(workload.end().stdout, format!("connected\n{status}\n"));
    }
}

#[test]
fn a_namespace_without_ipv6_is_served_for_ipv6_destinations_too() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let statements = "
open('/proc/sys/net/ipv6/conf/all/disable_ipv6', 'w').write('1')
print(ask(patient('203.0.113.10')), ask(patient('2001:db8::10')))
only = socket.socket(socket.AF_INET6)
only.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
try: only.connect(('2001:db8::10', 80))
except OSError as error: print(errno.errorcode[error.errno])";
    for workload in [
        sealed(&host, "acme", statements),
        contained(&host, "acme", statements),
    ] {
        let output = workload.output();
        let (served, only) = output.trim().split_once('\n').unwrap();
        assert_eq!(served, "200 200");
        assert!(["EADDRNOTAVAIL", "ENETUNREACH"].contains(&only), "{only}");
    }
}

#[test]
fn a_namespace_that_the_workload_sealed_itself_stays_sealed() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let program = "
import errno, socket, sys
for line in sys.stdin:
    try: socket.create_connection(('203.0.113.10', 80)); print('connected')
    except OSError as error: print(errno.errorcode[error.errno], flush=True)";
    let sandboxed = ["unshare", "--user", "--map-root-user", "--net", "sh", "-c"];
    let shell = "ip link set lo up && exec python3 -uc \"$0\"";
    let sealed = host.run("acme", &[&sandboxed[..], &[shell, program]].concat());
    let sealed = sealed.start();
    sealed.say("");
    sealed.expect("ENETUNREACH\n");
    host.expect_log(&[("tenant", "acme"), ("kernel.counter", "no_listener")]);
    // The refusals are looked into one after the other.
    let output = contained(&host, "acme", "print(ask(patient('203.0.113.10')))").output();
    assert_eq!(output, "200\n");
    sealed.say("");
    sealed.expect("ENETUNREACH\nENETUNREACH\n");
}

#[test]
fn a_connect_in_another_namespace_fails_as_its_upstream_does() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let policy = "true_errors = true\nallow = [\"203.0.113.10:*\"]\n";
    host.configure("true", &format!("[policies.true]\n{policy}"));
    host.tenant("held", "true");
    let _agent = host.agent();
    let statements = "
for port in [80, 81]:
    made = socket.socket()
    print(errno.errorcode.get(made.connect_ex(('203.0.113.10', port)), 'ok'))";
    let held = sealed(&host, "held", statements).output();
    assert_eq!(held, "ok\nECONNREFUSED\n");
    // The control: without true errors the agent takes what it is to refuse.
    let taken = sealed(&host, "acme", statements).output();
    assert_eq!(taken, "ok\nok\n");
}

#[test]
fn the_next_agent_serves_the_namespaces_of_the_last() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let prober = Prober::sealed(&host, "acme");
    assert_eq!(prober.ask("/first"), "200");
    agent.kill();
    assert_eq!(prober.ask("/alone"), "ECONNREFUSED");
    let _agent = host.agent();
    assert_eq!(prober.ask("/second"), "200");
    assert_eq!(served(&host), 1);
}

#[test]
fn namespaces_that_come_and_go_leave_nothing_behind() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let come_and_go = |number: usize| {
        let statements = format!(
            "
import ctypes, os
libc = ctypes.CDLL(None)
for number in range({number}):
    child = os.fork()
    if child == 0:
        assert libc.unshare(0x40000000) == 0
        os._exit(ask(patient('203.0.113.10')) != '200')
    assert os.waitpid(child, 0)[1] == 0
print('done')"
        );
        let program = format!("{PATIENT}\n{statements}");
        let output = host.run("acme", &["python3", "-uc", &program]).output();
        assert_eq!(output, "done\n");
        eventually("the agent leaves", || (served(&host) == 0).then_some(()));
    };
    // Until what is kept for the next request, and the threads for what blocks, are there.
    come_and_go(10);
    let before = Held::by(&agent, &host);
    // A thousand, in turns that each end in time.
    for _turn in 0..5 {
        come_and_go(200);
    }
    eventually(&format!("again as {before:?}"), || {
        let now = Held::by(&agent, &host);
        (now.listeners == before.listeners
            && now.descriptors <= before.descriptors
            // The pool for what blocks has some more or fewer; two hundred it has not.
            && now.threads < before.threads + 20)
            .then_some(())
    });
}

/// What an agent holds.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    threads: usize,
    listeners: usize,
}

impl Held {
    fn by(agent: &Daemon, host: &Host) -> Self {
        let count = |name: &str| {
            let directory = format!("/proc/{}/{name}", agent.process().pid());
            std::fs::read_dir(directory).unwrap().count()
        };
        let map = aya::maps::MapData::from_pin(host.pin_dir().join("LISTENERS")).unwrap();
        let map = aya::maps::Map::HashMap(map);
        let map = aya::maps::HashMap::<_, u64, outbound_common::ListenerEntry>::try_from(map);
        Self {
            descriptors: count("fd"),
            threads: count("task"),
            listeners: map.unwrap().keys().count(),
        }
    }
}
