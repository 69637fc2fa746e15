//! What may stand only in some places: marks of unfinished work, exceptions, foreign crates.

use super::source::{Source, words};

/// Crates that only some modules of the agent know, so that one can be replaced without
/// reading the rest: name of the crate, then the modules below `outbound-agent/src/`.
const KNOWN_BY: [(&[&str], &[&str]); 5] = [
    (&["aya", "aya_log", "aya_obj"], &["redirect", "sys"]),
    (
        &["hyper", "hyper_util"],
        &[
            "path/http",
            "path/upstream",
            "path/worker/call",
            "observe/admin",
            "command/client",
            "drain",
        ],
    ),
    (&["prometheus"], &["observe/metrics"]),
    (
        &["rustls", "tokio_rustls", "rcgen", "x509_parser"],
        &[
            "path/tls",
            "path/detect",
            "path/upstream",
            "model/certificates",
        ],
    ),
    (&["anyhow"], &["main", "command", "app/daemon"]),
];

/// Where `unsafe` may stand.
const UNSAFE: [&str; 5] = [
    "outbound-ebpf/src",
    "outbound-common/src/pod",
    "outbound-agent/javascript/src/module/file",
    "outbound-agent/javascript/src/native/bytes",
    "outbound-agent/src/sys",
];

pub(super) fn complaints(source: &Source) -> Vec<String> {
    let mut complaints = unfinished(source);
    complaints.extend(exceptions(source));
    complaints.extend(foreign_crates(source));
    complaints
}

/// A mark of unfinished work names the issue in which the work is.
fn unfinished(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for word in words(&source.comments) {
        if !["TODO", "FIXME", "XXX", "HACK"].contains(&word.text) {
            continue;
        }
        let line = source.comments[word.start..]
            .lines()
            .next()
            .unwrap_or_default();
        let names_issue = line
            .split('#')
            .skip(1)
            .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if !names_issue {
            complaints.push(source.complaint(word.start, &format!("{} names no issue", word.text)));
        }
    }
    complaints
}

fn exceptions(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    for word in words(&source.code) {
        let before = source.code[..word.start].trim_end();
        if word.text == "ignore" && before.ends_with("#[") {
            complaints.push(source.complaint(word.start, "no test is ignored"));
        }
        let lifts = word.text == "unsafe_code" || word.text == "unsafe";
        if lifts && !UNSAFE.iter().any(|place| is_within(&source.path, place)) {
            let text = format!("unsafe code stands in {} alone", UNSAFE.join(", "));
            complaints.push(source.complaint(word.start, &text));
        }
    }
    complaints
}

fn foreign_crates(source: &Source) -> Vec<String> {
    let Some(module) = source.path.strip_prefix("outbound-agent/src/") else {
        return Vec::new();
    };
    if module.contains("/tests/") || module.ends_with("/tests.rs") {
        return Vec::new();
    }
    let code = source.production_code();
    let mut complaints = Vec::new();
    for word in words(&code) {
        let is_root = code[word.start + word.text.len()..].starts_with("::")
            && !code[..word.start].ends_with("::");
        let rule = KNOWN_BY
            .iter()
            .find(|(crates, _modules)| crates.contains(&word.text));
        let Some((_crates, modules)) = rule.filter(|_rule| is_root) else {
            continue;
        };
        if !modules.iter().any(|place| is_within(module, place)) {
            let text = format!("{} is known by {} alone", word.text, modules.join(", "));
            complaints.push(source.complaint(word.start, &text));
        }
    }
    complaints
}

/// `path/http.rs` and `path/http/body.rs` are within `path/http`.
fn is_within(file: &str, module: &str) -> bool {
    file.strip_prefix(module)
        .is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn count(path: &str, text: &str) -> usize {
        complaints(&Source::new(path.to_owned(), text.to_owned())).len()
    }

    #[test]
    fn unfinished_work_names_an_issue() {
        let mark = "TODO";
        assert_eq!(count("a.rs", &format!("// {mark}: later")), 1);
        assert_eq!(count("a.rs", &format!("// {mark}(#12): later")), 0);
        assert_eq!(count("a.rs", &format!("let a = \"{mark}\";")), 0);
    }

    #[test]
    fn no_test_is_ignored() {
        assert_eq!(count("a.rs", "#[ignore]\nfn a() {}"), 1);
        assert_eq!(count("a.rs", "#[ignore = \"slow\"]\nfn a() {}"), 1);
        assert_eq!(count("a.rs", "fn ignore() {}"), 0);
    }

    #[test]
    fn unsafe_code_has_its_places() {
        assert_eq!(count("outbound-agent/src/sys.rs", "unsafe { f() }"), 0);
        assert_eq!(count("outbound-agent/src/sys/bpf.rs", "unsafe { f() }"), 0);
        assert_eq!(count("outbound-agent/src/system.rs", "unsafe { f() }"), 1);
        assert_eq!(count("outbound-agent/src/app.rs", "unsafe { f() }"), 1);
        assert_eq!(count("tests/harness/lib.rs", "#![expect(unsafe_code)]"), 1);
    }

    #[test]
    fn a_crate_is_known_by_its_modules_alone() {
        let hyper = "use hyper::body::Body;";
        assert_eq!(count("outbound-agent/src/path/http/body.rs", hyper), 0);
        assert_eq!(count("outbound-agent/src/path/http.rs", hyper), 0);
        assert_eq!(count("outbound-agent/src/path/httpd.rs", hyper), 1);
        assert_eq!(count("outbound-agent/src/connection.rs", hyper), 1);
        assert_eq!(count("tests/harness/origin.rs", hyper), 0);
        assert_eq!(
            count("outbound-agent/src/app.rs", "mod hyper; use a::hyper::B;"),
            0
        );
    }
}
