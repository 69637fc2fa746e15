//! The schema of the configuration, as editors read it: by Python's jsonschema.

use std::process::Command;

use super::interpreter;

/// Takes the example with every key written, and refuses what the agent refuses too.
const JUDGE: &str = r#"
import json, re, sys, tomllib
from jsonschema import Draft202012Validator
schema, example, readme = (open(path).read() for path in sys.argv[1:])
schema = json.loads(schema)
Draft202012Validator.check_schema(schema)
judge = Draft202012Validator(schema)
key = re.compile(r"^# (?=\[|[\w\".-]+ = )", re.M)
whole = tomllib.loads(key.sub("", example))
assert len(whole) == 12, sorted(whole)
block = re.search(r"\n## Configure\n.*?```toml\n(.*?)```", readme, re.S)
for right in [whole, tomllib.loads(block[1])]:
    for error in judge.iter_errors(right):
        raise SystemExit(f"{error.json_path}: {error.message}")
for wrong in [
    "polices = {}",
    "agent = { admin_sockets = '/run/outbound.sock' }",
    "agent = { threads = '2' }",
    "agent = { log_level = 'loud' }",
    "policies.p.mode = 'maybe'",
    "policies.p.rules = [{ name = 'r', action = 'allow' }]",
    "credentials.c = { type = 'bearer', hosts = ['a.test'], secret = 'hunter2' }",
    "credentials.c = { type = 'mtls', hosts = ['a.test'], username = 'me' }",
    "tenants = [{ name = 'acme' }]",
]:
    assert not judge.is_valid(tomllib.loads(wrong)), wrong
print("judged")
"#;

#[test]
fn the_schema_takes_the_example_and_refuses_what_the_agent_refuses() {
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let files = [
        "outbound-agent/docs/outbound.schema.json",
        "outbound-agent/outbound.example.toml",
        "README.md",
    ];
    let judged = Command::new(interpreter())
        .args(["-c", JUDGE])
        .args(files.map(|file| format!("{repository}/{file}")))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&judged.stderr);
    assert_eq!(judged.stdout, b"judged\n", "{told}");
}
