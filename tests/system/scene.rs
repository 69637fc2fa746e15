use harness::host::{Host, Invocation, ORIGIN_V4, ORIGIN_V6, Server};

/// What no tenant may ever see.
pub(crate) const SECRET: &str = "5ecret-0f-the-agent";

/// A host on which `acme` may reach `api.test`, with a credential for it, and `bulk.test`, and
/// `globex` nothing; `evil.test` is there, and denied by name.
pub(crate) fn host() -> Option<Host> {
    let host = Host::new()?;
    let addresses = format!("[{ORIGIN_V4:?}, {ORIGIN_V6:?}]");
    host.configure(
        "resolver",
        &format!(
            "[resolver]\nhosts = {{ \"api.test\" = {addresses}, \"bulk.test\" = {addresses}, \
             \"evil.test\" = {addresses} }}\n"
        ),
    );
    host.write("token", SECRET);
    host.configure(
        "policies",
        &format!(
            r#"
[policies.acme]
allow = ["api.test", "bulk.test"]
deny = ["evil.test"]
credentials = ["token"]

[policies.globex]

[credentials.token]
type = "header"
hosts = ["api.test"]
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

/// A tenant's `curl` to a URL over IPv4. It writes the body and then the status.
pub(crate) fn curl(host: &Host, tenant: &str, url: &str) -> Invocation {
    curl_with(host, tenant, url, &[])
}

/// As [`curl`], with more arguments.
pub(crate) fn curl_with(host: &Host, tenant: &str, url: &str, more: &[&str]) -> Invocation {
    let addresses = resolve(ORIGIN_V4);
    let mut arguments = vec!["curl", "-sS", "--max-time", "50", "-w", "%{http_code}"];
    for address in &addresses {
        arguments.extend(["--resolve", address]);
    }
    arguments.extend(more);
    arguments.push(url);
    host.run(tenant, &arguments)
}

/// The names of the scene at an address, in curl's words. What a tenant says about addresses
/// opens nothing: the agent looks names up by itself.
fn resolve(address: &str) -> Vec<String> {
    let name = |name, port| format!("{name}:{port}:{address}");
    ["api.test", "bulk.test", "evil.test"]
        .into_iter()
        .flat_map(|host| [name(host, 80), name(host, 443)])
        .collect()
}

/// A tenant's `urllib` to a path of `api.test`, at an address as it stands in a URL. It writes
/// the status, and then the body.
pub(crate) fn urllib(host: &Host, tenant: &str, address: &str, path: &str) -> Invocation {
    let program = format!(
        "import urllib.request\n\
         request = urllib.request.Request('http://{address}{path}', headers={{'Host': 'api.test'}})\n\
         with urllib.request.urlopen(request, timeout=20) as reply:\n\
         \x20   print(reply.status, reply.read().decode())\n"
    );
    host.python(tenant, &program)
}
