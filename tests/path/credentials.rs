//! The origin sees what the tenant never held.

use harness::agent::Agent;
use harness::origin::Origin;

fn config(plaintext: bool, hosts: &str) -> String {
    let directory = std::env::temp_dir().join(format!(
        "outbound-credential-{}-{}",
        std::process::id(),
        plaintext as u8
    ));
    std::fs::write(&directory, "s3cr3t\n").unwrap();
    format!(
        r#"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "127.0.0.0/8:*"]
        credentials = ["token"]
        [credentials.token]
        type = "header"
        hosts = ["{hosts}"]
        value = "Bearer {{secret}}"
        secret = "file:{}"
        allow_plaintext = {plaintext}
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        directory.display()
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_replaces_the_tenants_own_header() {
    let origin = Origin::http().await;
    let agent = Agent::start(&config(true, "api.test:*"));
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\nAuthorization: mine\r\nauthorization: mine too\r\nconnection: close\r\n\r\n",
        origin.address.port()
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 200);
    let seen = origin.seen();
    let values: Vec<_> = seen[0].headers.get_all("authorization").iter().collect();
    assert_eq!(values, ["Bearer s3cr3t"]);
    let line = agent.expect_log(&[("credential", "token"), ("outcome", "completed")]);
    assert!(!line.to_string().contains("s3cr3t"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_goes_in_clear_only_where_it_says_so() {
    let origin = Origin::http().await;
    let agent = Agent::start(&config(false, "api.test:*"));
    let reply = agent
        .get(
            "acme",
            origin.address,
            &format!("api.test:{}", origin.address.port()),
            "/",
        )
        .await;
    assert_eq!(reply.status, 200);
    assert!(!origin.seen()[0].headers.contains_key("authorization"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_goes_to_its_own_hosts_alone() {
    let origin = Origin::http().await;
    let agent = Agent::start(&config(true, "other.test:*"));
    let reply = agent
        .get(
            "acme",
            origin.address,
            &format!("api.test:{}", origin.address.port()),
            "/",
        )
        .await;
    assert_eq!(reply.status, 200);
    assert!(!origin.seen()[0].headers.contains_key("authorization"));
}
