use harness::sandbox::eventually;
use serde_json::Value;

use super::{Asker, dispatch, host, origin};

const SAYS: &str = "export default { fetch(request, env) {
    console.log('it is', env.plan);
    if (env.plan === 'wrong') throw new Error('of the operator');
    return new Response(JSON.stringify({ plan: env.plan }));
} }";

/// What its operator learns of a module, and its tenants do not.
#[test]
fn what_a_module_says_and_what_is_amiss_in_it_is_in_the_diagnostics() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    host.write("conf.d/egress/worker.js", SAYS);
    let agent = host.agent();
    let told = |words: &[&str]| {
        eventually(&format!("{words:?}"), || {
            let complaints = agent.process().complaints();
            let has_all = |line: &&str| words.iter().all(|word| line.contains(word));
            complaints.lines().find(has_all).map(str::to_owned)
        })
    };
    let cgroup = host.cgroup("beside");
    let asker = Asker::start(&host, &cgroup);
    dispatch(&host, &cgroup, "first");
    assert_eq!(asker.plan(), "first");
    told(&["console", "it is first", "egress", "acme"]);
    // What does not load leaves the last good one, and says where.
    host.write(
        "conf.d/egress/worker.js",
        "export default {\n  fetch() { return } }\n  }",
    );
    told(&["does not load", "worker.js:3:3", "egress"]);
    assert_eq!(asker.plan(), "first");
    dispatch(&host, &cgroup, "wrong");
    let reply = asker.ask();
    assert!(!reply.contains("of the operator"), "{reply}");
    let body = reply.split_once(' ').unwrap().1;
    let body: Value = serde_json::from_str(body).unwrap();
    let request = body["request_id"].as_str().unwrap();
    told(&["of the operator", request, "acme", "egress"]);
    told(&["worker.js:3:", "fetch"]);
}
