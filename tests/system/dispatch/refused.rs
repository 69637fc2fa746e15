use std::path::Path;

use harness::host::Host;
use serde_json::{Value, json};

use super::{PATH, host, listed};

/// A right question with some of it changed.
fn question(cgroup: &Path, changes: &Value) -> Value {
    let given = json!({ "plan": 1, "params_object": {} });
    let mut question = json!({ "worker": "acme", "cgroup": cgroup, "outbound": given });
    for (key, value) in changes.as_object().unwrap() {
        question[key] = value.clone();
    }
    question
}

#[track_caller]
fn refused(host: &Host, changes: &Value, status: u16) -> String {
    let question = question(&host.cgroup("beside"), changes);
    let (found, answer) = host.ask_admin("POST", PATH, &question);
    assert_eq!(found, status, "{changes}: {answer}");
    assert_eq!(listed(host), Vec::<Value>::new());
    answer["error"].as_str().unwrap().to_owned()
}

#[test]
fn a_worker_that_the_namespace_does_not_have_is_not_found() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    for changes in [
        json!({ "worker": "nobody" }),
        // In the configuration, but in no namespace.
        json!({ "worker": "free" }),
        json!({ "worker": "../x" }),
        // Of a tenant that is not there the cgroup does not matter.
        json!({ "worker": "nobody", "cgroup": "/nowhere" }),
    ] {
        let error = refused(&host, &changes, 404);
        assert!(error.starts_with("Worker not found: "), "{error}");
    }
    let other = "/v1/namespaces/staging/dispatch";
    for (method, path) in [
        ("POST", other.to_owned()),
        ("GET", other.to_owned()),
        ("DELETE", format!("{other}/1")),
    ] {
        let question = question(&host.cgroup("beside"), &json!({}));
        let (status, answer) = host.ask_admin(method, &path, &question);
        assert_eq!(status, 404, "{answer}");
        assert_eq!(answer["error"], "there is no dispatch namespace staging");
    }
    let (status, answer) = host.ask_admin("DELETE", &format!("{PATH}/1"), &Value::Null);
    assert_eq!(status, 404, "{answer}");
    assert_eq!(
        answer["error"],
        "dispatch namespace production has no dispatch 1"
    );
}

#[test]
fn what_cannot_be_dispatched_is_refused_with_the_reason() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let declared = "namespace production declares plan, params_object";
    let large = "x".repeat(9_000);
    for (changes, status, words) in [
        (json!({ "cgroup": "/nowhere" }), 404, "there is no cgroup"),
        (
            json!({ "cgroup": "/.." }),
            400,
            "is not below the cgroup root",
        ),
        (
            json!({ "cgroup": null, "pid": 4_000_000 }),
            404,
            "there is no process 4000000",
        ),
        (json!({ "pid": 1 }), 400, "name the cgroup in one way"),
        (json!({ "cgroup": null }), 400, "name the cgroup in one way"),
        (
            json!({ "cgroup": null, "pid": "1" }),
            400,
            "invalid type: string",
        ),
        (
            json!({ "outbound": {} }),
            400,
            "the parameter `plan` is missing",
        ),
        (json!({ "outbound": {} }), 400, declared),
        (
            json!({ "outbound": { "plan": 1, "params_object": {}, "x": 1 } }),
            400,
            "the parameter `x` is not declared",
        ),
        (
            json!({ "outbound": { "plan": large, "params_object": {} } }),
            400,
            "8192 are the most",
        ),
        (json!({ "outbound": [1] }), 400, "invalid type: sequence"),
        (json!({ "outbuond": {} }), 400, "unknown field `outbuond`"),
        (
            json!({ "cgroup": host.cgroup("agent") }),
            409,
            "the agent itself runs in",
        ),
        (
            json!({ "cgroup": host.tenant_cgroup("free") }),
            409,
            "is tenant free's",
        ),
    ] {
        let error = refused(&host, &changes, status);
        assert!(error.contains(words), "{changes}: {error}");
    }
}
