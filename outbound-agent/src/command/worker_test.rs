//! `outbound worker test`: a module is run once, and what it did is told.

use std::fmt::Write as _;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde_json::Value;

use super::output::say;
use crate::cli::WorkerTest;
use crate::model::worker::Values;
use crate::path::worker::host::trial::{self, Canned, Fetched, Report, Trial};

/// Runs the command: success where the module gives a response.
pub(super) fn run(args: &WorkerTest) -> anyhow::Result<ExitCode> {
    let trial = trial(args)?;
    let main = trial.main.display().to_string();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(trial::run(trial));
    let report = report.with_context(|| format!("cannot read {main}"))?;
    match args.json {
        true => say(serde_json::to_string(&report)? + "\n")?,
        false => say(told(&report))?,
    }
    Ok(match (&report.response, &report.error) {
        (Some(_), None) => ExitCode::SUCCESS,
        (Some(_) | None, Some(_) | None) => ExitCode::FAILURE,
    })
}

fn trial(args: &WorkerTest) -> anyhow::Result<Trial> {
    let (method, url) = request(&args.request)?;
    let mut env = Values::new();
    let parameters = pairs("--param", &args.parameters)?;
    let vars = pairs("--var", &args.vars)?;
    let members = parameters.values().filter_map(Value::as_object).flatten();
    for (name, value) in parameters.iter().chain(&vars).chain(members) {
        if !args.secrets.contains(name) {
            env.entry(name).or_insert_with(|| value.clone());
        }
    }
    let answers = args.answers.iter().map(|written| canned(written));
    Ok(Trial {
        main: args.main.clone(),
        entrypoint: args.entrypoint.clone(),
        method,
        url,
        headers: headers(&args.headers)?,
        body: body(args.body.as_deref())?,
        env,
        secrets: args.secrets.clone(),
        caches: args.caches.clone(),
        answers: answers.collect::<anyhow::Result<_>>()?,
        refuses_others: args.refuse_fetches,
    })
}

fn request(written: &str) -> anyhow::Result<(Method, String)> {
    let wrong =
        || anyhow!("--request {written:?}: write a method, a space, and an http or https URL");
    let (method, url) = written.trim().split_once(' ').ok_or_else(wrong)?;
    let parsed: Uri = url.trim().parse().map_err(|_invalid| wrong())?;
    if !matches!(parsed.scheme_str(), Some("http" | "https")) {
        return Err(wrong());
    }
    let method = method.parse().map_err(|_invalid| wrong())?;
    Ok((method, parsed.to_string()))
}

fn headers(written: &[String]) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for field in written {
        let parts = field.split_once(':').and_then(|(name, value)| {
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name, HeaderValue::from_str(value.trim()).ok()?))
        });
        let (name, value) =
            parts.ok_or_else(|| anyhow!("--header {field:?}: write NAME: VALUE"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn body(written: Option<&str>) -> anyhow::Result<Bytes> {
    match written.map(|text| (text, text.strip_prefix('@'))) {
        None => Ok(Bytes::new()),
        Some((_, Some(file))) => read(file),
        Some((text, None)) => Ok(Bytes::from(text.to_owned())),
    }
}

/// Names and what they stand for: JSON where it is some, text where it is not.
fn pairs(option: &str, written: &[String]) -> anyhow::Result<Values> {
    let mut pairs = Values::new();
    for pair in written {
        let Some((name, value)) = pair.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            bail!("{option} {pair:?}: write NAME=VALUE");
        };
        let value = serde_json::from_str(value).unwrap_or_else(|_text| value.into());
        pairs.insert(name.to_owned(), value);
    }
    Ok(pairs)
}

fn canned(written: &str) -> anyhow::Result<Canned> {
    let wrong = || {
        anyhow!(
            "--fetch-response {written:?}: write URL=STATUS or URL=STATUS:FILE, STATUS 200 to 599"
        )
    };
    let (url, answer) = written.rsplit_once('=').ok_or_else(wrong)?;
    let (status, file) = match answer.split_once(':') {
        Some((status, file)) => (status, Some(file)),
        None => (answer, None),
    };
    let status: StatusCode = status.parse().map_err(|_invalid| wrong())?;
    if !(200..600).contains(&status.as_u16()) {
        return Err(wrong());
    }
    Ok(Canned {
        url: url.to_owned(),
        status,
        body: file.map_or_else(|| Ok(Bytes::new()), read)?,
    })
}

fn read(file: &str) -> anyhow::Result<Bytes> {
    let read = fs::read(file).with_context(|| format!("cannot read {file}"));
    read.map(Bytes::from)
}

/// What the module did, in the order in which it is asked about.
fn told(report: &Report) -> String {
    let mut text = String::new();
    for line in &report.console {
        push(
            &mut text,
            &format!("console   {:<5} {}", line.level, line.text),
        );
    }
    for fetched in &report.fetches {
        tell_fetch(&mut text, fetched);
    }
    if let Some(response) = &report.response {
        push(&mut text, &format!("response  {}", response.status));
        tell_fields(&mut text, &response.headers);
        if !response.body.is_empty() {
            push(
                &mut text,
                &format!("          {}", indented(&response.body)),
            );
        }
    }
    if let Some(error) = &report.error {
        push(&mut text, &format!("error     {}", indented(error)));
    }
    if report.cut > 0 {
        push(
            &mut text,
            &format!("cut       {} tasks or bodies before their end", report.cut),
        );
    }
    let used = format!(
        "used      {:.3} ms on a processor, {:.1} ms in all, {} KiB of heap",
        report.cpu_ms,
        report.wall_ms,
        report.heap_bytes / 1024
    );
    push(&mut text, &used);
    text
}

fn tell_fetch(text: &mut String, fetched: &Fetched) {
    let status = fetched
        .status
        .map_or_else(|| "refused".to_owned(), |status| status.to_string());
    let Fetched { method, url, .. } = fetched;
    push(text, &format!("fetch     {method} {url} -> {status}"));
    tell_fields(text, &fetched.headers);
    if let Some(body) = &fetched.body {
        push(text, &format!("          {}", indented(body)));
    }
}

fn tell_fields(text: &mut String, fields: &[(String, String)]) {
    for (name, value) in fields {
        push(text, &format!("          {name}: {value}"));
    }
}

fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n          ")
}

fn push(text: &mut String, line: &str) {
    // A string takes every write.
    writeln!(text, "{line}").ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_wrongly_is_told_with_what_is_accepted() {
        let told = |wrong: anyhow::Result<()>| wrong.unwrap_err().to_string();
        let asked = |text: &str| told(request(text).map(drop));
        assert!(asked("GET").starts_with("--request \"GET\": write a method"));
        assert!(asked("GET /v1").contains("an http or https URL"));
        assert!(told(headers(&["x".to_owned()]).map(drop)).ends_with("write NAME: VALUE"));
        assert!(told(pairs("--var", &["=1".to_owned()]).map(drop)).ends_with("write NAME=VALUE"));
        assert!(told(canned("https://a.test/=99").map(drop)).contains("STATUS 200 to 599"));
    }

    #[test]
    fn values_are_json_or_text() {
        let pairs = pairs("--var", &["a={\"b\":1}".to_owned(), "c=x=y".to_owned()]).unwrap();
        assert_eq!(
            Value::Object(pairs),
            serde_json::json!({"a": {"b": 1}, "c": "x=y"})
        );
    }

    #[test]
    fn an_answer_is_for_urls_that_begin_so() {
        let canned = canned("https://a.test/?q=1=404").unwrap();
        assert_eq!(
            (&*canned.url, canned.status.as_u16()),
            ("https://a.test/?q=1", 404)
        );
    }
}
