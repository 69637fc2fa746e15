use serde_json::json;

use super::*;
use crate::model::worker::Values;

/// A namespace that declares these parameters.
fn declaring(given: &Values) -> String {
    let names: Vec<_> = given.keys().collect();
    format!(
        "[services.egress]\nmain = \"egress.js\"\n[[dispatch_namespaces]]\nbinding = \"b\"\n\
         namespace = \"n\"\noutbound = {{ service = \"egress\", parameters = {names:?} }}\n"
    )
}

#[test]
fn parameters_have_the_types_that_their_dispatch_gave() {
    let given = json!({ "plan": "pro", "seats": 7, "big": 18_446_744_073_709_551_615_u64,
        "half": 0.5, "on": true, "none": null, "roles": ["a", "b"], "a": { "b": "c" } });
    let given = given.as_object().unwrap();
    let judge = |when: &str| {
        let config = with("allow", when, &declaring(given));
        let mut tenant = Tenant::clone(&config.tenants[0].tenant);
        let checked = config.namespaces[0].check(given.clone()).unwrap();
        tenant.parameters = Some(Arc::new(checked));
        let facts = Facts {
            tenant: Some(&tenant),
            executable: "curl",
            scheme: Scheme::Https,
            host: &"api.test".parse().unwrap(),
            port: 443,
            request: None,
            is_foreseen: false,
        };
        told(&decide(&tenant.policy, &facts))
    };
    for when in [
        "params.plan == 'pro' && params['plan'].startsWith('p')",
        "params.seats == 7 && params.seats == 7.0 && params.seats > 5 && params.half < 1",
        "params.big > 9223372036854775807 && params.big != 9223372036854775807",
        "params.on && params.on == true && params.none == null",
        "'a' in params.roles && params.roles[1] == 'b' && size(params.roles) == 2",
        "params.roles.exists(r, r == 'b') && params.roles.all(r, r < 'c')",
        "params.a.b == 'c' && has(params.a.b) && !has(params.a.x) && 'b' in params.a",
        "params.exists(k, k == 'plan') && params.a == params.a && params.roles == params.roles",
        // Values of two types are not equal.
        "params.seats != 'x' && !(params.plan == 7)",
        "(params.on ? params.seats : 1) == 7",
    ] {
        assert_eq!(judge(when), "asked", "{when}");
    }
    for when in [
        "params.seats.startsWith('7')",
        "params.seats > 'x'",
        "params.plan",
        "params.plan.x == 1",
        "params.roles.x == 'a'",
        "params.roles[2] == 'a'",
        "params.seats.exists(r, true)",
        "'a' in params.seats",
        "size(params.seats) == 1",
        "params.none.x == 1",
    ] {
        assert_eq!(judge(when), "condition_failed: asked", "{when}");
    }
}
