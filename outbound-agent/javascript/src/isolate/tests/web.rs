//! The web's interfaces: cases after the Web Platform Tests, written here, run as a worker.
//!
//! A ratchet: `RATCHET` says how many cases pass, and may only go up.

use serde_json::Value;

use super::world::{AMPLE, World};
use crate::Bindings;

/// File below `tests/web`, and cases in it that pass.
const RATCHET: [(&str, u64); 5] = [
    ("headers.js", 10),
    ("messages.js", 21),
    ("fetching.js", 15),
    ("streams.js", 33),
    ("platform.js", 22),
];

/// Rows of WPT's data on URLs that pass, of 819 and 254.
const URLS_PARSED: u64 = 779;
const URLS_SET: u64 = 244;

#[tokio::test]
async fn urls_are_parsed_and_changed_as_the_web_platform_tests_want() {
    let data = format!(
        "export const parsing = {}; export const setting = {};",
        include_str!("../../../tests/web/wpt/urltestdata.json"),
        include_str!("../../../tests/web/wpt/setters_tests.json"),
    );
    let source = include_str!("../../../tests/web/wpt.js").to_owned();
    let files = [("wpt.js".to_owned(), source), ("data.js".to_owned(), data)];
    let world = World::of(files, "wpt.js", AMPLE, Bindings::default());
    let answer: Value = serde_json::from_str(&world.answer().await).unwrap();
    let expected = serde_json::json!({"parsed": URLS_PARSED, "set": URLS_SET});
    assert_eq!(answer, expected, "the ratchet may only go up");
}

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
