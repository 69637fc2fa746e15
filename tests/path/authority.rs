//! Whose authority signs what a workload is shown, and that real clients take it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};

use harness::agent::Agent;
use harness::origin::Origin;
use harness::tls::Identity;
use tempfile::TempDir;

/// Two tenants whose TLS ends at the agent, and an origin for them.
async fn scene(tls: &str) -> (Origin, Agent) {
    let identity = Identity::new(&["api.test", "127.0.0.1"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let agent = Agent::start(&format!(
        r#"
        [tls]
        roots = [{:?}]
        {tls}
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "127.0.0.0/8:*"]
        tls = "terminate"
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "p"
        cgroup = "/globex"
        "#,
        identity.path()
    ));
    (origin, agent)
}

/// Runs a program beside the agent, which has the other threads.
fn run(program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("SSL_CERT_FILE");
    let output = tokio::task::block_in_place(|| command.output());
    output.unwrap_or_else(|error| panic!("{program}: {error}"))
}

/// What a real client says of what the agent shows it.
struct Shown {
    is_accepted: bool,
    said: String,
}

/// `openssl s_client`, which trusts `roots` alone, at `door`; it checks `name`.
fn openssl(door: SocketAddr, roots: &Path, name: &str, more: &[&str]) -> Shown {
    let (door, roots) = (door.to_string(), roots.display().to_string());
    let mut arguments = vec![
        "s_client",
        "-connect",
        &door,
        "-CAfile",
        &roots,
        "-no-CApath",
        "-no-CAstore",
        "-verify_return_error",
        "-brief",
        "-showcerts",
    ];
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    match is_address {
        true => arguments.extend(["-noservername", "-verify_ip", name]),
        false => arguments.extend(["-servername", name, "-verify_hostname", name]),
    }
    arguments.extend(more);
    let output = run("openssl", &arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    Shown {
        is_accepted: said.contains("Verification: OK"),
        said,
    }
}

const ELSEWHERE: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)),
    443,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenant_trusts_signs_nothing_for_another() {
    let (_origin, agent) = scene("authority_per_tenant = true").await;
    let roots = |tenant| agent.trust(Some(tenant)).join("ca.pem");
    assert_ne!(agent.authority_of("acme"), agent.authority_of("globex"));
    assert!(!agent.trust(None).join("ca.pem").exists());
    for (whose, trusting, accepts) in [
        ("acme", "acme", true),
        ("globex", "globex", true),
        ("acme", "globex", false),
        ("globex", "acme", false),
    ] {
        let door = agent.door(whose, ELSEWHERE).await;
        let shown = openssl(door, &roots(trusting), "api.test", &[]);
        assert_eq!(shown.is_accepted, accepts, "{whose}: {}", shown.said);
    }
    // And all that all the others trust.
    let door = agent.door("acme", ELSEWHERE).await;
    let bundle = agent.trust(Some("globex")).join("ca-bundle.pem");
    assert!(!openssl(door, &bundle, "api.test", &[]).is_accepted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operators_intermediate_is_sent_so_that_its_root_is_enough() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let (root, ours, key, request) = (
        path("root.pem"),
        path("ours.pem"),
        path("ours.key"),
        path("ours.csr"),
    );
    let (root_key, extensions) = (path("root.key"), path("ours.cnf"));
    std::fs::write(
        &extensions,
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n",
    )
    .unwrap();
    let make = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let output = run("openssl", &words);
        assert!(output.status.success(), "{line}: {output:?}");
    };
    // An RSA root, as companies have them.
    make(&format!(
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=root -keyout {root_key} -out {root}"
    ));
    make(&format!(
        "req -newkey rsa:2048 -nodes -subj /CN=ours -keyout {key} -out {request}"
    ));
    make(&format!(
        "x509 -req -in {request} -CA {root} -CAkey {root_key} -CAcreateserial -days 2 \
         -extfile {extensions} -out {ours}"
    ));
    let (_origin, agent) = scene(&format!("authority = {ours:?}\nauthority_key = {key:?}")).await;
    let door = agent.door("acme", ELSEWHERE).await;
    let shown = openssl(door, Path::new(&root), "api.test", &["-showcerts"]);
    assert!(shown.is_accepted, "{}", shown.said);
    // What is handed to workloads has no key in it.
    for file in ["ca.pem", "ca-bundle.pem"] {
        let text = std::fs::read_to_string(agent.trust(None).join(file)).unwrap();
        assert!(!text.contains("PRIVATE"), "{file}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_takes_names_and_addresses_in_both_versions_of_tls() {
    let (_origin, agent) = scene("").await;
    let roots = agent.trust(None).join("ca.pem");
    let door = agent.door("acme", ELSEWHERE).await;
    for name in ["api.test", "192.0.2.7"] {
        for version in ["-tls1_2", "-tls1_3"] {
            let shown = openssl(door, &roots, name, &[version, "-x509_strict"]);
            assert!(shown.is_accepted, "{name} {version}: {}", shown.said);
        }
    }
    // The control: another name than what is shown.
    let shown = openssl(
        door,
        &roots,
        "api.test",
        &["-verify_hostname", "other.test"],
    );
    assert!(!shown.is_accepted, "{}", shown.said);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssl_finds_the_authority_in_a_directory_by_its_hash() {
    let (_origin, agent) = scene("").await;
    let door = agent.door("acme", ELSEWHERE).await.to_string();
    let directory = agent.trust(None).join("certs").display().to_string();
    let output = run(
        "openssl",
        &[
            "s_client",
            "-connect",
            &door,
            "-no-CAfile",
            "-no-CAstore",
            "-CApath",
            &directory,
            "-servername",
            "api.test",
            "-verify_hostname",
            "api.test",
            "-verify_return_error",
            "-brief",
        ],
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("Verification: OK"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_resumed_for_a_tenant_and_for_no_other() {
    let (_origin, agent) = scene("").await;
    let roots = agent.trust(None).join("ca.pem");
    let directory = TempDir::new().unwrap();
    let session = directory.path().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let resumed = |door: SocketAddr, what: &str| {
            let door = door.to_string();
            let roots = roots.display().to_string();
            let arguments = [
                "s_client",
                "-connect",
                &door,
                "-CAfile",
                &roots,
                "-servername",
                "api.test",
                what,
                &session,
                version,
                "-alpn",
                "http/1.1",
            ];
            let mut command = Command::new("openssl");
            command.args(arguments);
            let said = tokio::task::block_in_place(|| ask(&mut command));
            assert!(said.contains("HTTP/1.1 "), "{said}");
            said.contains("\nReused, ")
        };
        let (acme, globex) = (
            agent.door("acme", ELSEWHERE).await,
            agent.door("globex", ELSEWHERE).await,
        );
        assert!(!resumed(acme, "-sess_out"), "{version}");
        assert!(resumed(acme, "-sess_in"), "{version}");
        assert!(!resumed(globex, "-sess_in"), "{version}");
    }
}

/// A request over `openssl s_client`, until its answer: a TLS 1.3 session comes after the
/// handshake.
fn ask(command: &mut Command) -> String {
    use std::io::{Read as _, Write as _};
    use std::process::Stdio;
    let mut client = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let request = b"GET / HTTP/1.1\r\nhost: api.test\r\nconnection: close\r\n\r\n";
    let mut input = client.stdin.take().unwrap();
    input.write_all(request).unwrap();
    let mut said = String::new();
    client
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    client.wait().unwrap();
    said
}
