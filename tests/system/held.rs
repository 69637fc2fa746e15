use harness::host::Running;
use harness::sandbox::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::errors::{expect_connections, host, released};

#[test]
fn what_was_dialled_for_a_connect_is_what_carries_it() {
    let Some(host) = host() else { return };
    let origin = host.server("203.0.113.10:80");
    let opaque = host.server("203.0.113.10:7");
    let _agent = host.agent();
    for (server, port, says, hears) in [
        (
            &origin,
            80,
            "GET / HTTP/1.1\\r\\nhost: x\\r\\n\\r\\n",
            "403",
        ),
        (
            &origin,
            80,
            "GET / HTTP/1.1\\r\\nhost: 203.0.113.10\\r\\n\\r\\n",
            "200",
        ),
        // Neither HTTP nor TLS: the origin does not know it either, and closes.
        (&opaque, 7, "\\0\\n", ""),
    ] {
        let before = server.connections();
        let program = format!(
            "import socket\n\
             made = socket.create_connection(('203.0.113.10', {port}))\n\
             made.sendall(b'{says}')\n\
             print(made.recv(99)[9:12].decode())\n"
        );
        assert_eq!(
            host.python("held", &program).output(),
            format!("{hears}\n"),
            "{says}"
        );
        expect_connections(server, before + 1);
    }
    host.expect_metric(&released("held", "connected"), 3.0);
}

/// Connects whenever it is told to, from the same port; `two` to two servers at once.
const CONNECTOR: &str = "
import errno, select, socket, sys
def made():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return made
def ask(made, path):
    made.setblocking(True)
    made.settimeout(15)
    made.sendall(f'GET {path} HTTP/1.1\\r\\nhost: {made.getpeername()[0]}\\r\\nconnection: close\\r\\n\\r\\n'.encode())
    reply = b''
    while chunk := made.recv(65536):
        reply += chunk
    return reply.decode().split('\\r\\n\\r\\n')[1].strip()
print('connector is there', flush=True)
for word in map(str.strip, sys.stdin):
    if word == 'two':
        both = [made(), made()]
        for one, address in zip(both, ('203.0.113.10', '203.0.113.11')):
            one.bind(('127.0.0.1', 4242))
            one.setblocking(False)
            one.connect_ex((address, 80))
        print('two are under way', flush=True)
        print(*[ask(one, '/' + word) for one in both if select.select([], [one], [], 15)], flush=True)
    else:
        one = made()
        one.settimeout(float(word))
        try:
            one.connect(('203.0.113.10', 80))
            print('connected', flush=True)
        except OSError as error:
            print(errno.errorcode.get(error.errno, str(error)), flush=True)
";

#[test]
fn without_an_agent_no_connect_succeeds() {
    let Some(host) = host() else { return };
    let origin = host.server("203.0.113.10:80");
    let agent = host.agent();
    let connector = host.python("held", CONNECTOR).start();
    connector.expect("connector is there\n");
    connector.say("15");
    connector.expect("there\nconnected\n");
    // One that does not answer: the packet stays in the queue.
    agent.process().signal(Signal::SIGSTOP);
    connector.say("0.5");
    connector.expect("connected\ntimed out\n");
    agent.process().signal(Signal::SIGCONT);
    connector.say("15");
    connector.expect("timed out\nconnected\n");
    // The rules end with the agent.
    agent.kill();
    let connections = origin.connections();
    connector.say("15");
    connector.expect("connected\nECONNREFUSED\n");
    assert_eq!(origin.connections(), connections);
    let _again = host.agent();
    connector.say("15");
    connector.expect("ECONNREFUSED\nconnected\n");
}

#[test]
fn connects_from_one_port_at_once_keep_their_destinations() {
    let Some(host) = host() else { return };
    host.ip("address add 203.0.113.11/32 dev lo");
    let origins = ["203.0.113.10:80", "203.0.113.11:80"].map(|address| host.server(address));
    let agent = host.agent();
    let connector = host.python("held", CONNECTOR).start();
    connector.expect("connector is there\n");
    agent.process().signal(Signal::SIGSTOP);
    connector.say("two");
    connector.expect("two are under way\n");
    agent.process().signal(Signal::SIGCONT);
    connector.expect("hello from 203.0.113.10/two hello from 203.0.113.11/two\n");
    for origin in &origins {
        expect_connections(origin, 1);
    }
}

#[test]
fn a_tenant_with_too_many_waiting_connects_goes_on_without() {
    let Some(host) = host() else { return };
    host.configure("limits", "[limits]\nconnect = \"10s\"\nheld_connects = 2\n");
    let _agent = host.agent();
    let program = "import errno, select, socket\n\
                   def begun():\n\
                   \x20   made = socket.socket()\n\
                   \x20   made.setblocking(False)\n\
                   \x20   assert made.connect_ex(('198.51.100.9', 80)) == errno.EINPROGRESS\n\
                   \x20   return made\n\
                   all = [begun() for _ in range(5)]\n\
                   ready = lambda: select.select([], all, [], 1)[1]\n\
                   while len(ready()) < 3: pass\n\
                   print([made in ready() for made in all])\n";
    assert_eq!(
        host.python("held", program).output(),
        "[False, False, True, True, True]\n"
    );
    host.expect_metric(&released("held", "over_limit"), 3.0);
}

#[test]
fn a_host_that_cannot_hold_connects_is_told_so_at_the_start() {
    let Some(host) = host() else { return };
    // Another owner of the queue with the number of the agent's port.
    let taken = host.program(
        "python3",
        &[
            "-c",
            "import socket, struct, sys\n\
             made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)\n\
             made.sendto(struct.pack('=IHHIIBBH', 28, 0x302, 5, 0, 0, 0, 0, socket.htons(15001))\n\
             \x20   + struct.pack('=HHBBH', 8, 1, 1, 0, 0), (0, 0))\n\
             print(struct.unpack('=i', made.recv(99)[16:20])[0], flush=True)\n\
             sys.stdin.read()\n",
        ],
    );
    let taken = taken.start();
    taken.expect("0\n");
    let refused = host.start_agent().end();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused
            .stderr
            .contains("`true_errors` needs a netfilter queue"),
        "{refused:?}"
    );
    drop(taken);
    let _agent = host.agent();
    let status = host.outbound(&["status", "--json"]).output();
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let features = status["features"].as_array().expect("features");
    let found = features.iter().find(|one| one["name"] == "true_errors");
    assert_eq!(found.expect("the feature")["present"], true);
}

/// Connects and asks, as often as it is told; says how many microseconds each step took at its
/// median.
const METER: &str = "
import socket, statistics, sys, time
print('meter is there', flush=True)
for word in sys.stdin:
    connects, answers = [], []
    for _ in range(int(word)):
        begun = time.perf_counter()
        with socket.create_connection(('203.0.113.10', 80)) as made:
            connects.append(time.perf_counter() - begun)
            made.sendall(b'GET / HTTP/1.1\\r\\nhost: 203.0.113.10\\r\\nconnection: close\\r\\n\\r\\n')
            made.recv(999)
            answers.append(time.perf_counter() - begun)
    print('median', *(statistics.median(told) * 1e6 for told in (connects, answers)), flush=True)
";

/// Paired and in turns; the ratios are what is printed, and stated in ADR 6. No time is asserted.
#[test]
fn the_price_of_a_true_error_is_measured() {
    const ROUNDS: usize = 9;
    let Some(host) = host() else { return };
    let _origin = host.server("203.0.113.10:80");
    let _agent = host.agent();
    let meters = [
        host.program("python3", &["-S", "-c", METER]).start(),
        host.python("plain", METER).start(),
        host.python("held", METER).start(),
    ];
    for meter in &meters {
        meter.expect("meter is there\n");
    }
    let measured = |meter: &Running| {
        let before = meter.output().len();
        meter.say("60");
        eventually("the meter tells", || {
            let output = meter.output();
            let (told, _end) = output.get(before..)?.split_once('\n')?;
            let mut told = told.split(' ').skip(1).map(|number| number.parse::<f64>());
            Some([told.next()?.ok()?, told.next()?.ok()?])
        })
    };
    // The first round warms up.
    let rounds: Vec<_> = (0..=ROUNDS)
        .map(|_round| meters.each_ref().map(measured))
        .skip(1)
        .collect();
    let median = |of: &dyn Fn(&[[f64; 2]; 3]) -> f64| {
        let mut values: Vec<f64> = rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[ROUNDS / 2]
    };
    for (step, name) in [(0, "connect"), (1, "connect to first answer")] {
        println!(
            "{name}: direct {:.0} us, redirected {:.0} us, held {:.0} us; \
             held / redirected {:.2}, held - redirected {:.0} us",
            median(&|round| round[0][step]),
            median(&|round| round[1][step]),
            median(&|round| round[2][step]),
            median(&|round| round[2][step] / round[1][step]),
            median(&|round| round[2][step] - round[1][step]),
        );
    }
}
