//! How many cases of the Web Platform Tests pass, in files that are run as they are.
//!
//! `cargo run -p outbound-javascript --example wpt -- CHECKOUT [PART]`: the checkout is not kept
//! here. Where PART is in a file's path, its failing cases are named. `tests/web` has cases of our
//! own for all that was mended.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::future::ready;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use outbound_javascript::{
    Bindings, Body, Call, Env, Given, Host, HostError, Isolate, Jwt, Level, Limits, Local, Module,
    RequestHead, ResponseHead,
};
use serde_json::Value;
use tokio::task::LocalSet;

/// File, cases in it that pass, and all its cases, in August 2025. Left out is what asks for a
/// server, and what is about browsers alone.
const RATCHET: [(&str, usize, usize); 51] = [
    ("fetch/api/abort/request.any.js", 18, 18),
    ("fetch/api/body/formdata.any.js", 3, 3),
    ("fetch/api/body/mime-type.any.js", 20, 20),
    ("fetch/api/headers/header-setcookie.any.js", 23, 24),
    ("fetch/api/headers/headers-basic.any.js", 22, 23),
    ("fetch/api/headers/headers-casing.any.js", 4, 4),
    ("fetch/api/headers/headers-combine.any.js", 6, 6),
    ("fetch/api/headers/headers-errors.any.js", 18, 18),
    ("fetch/api/headers/headers-normalize.any.js", 3, 3),
    ("fetch/api/headers/headers-record.any.js", 10, 13),
    ("fetch/api/request/forbidden-method.any.js", 6, 6),
    (
        "fetch/api/request/request-constructor-init-body-override.any.js",
        2,
        2,
    ),
    ("fetch/api/request/request-consume-empty.any.js", 13, 14),
    ("fetch/api/request/request-consume.any.js", 45, 45),
    ("fetch/api/request/request-disturbed.any.js", 8, 9),
    ("fetch/api/request/request-error.any.js", 13, 22),
    ("fetch/api/request/request-init-002.any.js", 8, 8),
    ("fetch/api/request/request-init-contenttype.any.js", 18, 18),
    ("fetch/api/request/request-init-stream.any.js", 22, 23),
    ("fetch/api/response/response-cancel-stream.any.js", 7, 7),
    ("fetch/api/response/response-clone.any.js", 19, 21),
    ("fetch/api/response/response-consume-empty.any.js", 13, 14),
    ("fetch/api/response/response-consume-stream.any.js", 15, 15),
    (
        "fetch/api/response/response-error-from-stream.any.js",
        14,
        14,
    ),
    ("fetch/api/response/response-error.any.js", 10, 10),
    ("fetch/api/response/response-from-stream.any.js", 3, 3),
    ("fetch/api/response/response-headers-guard.any.js", 1, 1),
    ("fetch/api/response/response-init-001.any.js", 9, 9),
    ("fetch/api/response/response-init-002.any.js", 8, 8),
    (
        "fetch/api/response/response-init-contenttype.any.js",
        18,
        18,
    ),
    ("fetch/api/response/response-static-error.any.js", 2, 2),
    ("fetch/api/response/response-static-json.any.js", 16, 16),
    ("fetch/api/response/response-static-redirect.any.js", 11, 11),
    ("fetch/api/response/response-stream-bad-chunk.any.js", 6, 6),
    (
        "fetch/api/response/response-stream-disturbed-1.any.js",
        12,
        12,
    ),
    (
        "fetch/api/response/response-stream-disturbed-2.any.js",
        12,
        12,
    ),
    (
        "fetch/api/response/response-stream-disturbed-3.any.js",
        12,
        12,
    ),
    (
        "fetch/api/response/response-stream-disturbed-4.any.js",
        12,
        12,
    ),
    (
        "fetch/api/response/response-stream-disturbed-5.any.js",
        12,
        12,
    ),
    (
        "fetch/api/response/response-stream-disturbed-6.any.js",
        5,
        5,
    ),
    (
        "fetch/api/response/response-stream-disturbed-by-pipe.any.js",
        2,
        2,
    ),
    ("fetch/content-type/multipart-malformed.any.js", 1, 1),
    ("xhr/formdata/append.any.js", 7, 7),
    ("xhr/formdata/constructor.any.js", 1, 1),
    ("xhr/formdata/delete.any.js", 3, 3),
    ("xhr/formdata/foreach.any.js", 4, 4),
    ("xhr/formdata/get.any.js", 6, 6),
    ("xhr/formdata/has.any.js", 3, 3),
    ("xhr/formdata/iteration.any.js", 3, 3),
    ("xhr/formdata/set-blob.any.js", 5, 5),
    ("xhr/formdata/set.any.js", 7, 7),
];

/// The name of a case, and how it failed.
type Case = (String, Option<String>);

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let root = PathBuf::from(arguments.next().ok_or("which checkout?")?);
    let part = arguments.next();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout().lock();
    let mut folders: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut others = 0;
    for (file, passed, total) in RATCHET {
        let cases = runtime.block_on(LocalSet::new().run_until(run(&root, file)))?;
        let failed = cases
            .iter()
            .filter_map(|(name, failure)| Some((name, failure.as_ref()?)));
        let found = (cases.len() - failed.clone().count(), cases.len());
        if found != (passed, total) {
            others += 1;
            writeln!(out, "{file}: {found:?} instead of {:?}", (passed, total))?;
        }
        if part.as_ref().is_some_and(|part| file.contains(part)) {
            for (name, failure) in failed {
                writeln!(out, "{file}: {name}: {failure}")?;
            }
        }
        let folder = file.rsplit_once('/').map_or("", |(folder, _name)| folder);
        let sum = folders.entry(folder).or_default();
        *sum = (sum.0 + found.0, sum.1 + found.1);
    }
    for (folder, (passed, total)) in folders {
        writeln!(out, "{passed:>4} of {total:>4}  {folder}")?;
    }
    if others > 0 {
        return Err(
            format!("{others} files are not as the table says, which may only go up").into(),
        );
    }
    Ok(())
}

async fn run(root: &Path, file: &str) -> Result<Vec<Case>, Box<dyn Error>> {
    let harness = include_str!("../tests/web/testharness.js").to_owned();
    let files = [
        ("testharness.js".to_owned(), harness),
        ("case.js".to_owned(), source(root, file)?),
    ];
    let limits = Limits {
        cpu: Duration::from_secs(20),
        ..Limits::default()
    };
    let module = Module::load(files, "testharness.js", limits)?;
    let isolate = Isolate::new(&module, &Bindings::default(), Rc::new(Origin))?;
    let call = Call {
        number: 1,
        request: RequestHead {
            method: Method::GET,
            url: "https://json.test/".to_owned(),
            headers: (&HeaderMap::new()).into(),
        },
        body: Body::Empty,
        env: Env::default(),
    };
    let Given::Response(_, Body::Bytes(answer)) = isolate.fetch(call).await?.given else {
        return Err(format!("{file}: no answer").into());
    };
    let answer: Vec<Value> = serde_json::from_slice(&answer)?;
    let text = |case: &Value, part: &str| case[part].as_str().map(ToOwned::to_owned);
    let case = |case: &Value| {
        (
            text(case, "name").unwrap_or_default(),
            text(case, "failure"),
        )
    };
    Ok(answer.iter().map(case).collect())
}

/// A file, after the scripts that it asks for.
fn source(root: &Path, file: &str) -> Result<String, std::io::Error> {
    let path = root.join(file);
    let source = fs::read_to_string(&path)?;
    let scripts = source
        .lines()
        .filter_map(|line| line.strip_prefix("// META: script="));
    let mut all = String::new();
    for script in scripts {
        let script = match script.strip_prefix('/') {
            Some(script) => root.join(script),
            None => path.with_file_name(script),
        };
        all += &fs::read_to_string(script)?;
        all.push('\n');
    }
    Ok(all + &source)
}

/// Answers everything with the same JSON.
struct Origin;

impl Host for Origin {
    fn fetch(
        &self,
        _call: u64,
        _head: RequestHead,
        _body: Body,
    ) -> Local<Result<(ResponseHead, Body), HostError>> {
        let head = ResponseHead {
            status: StatusCode::OK,
            status_text: None,
            headers: (&HeaderMap::new()).into(),
        };
        let body = Body::Bytes(Bytes::from_static(b"{\"a\":[1,2]}"));
        Box::pin(ready(Ok((head, body))))
    }

    fn read(&self, _handle: u64) -> Local<Result<Option<Bytes>, HostError>> {
        Box::pin(ready(Ok(None)))
    }

    fn cancel(&self, _handle: u64) {}

    fn console(&self, _call: u64, _level: Level, _text: &str) {}

    fn sign_jwt(
        &self,
        _secret: &str,
        _claims: Value,
        _expires_in: Option<Duration>,
    ) -> Local<Result<Jwt, HostError>> {
        Box::pin(ready(Err(HostError::new("there are no secrets"))))
    }
}
