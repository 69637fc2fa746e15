//! The web's interfaces: cases after the Web Platform Tests, written here, run as a worker.
//!
//! A ratchet: `RATCHET` says how many cases pass, and may only go up.

use serde_json::Value;

use super::world::{AMPLE, World};
use crate::Bindings;

/// File below `tests/web`, and cases in it that pass.
const RATCHET: [(&str, u64); 5] = [
    ("headers.js", 10),
    ("messages.js", 18),
    ("fetching.js", 12),
    ("streams.js", 25),
    ("platform.js", 19),
];

#[tokio::test]
async fn the_web_platform_cases_pass() {
    for (file, expected) in RATCHET {
        let world = World::of_files(&[file, "harness.js"], AMPLE, Bindings::default());
        let answer: Value = serde_json::from_str(&world.answer().await).unwrap();
        assert_eq!(answer["failed"], Value::from(Vec::<Value>::new()), "{file}");
        assert_eq!(
            answer["passed"], expected,
            "{file}: the ratchet may only go up"
        );
    }
}
