use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use harness::host::{Daemon, Ended, Host, Invocation, ORIGIN_V4, Running};
use harness::sandbox::eventually;
use serde_json::Value;

/// Not of a name: only its address can be allowed.
const UNNAMED: &str = "203.0.113.20";

/// Every server is `raw.test`, and another one, of no name; `globex` may reach neither.
const POLICIES: &str = r#"
[policies.acme]
allow = ["tcp://raw.test:PORT", "tcp://203.0.113.20:PORT"]

[policies.globex]
allow = ["tcp://raw.test:1"]
"#;

/// A host on which `acme` may reach a port of both addresses.
fn host(port: u16) -> Option<Host> {
    let host = Host::new()?;
    host.ip(&format!("address add {UNNAMED}/32 dev lo"));
    host.resolve(&["raw.test"]);
    host.configure("policies", &POLICIES.replace("PORT", &port.to_string()));
    host.tenant("acme", "acme");
    host.tenant("globex", "globex");
    Some(host)
}

/// A client with a server of its own, both as they are in the field.
struct Case<'a> {
    host: &'a Host,
    port: u16,
    _agent: Daemon,
}

impl<'a> Case<'a> {
    fn new(host: &'a Host, port: u16) -> Self {
        Self {
            host,
            port,
            _agent: host.agent(),
        }
    }

    /// `acme` gets through by name and by address; `globex` does neither, and its client says
    /// `refusal` where the connection is refused. `client` makes a command of a host.
    #[track_caller]
    fn expect(&self, client: impl Fn(&str) -> Vec<String>, told: &str, refusal: &[&str]) {
        let run = |tenant: &str, host: &str| -> Ended {
            let words = client(host);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            self.host.run(tenant, &words).end()
        };
        for (host, rule) in [("raw.test", "raw.test"), (UNNAMED, UNNAMED)] {
            let ended = run("acme", host);
            assert_eq!(ended.code, 0, "{ended:?}");
            assert!(ended.stdout.contains(told), "{ended:?}");
            let line = self
                .host
                .expect_log(&[("kind", "tcp"), ("server.address", rule)]);
            let rule = format!("allow tcp://{rule}:{}", self.port);
            for (field, expected) in [
                ("tenant", "acme"),
                ("network.protocol.name", "tcp"),
                ("verdict", "allow"),
                ("rule", &rule),
                ("outcome", "completed"),
            ] {
                assert_eq!(line[field], expected, "{field} of {line:#}");
            }
            for field in ["bytes.sent", "bytes.received"] {
                assert!(
                    line[field].as_u64().is_some_and(|bytes| bytes > 0),
                    "{line:#}"
                );
            }
        }
        for host in [ORIGIN_V4, UNNAMED] {
            let ended = run("globex", host);
            assert_ne!(ended.code, 0, "{ended:?}");
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(
                refusal.iter().any(|words| said.contains(words)),
                "{ended:?}"
            );
            let asked = format!("{host}:{}", self.port);
            let line = self
                .host
                .expect_log(&[("tenant", "globex"), ("original_dst", &asked)]);
            assert_eq!(line["verdict"], "deny", "{line:#}");
            assert_eq!(line["reason"], "no_rule", "{line:#}");
            assert_eq!(line["network.peer.address"], Value::Null, "{line:#}");
        }
    }
}

/// Waits until a server takes connections on both addresses.
#[track_caller]
fn await_server(host: &Host, port: u16, server: &Running) {
    for address in [ORIGIN_V4, UNNAMED] {
        eventually("the server listens", || {
            assert!(
                server.is_alive(),
                "{}{}",
                server.output(),
                server.complaints()
            );
            host.connect(&format!("{address}:{port}")).ok()
        });
    }
}

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[test]
fn postgresql_is_reached_by_name_and_by_address_and_nowhere_else() {
    let Some(host) = host(5432) else { return };
    let data = host.path("postgres");
    fs::create_dir(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let data = data.to_str().unwrap();
    let as_nobody = |program: &str, arguments: &[&str]| -> Invocation {
        host.program(&postgres(program), arguments).as_user(NOBODY)
    };
    let arguments = ["-N", "-U", "acme", "-A", "trust", "--no-locale", "-D", data];
    as_nobody("initdb", &arguments).output();
    let addresses = format!("listen_addresses={ORIGIN_V4},{UNNAMED}");
    fs::write(
        host.path("postgres/pg_hba.conf"),
        "host all all 203.0.113.0/24 trust\n",
    )
    .unwrap();
    let mut arguments = vec!["-D", data, "-F"];
    for setting in [
        addresses.as_str(),
        "unix_socket_directories=",
        "max_connections=8",
    ] {
        arguments.extend(["-c", setting]);
    }
    let server = as_nobody("postgres", &arguments).start();
    await_server(&host, 5432, &server);
    let case = Case::new(&host, 5432);
    let query = "select count(*), sum(length(repeat('x', n))) from generate_series(1, 1000) n";
    let client = |name: &str| {
        let options = ["-U", "acme", "-At", "-c", query, "postgres"];
        owned(&[&["psql", "-h", name][..], &options].concat())
    };
    let refusal = ["server closed the connection", "Connection reset by peer"];
    case.expect(client, "1000|500500\n", &refusal);
    // By a name that it may not look up.
    let ended = host
        .run("globex", &["psql", "-h", "evil.test", "postgres"])
        .end();
    assert!(
        ended.stderr.contains("could not translate host name"),
        "{ended:?}"
    );
}

const NOBODY: u32 = 65_534;

/// A program of the newest server that is installed.
fn postgres(program: &str) -> String {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let programs = versions.map(|version| version.unwrap().path().join("bin").join(program));
    let newest = programs.filter(|program| program.is_file()).max();
    newest
        .expect("the server is installed")
        .display()
        .to_string()
}

#[test]
fn redis_is_reached_by_name_and_by_address_and_nowhere_else() {
    let Some(host) = host(6379) else { return };
    let arguments = [
        "--bind",
        ORIGIN_V4,
        UNNAMED,
        "--protected-mode",
        "no",
        "--save",
        "",
    ];
    let server = host.program("redis-server", &arguments).start();
    await_server(&host, 6379, &server);
    let case = Case::new(&host, 6379);
    let script = "local t = {} for i = 1, 1000 do t[i] = i end return #table.concat(t)";
    let client = |name: &str| owned(&["redis-cli", "-e", "-h", name, "EVAL", script, "0"]);
    let refusal = ["Server closed the connection", "Connection reset by peer"];
    case.expect(client, "2893\n", &refusal);
    // Much, both ways.
    let shell = "head -c 20000000 /dev/zero | redis-cli -h raw.test -x SET large; \
                 redis-cli -h raw.test STRLEN large; redis-cli -h raw.test GET large | wc -c";
    let told = host.run("acme", &["sh", "-c", shell]).output();
    assert_eq!(told, "OK\n20000000\n20000001\n");
}

#[test]
fn ssh_is_reached_by_name_and_by_address_and_nowhere_else() {
    let Some(host) = host(22) else { return };
    let path = |name: &str| host.path(name).display().to_string();
    for key in ["host_key", "user_key"] {
        let arguments = ["-q", "-t", "ed25519", "-N", "", "-f", &path(key)];
        host.program("ssh-keygen", &arguments).output();
    }
    let config = format!(
        "ListenAddress {ORIGIN_V4}\nListenAddress {UNNAMED}\nHostKey {}\nPidFile none\n\
         AuthorizedKeysFile {}\nStrictModes no\nPermitRootLogin yes\nUsePAM no\n\
         PasswordAuthentication no\nSubsystem sftp internal-sftp\n",
        path("host_key"),
        path("user_key.pub")
    );
    host.write("sshd_config", &config);
    // Debian's unit makes it.
    fs::create_dir_all("/run/sshd").unwrap();
    let sshd = host.program("/usr/sbin/sshd", &["-D", "-e", "-f", &path("sshd_config")]);
    let server = sshd.start();
    await_server(&host, 22, &server);
    let case = Case::new(&host, 22);
    let key = path("user_key");
    let options = [
        "-i",
        &key,
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "BatchMode=yes",
        "-o",
        "LogLevel=ERROR",
    ];
    let client = |name: &str| {
        let command = [
            "root@HOST",
            "echo carried; head -c 5000000 /dev/zero | wc -c",
        ];
        let words = [&["ssh"][..], &options, &command].concat();
        words
            .iter()
            .map(|word| word.replace("HOST", name))
            .collect()
    };
    let refusal = ["Connection closed by", "Connection reset by"];
    case.expect(client, "carried\n5000000\n", &refusal);
    let (large, copy) = (path("large"), path("copy"));
    host.write("large", &"a line\n".repeat(1_000_000));
    let target = format!("root@raw.test:{copy}");
    let words = [&["scp", "-q"][..], &options, &[&large, &target]].concat();
    host.run("acme", &words).output();
    assert!(fs::read(&large).unwrap() == fs::read(Path::new(&copy)).unwrap());
}

const SMTP: &str = "
import socket, threading
def serve(stream):
    with stream, stream.makefile('rwb') as lines:
        def say(text):
            lines.write(text + b'\\r\\n')
            lines.flush()
        say(b'220 raw.test ESMTP')
        for line in lines:
            verb = line.split()[0].upper()
            if verb == b'DATA':
                say(b'354 go on')
                count = sum(1 for _ in iter(lines.readline, b'.\\r\\n'))
                say(b'250 %d lines' % count)
            elif verb == b'QUIT':
                return say(b'221 bye')
            else:
                say(b'250 ok')
def listen(address):
    listener = socket.create_server((address, 25))
    while True:
        threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
for address in ('203.0.113.10', '203.0.113.20'):
    threading.Thread(target=listen, args=(address,)).start()
";

#[test]
fn smtp_whose_server_speaks_first_is_reached_by_name_and_by_address_and_nowhere_else() {
    let Some(host) = host(25) else { return };
    let server = host.program("python3", &["-u", "-c", SMTP]).start();
    await_server(&host, 25, &server);
    let case = Case::new(&host, 25);
    let program = "
import smtplib, sys
with smtplib.SMTP(sys.argv[1], timeout=40) as server:
    print(server.ehlo_resp or server.ehlo())
    server.mail('a@acme.test')
    server.rcpt('b@raw.test')
    print(*server.data('line\\r\\n' * 10000))
";
    let client = |name: &str| owned(&["python3", "-c", program, name]);
    let refusal = ["Connection reset by peer", "Connection unexpectedly closed"];
    case.expect(client, "250 b'10000 lines'\n", &refusal);
}

#[test]
fn mqtt_is_reached_by_name_and_by_address_and_nowhere_else() {
    let Some(host) = host(1883) else { return };
    let config = format!(
        "listener 1883 {ORIGIN_V4}\nlistener 1883 {UNNAMED}\nallow_anonymous true\n\
         persistence false\nuser root\n"
    );
    host.write("mosquitto.conf", &config);
    let config = host.path("mosquitto.conf").display().to_string();
    let server = host.program("mosquitto", &["-c", &config]).start();
    await_server(&host, 1883, &server);
    let case = Case::new(&host, 1883);
    // The message is kept, so that who comes later gets it.
    let shell = "mosquitto_pub -h $0 -t news -r -m carried && mosquitto_sub -h $0 -t news -C 1";
    let client = |name: &str| owned(&["sh", "-c", shell, name]);
    let refusal = [
        "Connection was lost",
        "connection was lost",
        "Connection reset",
        "Error",
    ];
    case.expect(client, "carried\n", &refusal);
}
