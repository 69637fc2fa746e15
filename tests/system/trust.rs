//! Programs trust the agent, whatever they read; and in `outbound run` nobody sends for them.

use harness::host::{Host, Invocation, Site};

/// A host with two tenants whose TLS ends at the agent, and a site for them.
fn scene(tls: &str) -> Option<(Host, Site)> {
    let host = Host::new()?;
    host.resolve(&["api.test"]);
    host.configure(
        "policies",
        "[policies.p]\ntls = \"terminate\"\nallow = [\"api.test\"]\n",
    );
    host.tenant("acme", "p");
    host.tenant("globex", "p");
    let site = host.site(&["api.test"]);
    if !tls.is_empty() {
        host.configure("authority", tls);
    }
    Some((host, site))
}

/// A command of `acme` that finds no variable of ours in its environment.
fn without_variables(host: &Host, options: &[&str], command: &[&str]) -> Invocation {
    let run = [&["run", "--tenant", "acme"], options, &["--"]].concat();
    let bare = ["env", "-i", "PATH=/usr/bin:/bin"];
    host.outbound(&[&run[..], &bare[..], command].concat())
}

/// Asks for a page in JavaScript on Java.
const JAVA: &str = "
var reader = new java.io.BufferedReader(new java.io.InputStreamReader(
    new java.net.URL('https://api.test/java').openStream()));
print(reader.readLine());
";

/// Asks for a page by what Python's OpenSSL trusts by itself.
const PYTHON: &str = "
import urllib.request
print(urllib.request.urlopen('https://api.test/python').read().decode())
";

const OPENSSL: &str = "echo | openssl s_client -connect api.test:443 -servername api.test -verify_hostname api.test \
     -no-CAfile -no-CAstore -CApath /etc/ssl/certs -verify_return_error -brief 2>&1";

const GNUTLS: &str = "echo | gnutls-cli api.test:443 2>&1";

#[test]
fn programs_that_know_no_variable_trust_the_agent_in_a_run() {
    let Some((host, site)) = scene("") else {
        return;
    };
    let _agent = host.agent();
    let url = "https://api.test/curl";
    for command in [
        &["curl", "-sSf", url][..],
        &["python3", "-c", PYTHON],
        &["rhino", "-e", JAVA],
        &["sh", "-c", OPENSSL],
        &["sh", "-c", GNUTLS],
        &[
            "node",
            "--use-openssl-ca",
            "-e",
            "fetch('https://api.test/node').then(r => r.text())",
        ],
    ] {
        let ended = without_variables(&host, &["--mount"], command).end();
        assert_eq!(ended.code, 0, "{command:?}: {ended:?}");
        // The control: without the mounts there is nothing that they could trust.
        let ended = without_variables(&host, &["--no-mount"], command).end();
        assert_ne!(ended.code, 0, "{command:?}: {ended:?}");
    }
    for path in ["/curl", "/python", "/java", "/node"] {
        assert!(site.visit(path).is_secure);
    }
}

#[test]
fn javas_own_variable_is_enough() {
    let Some((host, site)) = scene("") else {
        return;
    };
    let _agent = host.agent();
    let run = ["run", "--tenant", "acme", "--no-mount", "--"];
    let java = host.outbound(&[&run[..], &["rhino", "-e", JAVA]].concat());
    let ended = java.end();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(site.visit("/java").is_secure);
}

#[test]
fn nothing_of_a_run_is_seen_on_the_host() {
    let Some((host, _site)) = scene("") else {
        return;
    };
    let _agent = host.agent();
    let inside = host.run("acme", &["cat", "/proc/self/mounts"]).output();
    assert!(inside.contains(" /etc/ssl/certs tmpfs ro,"), "{inside}");
    let outside = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!outside.contains(" /etc/ssl/certs "), "{outside}");
    // What is covered cannot be written, and is as it was otherwise.
    let list = "ls /etc/ssl/certs | wc -l; touch /etc/ssl/certs/x 2>/dev/null || echo sealed";
    let said = host.run("acme", &["sh", "-c", list]).output();
    let here = std::fs::read_dir("/etc/ssl/certs").unwrap().count();
    assert_eq!(said, format!("{}\nsealed\n", here + 1));
}

/// Runs `command` of `acme` on a host that was changed as `change` (shell) says.
fn on_a_changed_host(host: &Host, change: &str, options: &str, command: &str) -> String {
    let config = host.path("outbound.toml");
    let outbound = host.outbound(&[]).words()[0].to_owned();
    let script = format!(
        "set -e; {change}\n\
         exec {outbound} --config {} run --tenant acme {options} -- sh -c '{command}'",
        config.display()
    );
    host.program("unshare", &["--mount", "sh", "-c", &script])
        .output()
}

#[test]
fn every_distributions_bundle_has_the_authority() {
    let Some((host, _site)) = scene("") else {
        return;
    };
    let _agent = host.agent();
    // A copy of /etc in memory, of which the rest is made.
    let etc = "new=$(mktemp -d); mount -t tmpfs tmpfs $new; cp -a /etc/. $new/; \
               mount --move $new /etc; rmdir $new; bundle=/etc/ssl/certs/ca-certificates.crt; ";
    let fedora = "mkdir -p /etc/pki/tls/certs /etc/pki/ca-trust/extracted/pem/directory-hash \
                  /etc/pki/ca-trust/extracted/java /etc/pki/ca-trust/source/anchors; \
                  cp $bundle /etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem; \
                  ln -s ../../ca-trust/extracted/pem/tls-ca-bundle.pem /etc/pki/tls/certs/ca-bundle.crt; \
                  ln -s certs/ca-bundle.crt /etc/pki/tls/cert.pem; \
                  echo none > /etc/pki/ca-trust/extracted/java/cacerts; \
                  rm -r /etc/ssl; ln -s pki/tls /etc/ssl";
    let alpine = "ln -sf certs/ca-certificates.crt /etc/ssl/cert.pem";
    let suse = "mv $bundle /etc/ssl/ca-bundle.pem";
    let ours = std::fs::read_to_string(host.path("state/trust/ca.pem")).unwrap();
    let last = ours.lines().rev().nth(1).unwrap();
    for (change, bundles) in [
        (
            fedora,
            "/etc/pki/tls/certs/ca-bundle.crt /etc/pki/tls/cert.pem \
             /etc/pki/ca-trust/extracted/pem/directory-hash/*.0 \
             /etc/pki/ca-trust/source/anchors/*.0 /etc/ssl/cert.pem",
        ),
        (
            alpine,
            "/etc/ssl/cert.pem /etc/ssl/certs/ca-certificates.crt",
        ),
        (suse, "/etc/ssl/ca-bundle.pem"),
    ] {
        let check = format!("for file in {bundles}; do grep -qF {last} $file || echo $file; done");
        let change = format!("{etc}{change}");
        let lacking = on_a_changed_host(&host, &change, "--mount", &check);
        assert_eq!(lacking, "", "{change}");
        // The control.
        let lacking = on_a_changed_host(&host, &change, "--no-mount", &check);
        assert_ne!(lacking, "", "{change}");
    }
}

#[test]
fn services_that_would_send_for_a_command_are_not_there() {
    let Some((host, _site)) = scene("") else {
        return;
    };
    let _agent = host.agent();
    let services = "
import os, socket, sys
listeners = []
for path in sys.argv[1:]:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listeners.append(listener)
os.makedirs('/run/systemd/resolve', exist_ok=True)
with open('/run/systemd/resolve/stub-resolv.conf', 'w') as file:
    file.write('nameserver 127.0.0.53\\nnameserver 192.0.2.1\\nsearch corp.test\\n')
print('ready', flush=True)
sys.stdin.read()
";
    host.write("services.py", services);
    let callers = "
import socket, sys
for path in sys.argv[1:]:
    try:
        socket.socket(socket.AF_UNIX).connect(path)
        print(path)
    except OSError:
        pass
";
    host.write("callers.py", callers);
    let doors = "/run/nscd/socket /run/systemd/resolve/io.systemd.Resolve \
                 /run/dbus/system_bus_socket /run/avahi-daemon/socket /run/systemd/private \
                 /run/docker.sock /run/containerd/containerd.sock /run/podman/podman.sock";
    let directory = host.path("").display().to_string();
    let change = format!(
        "mount -t tmpfs tmpfs /run; mkfifo {directory}$$.in {directory}$$.out; \
         python3 {directory}/services.py {doors} <{directory}$$.in >{directory}$$.out & \
         exec 7>{directory}$$.in 8<{directory}$$.out; read ready <&8; \
         mount --bind /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf"
    );
    let call = format!("python3 {directory}/callers.py {doors}; cat /etc/resolv.conf");
    let inside = on_a_changed_host(&host, &change, "--mount", &call);
    assert_eq!(inside, "nameserver 127.0.0.1\nsearch corp.test\n");
    // The control.
    let outside = on_a_changed_host(&host, &change, "--no-mount", &call);
    for door in doors.split_whitespace() {
        assert!(outside.contains(door), "{outside}");
    }
}

#[test]
fn trust_is_installed_for_units_and_containers() {
    let Some((host, site)) = scene("") else {
        return;
    };
    let _agent = host.agent();
    let directory = host.path("installed").display().to_string();
    host.outbound(&["trust", "install", &directory]).output();
    // As `EnvironmentFile=` and `--env-file` read it.
    let unit = format!(
        "while IFS== read -r name value; do export \"$name=$value\"; done <{directory}/environment; \
         curl -sSf https://api.test/curl && rhino -e \"$0\""
    );
    let ended = without_variables(&host, &["--no-mount"], &["sh", "-c", &unit, JAVA]).end();
    assert_eq!(ended.code, 0, "{ended:?}");
    for path in ["/curl", "/java"] {
        assert!(site.visit(path).is_secure);
    }
}

#[test]
fn a_tenant_with_an_authority_of_its_own_is_told_which() {
    let Some((host, _site)) = scene("[tls]\nauthority_per_tenant = true\n") else {
        return;
    };
    let _agent = host.agent();
    let whose = host.outbound(&["trust", "ca"]).end();
    assert_eq!(whose.code, 1);
    assert!(whose.stderr.contains("--tenant NAME"), "{whose:?}");
    let of = |tenant: &str| host.outbound(&["trust", "ca", "--tenant", tenant]).output();
    assert_ne!(of("acme"), of("globex"));
    for options in ["--mount", "--no-mount"] {
        let run = ["run", "--tenant", "globex", options, "--"];
        let curl = ["curl", "-sSf", "https://api.test/"];
        let ended = host.outbound(&[&run[..], &curl].concat()).end();
        assert_eq!(ended.code, 0, "{ended:?}");
    }
    host.write("acme.pem", &of("acme"));
    let acmes = host.path("acme.pem").display().to_string();
    let run = ["run", "--tenant", "globex", "--no-mount", "--"];
    let curl = ["curl", "-sSf", "--cacert", &acmes, "https://api.test/"];
    let refused = host.outbound(&[&run[..], &curl].concat()).end();
    // 60: the certificate is nobody's that it trusts.
    assert_eq!(refused.code, 60, "{refused:?}");
}
