use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use harness::sandbox::{Process, Sandbox};
use outbound_agent::config::{self, TenantSpec};
use outbound_agent::model::tenant::Tenants;
use outbound_agent::redirect::Redirect;
use outbound_agent::tenants::{Assignments, Error, Named};
use tempfile::TempDir;

/// A sandbox whose kernel side keeps assignments, as the agent's.
struct Enrolment {
    assignments: Assignments,
    state: TempDir,
    sandbox: Sandbox,
}

impl Enrolment {
    /// For these tenants, whose cgroups lie below `tenants`.
    fn of(tenants: &[String]) -> Option<Self> {
        let sandbox = Sandbox::new()?;
        let state = tempfile::tempdir().unwrap();
        let assignments = assignments(&sandbox, tenants, state.path());
        Some(Self {
            assignments,
            state,
            sandbox,
        })
    }

    fn assign(&mut self, cgroup: &Path, tenant: &str) -> Result<usize, Error> {
        let named = Named::Cgroup(cgroup.to_owned());
        let place = self.assignments.find(&named)?;
        Ok(self.assignments.assign(place, tenant)?.cut.ended)
    }
}

fn assignments(sandbox: &Sandbox, tenants: &[String], state: &Path) -> Assignments {
    let mut redirect = Redirect::open(&sandbox.settings()).expect("the kernel side loads");
    redirect.guard_agent().expect("the agent's side attaches");
    let root = sandbox.settings().cgroup_root;
    let specs = specs(sandbox, tenants);
    let snapshot = Arc::new(ArcSwap::from_pointee(Tenants::default()));
    Assignments::new(redirect, root, specs, snapshot, state).expect("assignments")
}

fn specs(sandbox: &Sandbox, tenants: &[String]) -> Vec<TenantSpec> {
    let below = sandbox.name();
    let tenants = tenants.iter().map(|name| {
        format!(
            "[[tenants]]\nname = {name:?}\npolicy = \"p\"\ncgroup = \"/{below}/tenants/{name}\"\n"
        )
    });
    let text = format!("version = 1\n[policies.p]\n{}", tenants.collect::<String>());
    let config = config::parse(&text, Path::new("test.toml"));
    config.unwrap_or_else(|error| panic!("{error}")).tenants
}

/// Connected sockets of four kinds, and one that listens; says what becomes of each.
const SOCKETS: &str = "
pairs = []
for family, address in [(AF_INET, '127.0.0.1'), (AF_INET6, '::1')]:
    there = socket(family, SOCK_STREAM); there.bind((address, 0)); there.listen()
    here = socket(family, SOCK_STREAM); here.connect(there.getsockname())
    gone, _ = there.accept(); there.close()
    pairs.append((here, gone))
there = udp(); there.bind(('127.0.0.1', 0))
here = udp(); here.connect(there.getsockname())
server = tcp(); server.bind(('127.0.0.1', 0)); server.listen(); server.settimeout(1)
print('made', flush=True); wait()
for one, other in pairs:
    print(attempt(one.send, b'x'), attempt(other.send, b'x'))
print(attempt(here.send, b'x'))
try: server.accept()
except OSError as error: print(errno.errorcode.get(error.errno, 'waits'))";

fn started(sandbox: &Sandbox, cgroup: &Path, program: &str) -> Process {
    let process = sandbox.workload(cgroup).start_python(program);
    harness::sandbox::eventually("the workload has its sockets", || {
        let open = fs::read_dir(format!("/proc/{}/fd", process.pid())).ok()?;
        (open.count() >= 3 + 7).then_some(())
    });
    process
}

#[test]
fn what_was_connected_before_is_cut_and_the_neighbours_is_not() {
    let Some(mut enrolment) = Enrolment::of(&["acme".to_owned()]) else {
        return;
    };
    let late = enrolment.sandbox.cgroup("late");
    let below = enrolment.sandbox.cgroup("late/below");
    let free = enrolment.sandbox.cgroup("free");
    let inside = started(&enrolment.sandbox, &below, SOCKETS);
    let bystander = started(&enrolment.sandbox, &free, SOCKETS);
    // Two connections of two ends each, two datagram sockets, a listener.
    let cut = enrolment.assign(&late, "acme").expect("an assignment");
    assert_eq!(cut, 7);
    inside.go_on();
    let cut = "ECONNABORTED ECONNABORTED";
    assert_eq!(
        inside.output(),
        format!("made\n{cut}\n{cut}\nEDESTADDRREQ\nEINVAL")
    );
    bystander.go_on();
    assert_eq!(bystander.output(), "made\nok ok\nok ok\nok\nwaits");
}

#[test]
fn a_socket_from_elsewhere_in_a_tenants_hands_is_cut() {
    let Some(mut enrolment) = Enrolment::of(&["acme".to_owned()]) else {
        return;
    };
    let late = enrolment.sandbox.cgroup("late");
    let free = enrolment.sandbox.cgroup("free");
    let join = format!(
        "open('{}/cgroup.procs', 'w').write(str(os.getpid()))\n",
        late.display()
    );
    let program = SOCKETS.replace("print('made'", &format!("{join}print('made'"));
    let workload = started(&enrolment.sandbox, &free, &program);
    harness::sandbox::eventually("it has joined", || {
        let procs = fs::read_to_string(late.join("cgroup.procs")).ok()?;
        procs.contains(&workload.pid().to_string()).then_some(())
    });
    // Outside of the fence the end of one end of a connection is the other's.
    assert_eq!(enrolment.assign(&late, "acme").expect("an assignment"), 5);
    workload.go_on();
    let output = workload.output();
    assert!(!output.contains("ok"), "{output}");
}

#[test]
fn what_an_operator_assigned_is_there_again_after_a_restart() {
    let tenants = ["acme".to_owned()];
    let Some(mut enrolment) = Enrolment::of(&tenants) else {
        return;
    };
    let late = enrolment.sandbox.cgroup("late");
    let brief = enrolment.sandbox.cgroup("brief");
    for cgroup in [&late, &brief] {
        enrolment.assign(cgroup, "acme").expect("an assignment");
    }
    let Enrolment {
        assignments: first,
        state,
        sandbox,
    } = enrolment;
    drop(first);
    fs::remove_dir(&brief).unwrap();
    fs::create_dir(&brief).unwrap();
    let mut second = assignments(&sandbox, &tenants, state.path());
    second.apply().expect("the tenants");
    let homes = second.homes().borrow().clone();
    let mut homes: Vec<PathBuf> = homes.values().map(|home| home.to_path_buf()).collect();
    homes.sort();
    // Another cgroup of the same name is not meant.
    assert_eq!(homes, [late.clone(), sandbox.cgroup("tenants/acme")]);
    let place = second.find(&Named::Cgroup(late)).unwrap();
    second.unassign(place).expect("it is taken back");
    assert_eq!(second.homes().borrow().len(), 1);
    let kernel = second.redirect().assigned().expect("the kernel's");
    assert_eq!(kernel.len(), 1);
    drop(second);
    drop(sandbox);
}

#[test]
fn a_cgroup_has_one_tenant_and_the_agent_none() {
    let tenants = ["acme".to_owned(), "globex".to_owned()];
    let Some(mut enrolment) = Enrolment::of(&tenants) else {
        return;
    };
    enrolment.assignments.apply().expect("the tenants");
    let late = enrolment.sandbox.cgroup("late");
    enrolment.assign(&late, "acme").expect("an assignment");
    enrolment.assign(&late, "acme").expect("the same again");
    let taken = enrolment.assign(&late, "globex").unwrap_err();
    assert!(matches!(taken, Error::Taken { .. }), "{taken}");
    let own = Named::Process(std::process::id());
    let own = enrolment.assignments.find(&own).expect("our own cgroup");
    let refused = enrolment.assignments.assign(own, "acme").unwrap_err();
    assert!(matches!(refused, Error::OwnCgroup { .. }), "{refused}");
    assert_eq!(
        enrolment.assignments.redirect().assigned().unwrap().len(),
        3
    );
    // Nothing was attached on the way.
    assert!(TcpStream::connect(server().local_addr().unwrap()).is_ok());
}

fn server() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// How long it takes to assign so many tenants below one watched parent.
fn assigned_below_one_parent(number: usize) -> Option<Duration> {
    let tenants: Vec<String> = (0..number).map(|number| format!("t{number}")).collect();
    let mut enrolment = Enrolment::of(&tenants)?;
    let parent = format!("/{}/tenants", enrolment.sandbox.name());
    enrolment
        .assignments
        .watch(Path::new(&parent))
        .expect("the parent is fenced");
    let started = Instant::now();
    enrolment.assignments.apply().expect("the tenants");
    let took = started.elapsed();
    let started = Instant::now();
    enrolment.assignments.apply().expect("the tenants again");
    println!(
        "{number} tenants below one parent: {took:?}, seen to be true in {:?}; {}",
        started.elapsed(),
        memory(&enrolment.sandbox.settings().pin_dir)
    );
    let assigned = enrolment.assignments.redirect().assigned().unwrap();
    assert_eq!(assigned.len(), number);
    Some(took)
}

#[test]
fn ten_thousand_tenants_below_one_parent_cost_ten_times_a_thousand() {
    let Some(thousand) = assigned_below_one_parent(1000) else {
        return;
    };
    let ten_thousand = assigned_below_one_parent(10_000).expect("privileged as before");
    assert!(
        ten_thousand < thousand * 30,
        "{ten_thousand:?} against {thousand:?}"
    );
}

#[test]
fn two_hundred_cgroups_are_assigned_one_by_one() {
    let Some(mut enrolment) = Enrolment::of(&["acme".to_owned()]) else {
        return;
    };
    let cgroups: Vec<PathBuf> = (0..200)
        .map(|number| enrolment.sandbox.cgroup(&format!("single/{number}")))
        .collect();
    let pin_dir = enrolment.sandbox.settings().pin_dir;
    let started = Instant::now();
    for cgroup in &cgroups {
        enrolment.assign(cgroup, "acme").expect("an assignment");
    }
    println!(
        "200 cgroups one by one: {:?}; {}",
        started.elapsed(),
        memory(&pin_dir)
    );
    let links = || fs::read_dir(&pin_dir).unwrap().flatten();
    let groups = || links().filter(|entry| entry.path().is_dir()).count();
    // The agent's and the sentinel's beside them.
    assert_eq!(groups(), 202);
    for cgroup in &cgroups {
        fs::remove_dir(cgroup).unwrap();
    }
    enrolment.assignments.apply().expect("the tenants");
    // What has gone leaves no link behind, and acme's own has come.
    assert_eq!(groups(), 3);
}

/// What maps and programs hold, as the kernel says.
fn memory(pin_dir: &Path) -> String {
    use std::os::fd::AsRawFd as _;

    let mut maps = 0;
    for entry in fs::read_dir(pin_dir).unwrap().flatten() {
        if entry.path().is_dir() {
            continue;
        }
        let map = outbound_agent::sys::bpf::get(&entry.path()).expect("a pinned map");
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", map.as_raw_fd()));
        let told = told.expect("what the kernel says of it");
        let line = told.lines().find_map(|line| line.strip_prefix("memlock:"));
        maps += line.map_or(0, |line| line.trim().parse::<u64>().expect("a number"));
    }
    format!("maps hold {} KiB", maps / 1024)
}
