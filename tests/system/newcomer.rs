mod worker;

use std::fs;

use harness::host::{Ended, Host, Invocation, ORIGIN_V4};

const README: &str = include_str!("../../README.md");
const UNIT: &str = include_str!("../../outbound-agent/packaging/outbound.service");

/// The one block of a language in the README's part on configuration.
fn block(language: &str) -> &'static str {
    block_of("Configure", language)
}

/// The same of another part.
fn block_of(part: &str, language: &str) -> &'static str {
    let (_before, part) = README.split_once(&format!("\n## {part}\n")).unwrap();
    let (_before, block) = part.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("\n```").unwrap().0
}

/// A host with the README's configuration: the least is changed that makes it this host's.
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.write("billing.key", "5ecret");
    let key = host.path("billing.key").display().to_string();
    let cgroup = host.cgroup_name("tenants/acme");
    let told = block("toml")
        .replace("version = 1\n", "")
        .replace("/etc/outbound/billing.key", &key)
        .replace("/tenants.slice/acme.slice", &cgroup);
    host.configure("readme", &told);
    host.resolve(&["api.example.com"]);
    Some(host)
}

/// A command of the README, with the comment behind it left out.
fn command(host: &Host, line: &str) -> Invocation {
    let command = line.split(" #").next().unwrap();
    let words: Vec<&str> = command.split_whitespace().collect();
    assert_eq!(words[0], "outbound", "{line}");
    let (mut kept, mut words) = (Vec::new(), words.into_iter().skip(1));
    while let Some(word) = words.next() {
        match word {
            // This host's is given anyway.
            "--config" => assert_eq!(words.next(), Some("F")),
            word => kept.push(word),
        }
    }
    host.outbound(&kept)
}

/// What runs elsewhere, and asks once it has been assigned.
fn assign(host: &Host, line: &str) -> Ended {
    let shell = "echo there; read line; exec curl -sS http://api.example.com/assigned";
    let running = host.program("sh", &["-c", shell]);
    let running = running.in_cgroup(&host.cgroup("elsewhere")).start();
    running.expect("there\n");
    let pid = running.pid().to_string();
    command(host, &line.replace("4711", &pid)).output();
    running.say("go on");
    running.end()
}

#[test]
fn what_the_readme_says_can_be_done() {
    let Some(host) = host() else { return };
    let origin = host.server(&format!("{ORIGIN_V4}:80"));
    let mut agent = None;
    let mut assigned = None;
    for line in block("sh").lines() {
        let verb = line.split(' ').nth(1).unwrap();
        match verb {
            "agent" => agent = Some(host.agent()),
            "check" if line.contains("GET") => {
                let told = command(&host, line).output();
                assert!(told.contains("allow"), "{told}");
            }
            "run" if line.contains("CMD") => {
                let told = command(&host, &line.replace("CMD", "ip -brief link")).output();
                assert_eq!(told.lines().count(), 1, "{told}");
            }
            "run" => {
                let told = command(&host, line).output();
                assert_eq!(told, "hello from api.example.com/\n");
            }
            "assign" => assigned = Some(assign(&host, line)),
            "trust" if line.contains("install") => {
                let directory = host.path("trust").display().to_string();
                command(&host, &line.replace("/etc/outbound-trust", &directory)).output();
                assert!(host.path("trust/environment").exists());
            }
            "trust" => {
                let told = command(&host, line).output();
                assert!(told.contains("SSL_CERT_FILE"), "{told}");
            }
            "doctor" => {
                // What it finds is this host's affair.
                let ended = command(&host, line).end();
                assert!(ended.code <= 1, "{ended:?}");
            }
            "detach" => {
                agent.take().unwrap().stop();
                command(&host, line).output();
            }
            "check" | "status" | "tenants" | "reload" => drop(command(&host, line).output()),
            other => panic!("nothing here tries `outbound {other}`"),
        }
    }
    let assigned = assigned.unwrap();
    assert!(
        assigned
            .stdout
            .contains("hello from api.example.com/assigned"),
        "{assigned:?}"
    );
    assert_eq!(origin.requests().len(), 2);
    let host_of = |line: &serde_json::Value| line["tenant"] == "acme";
    let carried = host.log().into_iter().filter(|line| line["kind"] == "http");
    assert!(carried.clone().count() == 2 && carried.clone().all(|line| host_of(&line)));
}

#[test]
fn the_unit_says_what_the_agent_needs_and_no_less() {
    let Some(host) = host() else { return };
    let setting = |name: &str| {
        let mut settings = UNIT.lines().filter_map(|line| line.split_once('='));
        settings.find(|(found, _)| *found == name).unwrap().1
    };
    let _origin = host.server(&format!("{ORIGIN_V4}:80"));
    let command_line = |name: &str| {
        let words = setting(name).strip_prefix("/usr/bin/outbound ").unwrap();
        let verb = words.strip_suffix(" --config /etc/outbound/outbound.toml");
        host.outbound(&[verb.unwrap()])
    };
    command_line("ExecStartPre").output();
    let capabilities: Vec<String> = setting("CapabilityBoundingSet")
        .split(' ')
        .map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()))
        .collect();
    let bounding = format!("--bounding-set=-all,{}", capabilities.join(","));
    let agent = command_line("ExecStart");
    let words = [&["--no-new-privs", &bounding][..], &agent.words()].concat();
    let agent = host.program("setpriv", &words);
    let agent = host.agent_of(agent.in_cgroup(&host.cgroup("agent")));
    let granted = fs::read_to_string(format!("/proc/{}/status", agent.process().pid())).unwrap();
    assert!(granted.contains("NoNewPrivs:\t1"), "{granted}");
    for netns in [&[][..], &["--netns"]] {
        let words = [
            "--tenant",
            "acme",
            "--",
            "curl",
            "-sS",
            "http://api.example.com/unit",
        ];
        let told = host.outbound(&[&["run"], netns, &words].concat()).output();
        assert_eq!(told, "hello from api.example.com/unit\n");
    }
    let reloaded = command_line("ExecReload").output();
    assert!(reloaded.starts_with("reloaded"), "{reloaded}");
    agent.stop();
}
