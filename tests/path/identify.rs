//! Without a flow and a tenant there is no egress.

use std::io;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use outbound_agent::model::tenant::CgroupId;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::OPEN;

/// A reset may come during the connect, with the request, or instead of an answer.
pub(super) async fn expect_reset(connected: io::Result<TcpStream>) {
    let Ok(mut stream) = connected else { return };
    drop(
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: api.test\r\n\r\n")
            .await,
    );
    assert_eq!(Reply::read(&mut stream).await.status, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_the_kernel_does_not_know_is_reset() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    expect_reset(agent.connect_as(None, origin.address).await).await;
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "unknown_flow"),
        ("outcome", "refused"),
    ]);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cgroup_that_is_no_tenants_is_reset() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    expect_reset(agent.connect_as(Some(CgroupId(99)), origin.address).await).await;
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "unknown_tenant"),
        ("cgroup.id", "99"),
    ]);
    assert_eq!(origin.connections(), 0);
}
