use harness::host::{Host, Invocation, ORIGIN_V4, ORIGIN_V6, Running, Server};
use harness::sandbox::eventually;

/// What no tenant may ever see.
pub(crate) const SECRET: &str = "5ecret-0f-the-agent";

/// A host on which `acme` may reach `api.test` and, over IPv6, `six.test`, with a credential for
/// both, and `bulk.test`, but not `evil.test`; and `globex` nothing.
pub(crate) fn host() -> Option<Host> {
    let host = Host::new()?;
    host.configure(
        "resolver",
        &format!(
            "[resolver.hosts]\n\"api.test\" = [{ORIGIN_V4:?}]\n\"bulk.test\" = [{ORIGIN_V4:?}]\n\
             \"evil.test\" = [{ORIGIN_V4:?}]\n\"six.test\" = [{ORIGIN_V6:?}]\n"
        ),
    );
    host.write("token", SECRET);
    host.configure(
        "policies",
        &format!(
            r#"
[policies.acme]
allow = ["api.test", "six.test", "bulk.test"]
deny = ["evil.test"]
credentials = ["token"]

[policies.globex]

[credentials.token]
type = "header"
hosts = ["api.test", "six.test"]
value = "Bearer {{secret}}"
secret = "file:{}"
allow_plaintext = true
"#,
            host.path("token").display()
        ),
    );
    host.tenant("acme", "acme");
    host.tenant("globex", "globex");
    Some(host)
}

/// The origin of all names over IPv4.
pub(crate) fn origin(host: &Host) -> Server {
    host.server(&format!("{ORIGIN_V4}:80"))
}

/// A tenant's `curl`. It writes the body and then the status.
pub(crate) fn curl(host: &Host, tenant: &str, url: &str) -> Invocation {
    curl_with(host, tenant, url, &[])
}

/// As [`curl`], with more arguments.
pub(crate) fn curl_with(host: &Host, tenant: &str, url: &str, more: &[&str]) -> Invocation {
    let mut arguments = vec![
        "curl",
        "-sS",
        "-N",
        "--max-time",
        "50",
        "-w",
        "%{http_code}",
    ];
    // What a tenant says about addresses opens nothing: the agent looks names up by itself.
    for addresses in [
        "*:80:203.0.113.10",
        "*:443:203.0.113.10",
        "six.test:80:[2001:db8::10]",
    ] {
        arguments.extend(["--resolve", addresses]);
    }
    arguments.extend(more);
    arguments.push(url);
    host.run(tenant, &arguments)
}

/// A tenant's `urllib` to a path of a name. It writes the status, and then the body.
pub(crate) fn urllib(host: &Host, tenant: &str, name: &str, path: &str) -> Invocation {
    let address = if name == "six.test" {
        format!("[{ORIGIN_V6}]")
    } else {
        ORIGIN_V4.to_owned()
    };
    let program = format!(
        "import urllib.request\n\
         request = urllib.request.Request('http://{address}{path}', headers={{'Host': '{name}'}})\n\
         with urllib.request.urlopen(request, timeout=20) as reply:\n\
         \x20   print(reply.status, reply.read().decode())\n"
    );
    host.python(tenant, &program)
}

/// A tenant's process that asks `api.test` whenever it is told to, on a connection of its own.
pub(crate) struct Prober(Running);

const PROBER: &str = "
import errno, socket, sys
print('prober is there')
for path in map(str.strip, sys.stdin):
    try:
        with socket.create_connection(('203.0.113.10', 80), timeout=15) as stream:
            stream.sendall(f'GET {path} HTTP/1.1\\r\\nhost: api.test\\r\\nconnection: close\\r\\n\\r\\n'.encode())
            reply = b''
            while chunk := stream.recv(65536):
                reply += chunk
        print(path, 'gave', reply[9:12].decode() or 'nothing', flush=True)
    except OSError as error:
        print(path, 'gave', errno.errorcode.get(error.errno, str(error)), flush=True)
";

impl Prober {
    /// It needs the agent to start, and afterwards no more.
    pub(crate) fn start(host: &Host, tenant: &str) -> Self {
        let running = host.python(tenant, PROBER).start();
        running.expect("prober is there\n");
        Self(running)
    }

    /// One that outlives its run, in a session of its own.
    pub(crate) fn orphan(host: &Host, tenant: &str) -> Self {
        // A shell gives what it starts in the background no input of its own.
        let shell = "exec 3<&0; setsid python3 -u -c \"$0\" <&3 & exit 0";
        let running = host.run(tenant, &["sh", "-c", shell, PROBER]).start();
        running.expect("prober is there\n");
        eventually("the run ends", || (!running.is_alive()).then_some(()));
        Self(running)
    }

    /// Asks for a path, each path once: gives the status, or the name of the errno.
    #[track_caller]
    pub(crate) fn ask(&self, path: &str) -> String {
        self.0.say(path);
        let start = format!("{path} gave ");
        eventually(&format!("the prober answers for {path}"), || {
            let output = self.0.output();
            let (_before, answer) = output.split_once(&start)?;
            Some(answer.split_once('\n')?.0.to_owned())
        })
    }
}
