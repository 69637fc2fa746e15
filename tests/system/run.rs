use std::fs;

use nix::sys::signal::Signal;

use harness::sandbox::eventually;

use crate::scene::{Prober, host, origin};

#[test]
fn run_gives_back_how_its_command_ended() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    for (command, code) in [
        ("true", 0),
        ("exit 7", 7),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
    ] {
        let ended = host.run("acme", &["sh", "-c", command]).end();
        assert_eq!(ended.code, code, "{command}: {ended:?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn a_run_that_leaves_something_running_leaves_no_cgroup_in_the_end() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let runs = || {
        let below = fs::read_dir(host.tenant_cgroup("acme")).unwrap().flatten();
        below.filter(|entry| entry.path().is_dir()).count()
    };
    let orphan = Prober::orphan(&host, "acme");
    let other = Prober::start(&host, "acme");
    assert_eq!(orphan.ask("/left"), "200");
    assert_eq!(runs(), 2);
    drop(orphan);
    eventually("the abandoned cgroup is removed", || {
        (runs() == 1).then_some(())
    });
    // The one that runs keeps its own.
    assert_eq!(other.ask("/stays"), "200");
}

#[test]
fn what_run_cannot_do_is_one_line() {
    let Some(host) = host() else { return };
    let agent = host.agent();
    let missing = host.run("acme", &["no-such-program"]).end();
    let stranger = host.run("nobody", &["true"]).end();
    agent.kill();
    let alone = host.run("acme", &["true"]).end();
    for (ended, words) in [
        (missing, "cannot run no-such-program"),
        (stranger, "there is no tenant of this name"),
        (alone, "no agent answers on"),
    ] {
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    assert_eq!(
        fs::read_dir(host.tenant_cgroup("acme"))
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count(),
        0
    );
}

#[test]
fn the_three_standard_streams_are_the_commands_own_and_it_has_no_other() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let echo = host.run(
        "acme",
        &["sh", "-c", "read line; echo out $line; echo err >&2"],
    );
    let echo = echo.start();
    echo.say("spoken");
    let echo = echo.end();
    assert_eq!(echo.stdout, "out spoken\n");
    assert_eq!(echo.stderr, "err\n");

    // Started by a shell that holds more descriptors, a socket among them.
    let outbound = host.run("acme", &["ls", "/proc/self/fd"]).words().join(" ");
    let shell = format!("exec 7</dev/null 8>/dev/null; exec {outbound}");
    let listed = host.program("sh", &["-c", &shell]).output();
    // The last is the listed directory.
    assert_eq!(listed, "0\n1\n2\n3\n");
}

#[test]
fn the_command_runs_in_a_cgroup_below_its_tenants_that_goes_with_it() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let tenants = host.tenant_cgroup("acme");
    let command = ["sh", "-c", "grep ^0: /proc/self/cgroup; read line"];
    let running = host.run("acme", &command).start();
    let cgroup = tenants.join(format!("run-{}", running.pid()));
    let shown = format!("/tenants/acme/run-{}\n", running.pid());
    running.expect(&shown);
    assert!(cgroup.exists());
    running.end();
    assert!(!cgroup.exists());
}

#[test]
fn signals_that_would_end_run_are_passed_on_to_its_command() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let program = "import signal, sys\n\
            def end(number, frame):\n\
            \x20   print('ended by', number)\n\
            \x20   sys.exit(40 + number)\n\
            for number in (signal.SIGTERM, signal.SIGHUP): signal.signal(number, end)\n\
            print('waiting')\n\
            while True: signal.pause()\n";
        let running = host.python("acme", program).start();
        running.expect("waiting");
        let cgroup = host
            .tenant_cgroup("acme")
            .join(format!("run-{}", running.pid()));
        running.signal(signal);
        let ended = running.end();
        assert!(
            ended
                .stdout
                .ends_with(&format!("ended by {}\n", signal as i32)),
            "{ended:?}"
        );
        assert_eq!(ended.code, 40 + signal as i32);
        assert!(!cgroup.exists());
    }
    // A command that knows nothing of signals ends all the same.
    let running = host
        .run("acme", &["sh", "-c", "echo waiting; exec sleep 600"])
        .start();
    running.expect("waiting");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.end().code, 128 + 15);
}
