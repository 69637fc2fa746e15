use serde_json::Value;

use super::{Asker, dispatch, host, listed, origin};

#[test]
fn what_its_namespace_does_not_declare_any_more_leaves_a_dispatch_without_egress() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let cgroup = host.cgroup("beside");
    let asker = Asker::start(&host, &cgroup);
    dispatch(&host, &cgroup, "first");
    assert_eq!(asker.plan(), "first");
    let declared = std::fs::read_to_string(host.path("conf.d/dispatch.toml")).unwrap();
    let other = declared.replace("\"plan\", ", "\"tariff\", ");
    host.configure("dispatch", &other);
    host.outbound(&["reload"]).output();
    asker.has_no_egress();
    assert_eq!(listed(&host)[0]["outbound"]["plan"], "first");
    // And in force again where it is declared again.
    host.configure("dispatch", &declared);
    host.outbound(&["reload"]).output();
    assert_eq!(asker.plan(), "first");
    // With its tenant it ends.
    host.tenant_with("acme", "p", "");
    host.outbound(&["reload"]).output();
    let (status, answer) = host.ask_admin("GET", super::PATH, &Value::Null);
    assert_eq!(
        (status, answer["dispatches"].as_array().unwrap().len()),
        (200, 0),
        "{answer}"
    );
}
