use super::*;

#[track_caller]
fn count(module: &str, text: &str) -> usize {
    let path = format!("outbound-agent/src/{module}.rs");
    complaints(&Source::new(path, text.to_owned())).len()
}

#[test]
fn a_module_imports_what_its_row_allows() {
    assert_eq!(count("config/check", "use crate::model::host::Host;"), 0);
    assert_eq!(count("config/check", "use super::raw::Raw;"), 0);
    assert_eq!(count("model/host", "use crate::config::Config;"), 1);
    assert_eq!(count("observe/metrics", "use crate::path::http::Facts;"), 1);
    assert_eq!(
        count(
            "app",
            "use crate::path::http; use crate::redirect::Redirect;"
        ),
        0
    );
}

#[test]
fn a_story_knows_the_record_and_not_the_metrics() {
    assert_eq!(
        count("exchange", "use crate::observe::record::ExchangeRecord;"),
        0
    );
    assert_eq!(
        count("exchange", "use crate::observe::metrics::Metrics;"),
        1
    );
}

#[test]
fn a_path_within_an_expression_counts_too() {
    assert_eq!(count("model/host", "fn a() { crate::app::run() }"), 1);
}

#[test]
fn groups_are_taken_apart() {
    let text = "use crate::{model::{host::Host, tenant::{self, Tenant}}, app::App as A, config};";
    assert_eq!(count("redirect/flows", text), 1);
}

#[test]
fn stages_hand_over_types_and_call_no_sibling() {
    assert_eq!(
        count("path/identify", "use crate::path::accept::Accepted;"),
        0
    );
    assert_eq!(count("path/identify", "use super::accept::Accepted;"), 0);
    assert_eq!(
        count("path/http/body", "use super::super::detect::Detected;"),
        0
    );
    assert_eq!(
        count("path/upstream", "use crate::path::policy::decide;"),
        1
    );
    assert_eq!(count("path/policy", "use crate::path::upstream::Error;"), 1);
    assert_eq!(
        count("path/http/reply", "use crate::path::http::normalize;"),
        0
    );
}

#[test]
fn stages_may_not_know_the_stories() {
    assert_eq!(count("path/upstream", "use crate::exchange::handle;"), 1);
}

#[test]
fn tests_may_import_what_they_like() {
    assert_eq!(
        count(
            "model/host",
            "#[cfg(test)]\nmod tests { use crate::app::App; }"
        ),
        0
    );
    assert_eq!(count("model/host/tests", "use crate::app::App;"), 0);
}

#[test]
fn a_new_module_needs_a_row() {
    assert_eq!(count("helpers", ""), 1);
}

#[test]
fn a_row_covers_what_is_below_its_module() {
    let text = "use crate::tenants::Assignments;";
    assert_eq!(count("app/daemon", text), 0);
    assert_eq!(count("command/run", text), 1);
}
