use harness::host::{Daemon, Host, Site, clients};

/// Raw frames of HTTP/2, as no client should send them.
const ATTACKER: &str = include_str!("abuse.py");

const MIB: u64 = 1 << 20;
/// How much the agent may grow by all of it, whose connections stay open.
const ROOM: u64 = 64 * MIB;

const POLICIES: &str = "
[policies.open]
allow = [\"bulk.test\"]
";

fn scene() -> Option<(Host, Site, Daemon)> {
    let host = Host::new()?;
    host.resolve(&["bulk.test"]);
    host.configure("policies", POLICIES);
    host.tenant("acme", "open");
    host.tenant("globex", "open");
    let site = host.site(&["bulk.test"]);
    let agent = host.agent();
    Some((host, site, agent))
}

/// The other tenant's request, on a connection of its own.
#[track_caller]
fn expect_alive(host: &Host) {
    let words = ["curl", "-sS", "--max-time", "50", "--http2-prior-knowledge"];
    let words = [&words[..], &["http://bulk.test/alive"]].concat();
    let told = host.run("globex", &words).output();
    assert_eq!(told, "hello from bulk.test/alive\n");
}

#[test]
fn abuse_of_http2_costs_the_agent_little_and_other_tenants_nothing() {
    let Some((host, site, agent)) = scene() else {
        return;
    };
    expect_alive(&host);
    let python = clients().join("python/bin/python").display().to_string();
    let attacker = host.run("acme", &[&python, "-u", "-c", ATTACKER]).start();
    agent.forget_peak_memory();
    let before = agent.memory();
    for (attack, ends) in [
        // What cannot be meant well ends the connection (RFC 9113 sections 5.4.1 and 10.5).
        ("continuation_flood", true),
        ("small_continuation_flood", true),
        ("rapid_reset", true),
        ("window_overflow", true),
        ("empty_data_flood", true),
        ("more_than_the_window", true),
        // What costs nothing is borne, or read no further.
        ("settings_flood", false),
        ("ping_flood", false),
        ("priority_flood", false),
        ("priority_of_itself", false),
        ("closed_windows", false),
        ("too_many_streams", false),
        ("header_bomb", false),
    ] {
        attacker.say(attack);
        attacker.expect(&format!("{attack} "));
        expect_alive(&host);
        attacker.expect(" end\n");
        let output = attacker.output();
        let told = output.lines().last().unwrap();
        let is_over = told.contains("goaway") || told.contains("closed");
        assert!(is_over || !ends, "{told}");
        let peak = agent.peak_memory();
        assert!(
            peak < before + ROOM,
            "from {} to {} MiB by {told}",
            before / MIB,
            peak / MIB
        );
    }
    let output = attacker.output();
    // What was cut off midway never became a request.
    let visits = site.visits().len();
    assert!(visits < 10_000, "{visits} requests: {output}");
    expect_alive(&host);
}
