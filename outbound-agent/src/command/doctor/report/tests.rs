use super::*;

fn report(json: bool, checks: &[Check]) -> (String, u8) {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out, json);
    report.section("Host").unwrap();
    report.section("Fence: what it is").unwrap();
    for check in checks {
        report.add(check.clone()).unwrap();
    }
    let code = report.finish().unwrap();
    (String::from_utf8(out).unwrap(), code)
}

fn check(state: State) -> Check {
    Check::new("tcp4", "TCP over IPv4", state).says("as seen")
}

#[test]
fn columns_begin_where_those_above_them_do() {
    let long = Check::new("x", "a title of some length", State::Failed)
        .says("as seen")
        .remedy("do something");
    let (text, _) = report(false, &[check(State::Passed), check(State::Skipped), long]);
    let column = |line: &str, what: &str| line.split(what).next().unwrap().chars().count();
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("as seen"))
        .collect();
    assert_eq!(lines.len(), 3);
    for line in &lines {
        assert_eq!(
            column(line, "as seen"),
            column(lines[0], "as seen"),
            "{text}"
        );
    }
    let remedy = text.lines().find(|line| line.contains('→')).unwrap();
    assert_eq!(column(remedy, "→"), column(lines[0], "as seen"), "{text}");
    assert!(
        text.ends_with("\n1 passed, 1 failed, 1 skipped\n"),
        "{text}"
    );
}

#[test]
fn what_is_open_or_absent_does_not_fail() {
    let (text, code) = report(
        false,
        &[
            check(State::Passed),
            check(State::Open),
            check(State::Skipped),
        ],
    );
    assert_eq!(code, 0);
    assert!(text.contains("! TCP over IPv4"), "{text}");
    assert!(text.contains("open: as seen"), "{text}");
    assert!(
        text.contains("1 passed, 0 failed, 1 open, 1 skipped"),
        "{text}"
    );
}

#[test]
fn what_is_not_proven_fails() {
    for state in [State::Failed, State::NotProven] {
        assert_eq!(report(false, &[check(State::Passed), check(state)]).1, 1);
    }
}

#[test]
fn the_document_says_the_same_to_programs() {
    let failed = Check {
        closed_by: Some("connect4"),
        ..check(State::NotProven).remedy("look")
    };
    let (text, code) = report(true, &[check(State::Passed), failed]);
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(code, 1);
    assert_eq!(document["passed"], false);
    assert_eq!(document["sections"][0]["section"], "Host");
    let fence = &document["sections"][1];
    assert_eq!(fence["section"], "Fence");
    assert_eq!(
        fence["checks"][0],
        serde_json::json!({
            "name": "tcp4", "title": "TCP over IPv4", "state": "passed", "text": "as seen",
        })
    );
    assert_eq!(fence["checks"][1]["state"], "not_proven");
    assert_eq!(fence["checks"][1]["closed_by"], "connect4");
    assert_eq!(fence["checks"][1]["remedy"], "look");
}
