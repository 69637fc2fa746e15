//! The account of one HTTP exchange.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode, Version};
use uuid::Uuid;

use super::line::{Headers, Line};
use super::{
    Account, ByteCounter, Opened, Records, Watched, Who, claim, ending_of_drop, is_security_event,
};
use crate::model::addr::UpstreamAddr;
use crate::model::host::Host;
use crate::model::reason::{Ending, Reason};
use crate::model::rule::Extent;
use crate::model::target::Scheme;
use crate::observe::labels::{Kind, Use, WorkerOutcome};

/// What was asked for. Any query in `path` is left out of the log.
#[derive(Clone, Copy, Debug)]
pub struct Requested<'a> {
    /// The method.
    pub method: &'a Method,
    /// The scheme.
    pub scheme: Scheme,
    /// The host, where there is a usable one.
    pub host: Option<&'a Host>,
    /// The port, where there is one.
    pub port: Option<u16>,
    /// The path.
    pub path: &'a str,
    /// The version of HTTP.
    pub version: Version,
}

/// One exchange, from the request's head to the end of the response's body. It moves into that
/// body, which closes it; where the body is dropped early, so is the record.
#[must_use = "a record dropped without an ending is logged as aborted"]
#[derive(Debug)]
pub struct ExchangeRecord {
    records: Records,
    who: Arc<Who>,
    opened: Opened,
    request_id: Uuid,
    trace_id: Option<Box<str>>,
    dispatch: Option<Arc<str>>,
    request: Option<Request>,
    account: Account,
    status: Option<StatusCode>,
    worker: Option<Worker>,
    bytes: Arc<ByteCounter>,
    extent: Extent,
    captured_headers: Vec<(HeaderName, String)>,
    captured_query: Option<String>,
    is_closed: bool,
}

/// What an outbound worker did with an exchange or a tunnel.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) service: Arc<str>,
    pub(super) outcome: WorkerOutcome,
    pub(super) took: Duration,
}

/// [`Requested`], kept.
#[derive(Debug)]
struct Request {
    method: Method,
    scheme: Scheme,
    host: Option<Host>,
    port: Option<u16>,
    path: Box<str>,
    version: Version,
}

/// Longer paths and methods are cut in the log.
const MAX_PATH_BYTES: usize = 1024;
const MAX_METHOD_BYTES: usize = 32;

impl ExchangeRecord {
    pub(super) fn open(records: Records, who: Arc<Who>) -> Self {
        let bytes = Arc::<ByteCounter>::default();
        bytes.charge(&who.metrics);
        Self {
            records,
            who,
            opened: Opened::now(),
            request_id: Uuid::now_v7(),
            trace_id: None,
            dispatch: None,
            request: None,
            account: Account::default(),
            status: None,
            worker: None,
            bytes,
            extent: Extent::default(),
            captured_headers: Vec::new(),
            captured_query: None,
            is_closed: false,
        }
    }

    /// Its id, in replies that the agent writes and in the log.
    pub const fn request_id(&self) -> Uuid {
        self.request_id
    }

    /// The request's `traceparent`; only a well-formed one is kept, and of it the trace id.
    pub fn traceparent(&mut self, value: &str) {
        self.trace_id = trace_id(value).map(Into::into);
    }

    /// By which dispatch its tenant's parameters are what they are, if by one.
    pub fn dispatched(&mut self, dispatch: Option<&Arc<str>>) {
        self.dispatch = dispatch.map(Arc::clone);
    }

    /// What was asked for.
    pub fn request(&mut self, requested: Requested<'_>) {
        let path = requested.path.split(['?', '#']).next().unwrap_or_default();
        self.request = Some(Request {
            method: requested.method.clone(),
            scheme: requested.scheme,
            host: requested.host.cloned(),
            port: requested.port,
            path: cut(path, MAX_PATH_BYTES).into(),
            version: requested.version,
        });
    }

    /// Policy allowed it, by this rule if by one; in audit mode, with the reason for which
    /// enforce mode would have denied it.
    pub fn allowed(&mut self, rule: Option<&str>, would_deny: Option<Watched<'_>>) {
        self.account.allowed(rule, would_deny);
    }

    /// Policy denied it by this rule. That it was denied is what the ending says.
    pub fn denied_by(&mut self, rule: &str) {
        self.account.rule = Some(rule.into());
    }

    /// How much of it is logged, and what else of the request.
    pub fn captured(
        &mut self,
        extent: Extent,
        headers: Vec<(HeaderName, String)>,
        query: Option<String>,
    ) {
        self.extent = extent;
        self.captured_headers = headers;
        self.captured_query = query;
    }

    /// What became of a credential that is bound to its host. Those that went out are named in
    /// the log.
    pub fn credential(&mut self, name: &Arc<str>, used: Use) {
        self.who.metrics.credential(name, used);
        if used == Use::Injected {
            let named = match self.account.credential.take() {
                Some(before) => format!("{before},{name}").into(),
                None => Arc::clone(name),
            };
            self.account.credential = Some(named);
        }
    }

    /// What was dialled for it.
    pub const fn upstream(&mut self, address: UpstreamAddr) {
        self.account.upstream = Some(address);
    }

    /// It passed an outbound worker, which took this long until its response began.
    pub fn worker(&mut self, service: &Arc<str>, outcome: WorkerOutcome, took: Duration) {
        self.records.metrics.worker_called(service, outcome, took);
        self.worker = Some(Worker {
            service: Arc::clone(service),
            outcome,
            took,
        });
    }

    /// The status of the response, whoever wrote it.
    pub const fn status(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// Where bodies and what follows an upgrade are counted.
    pub fn bytes(&self) -> Arc<ByteCounter> {
        Arc::clone(&self.bytes)
    }

    /// It has ended.
    pub fn close(mut self, ending: Ending) {
        self.finish(ending);
    }

    fn finish(&mut self, ending: Ending) {
        self.is_closed = true;
        let verdict = self.account.verdict(ending);
        let duration = self.opened.clock.elapsed();
        self.who
            .metrics
            .exchange_closed(verdict, ending.outcome, duration);
        self.account.count(&self.who.metrics, ending);
        if self.extent == Extent::None && ending == Ending::COMPLETED {
            return;
        }
        let mut id = Uuid::encode_buffer();
        let mut line = self.line(ending);
        line.request_id = Some(self.request_id.hyphenated().encode_lower(&mut id));
        self.records.write(&line, claim(ending));
    }

    fn line(&self, ending: Ending) -> Line<'_> {
        let kind = match ending.reason {
            // HTTP without a host is what nobody sends who means well.
            Some(reason) if is_security_event(reason) || reason == Reason::NoHost => {
                Kind::SecurityEvent
            }
            Some(_) | None => Kind::Http,
        };
        let mut line = Line::new(kind, self.opened);
        line.who(&self.who);
        line.dispatch_id = self.dispatch.as_deref();
        line.network_protocol_name = Some("http");
        if let Some(request) = &self.request {
            line.network_protocol_version = version(request.version);
            line.http_request_method = Some(cut(request.method.as_str(), MAX_METHOD_BYTES));
            line.url_scheme = Some(request.scheme.label());
            line.url_path = Some(&request.path);
            if let Some(host) = &request.host {
                line.server_address = Some(host.into());
            }
            line.server_port = request.port.or(line.server_port);
        }
        line.http_response_status_code = self.status.map(|status| status.as_u16());
        line.account(&self.account, ending);
        line.carried(&self.bytes, self.opened);
        line.trace_id = self.trace_id.as_deref();
        if let Some(worker) = &self.worker {
            line.worker(&worker.service, worker.outcome.label(), worker.took);
        }
        line.url_query = self.captured_query.as_deref();
        line.http_request_headers = Headers::of(&self.captured_headers);
        line
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        if !self.is_closed {
            self.finish(ending_of_drop());
        }
    }
}

/// The text, or as much of it as whole characters within `max` bytes give.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

fn version(version: Version) -> Option<&'static str> {
    match version {
        Version::HTTP_10 => Some("1.0"),
        Version::HTTP_11 => Some("1.1"),
        Version::HTTP_2 => Some("2"),
        _ => None,
    }
}

/// The trace id of a W3C `traceparent` (Trace Context section 3.2): four lower-case
/// hexadecimal fields, the second of 32 digits that are not all 0.
fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.split('-');
    let [version, trace, parent, flags] = [(); 4].map(|()| fields.next().unwrap_or_default());
    let is_hex = |field: &str, digits: usize| {
        field.len() == digits
            && field
                .bytes()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && trace.bytes().any(|b| b != b'0')
        && is_hex(parent, 16)
        && is_hex(flags, 2)
        && (version != "00" || fields.next().is_none());
    is_valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::trace_id;

    #[test]
    fn only_a_well_formed_traceparent_is_kept() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let (upper, zero) = (trace.to_uppercase(), "0".repeat(32));
        for (text, kept) in [
            (format!("00-{trace}-b7ad6b7169203331-01"), Some(trace)),
            (format!("01-{trace}-b7ad6b7169203331-01-later"), Some(trace)),
            (format!("00-{trace}-b7ad6b7169203331-01-later"), None),
            (format!("ff-{trace}-b7ad6b7169203331-01"), None),
            (format!("00-{upper}-b7ad6b7169203331-01"), None),
            (format!("00-{zero}-b7ad6b7169203331-01"), None),
            ("hush".to_owned(), None),
        ] {
            assert_eq!(trace_id(&text), kept, "{text}");
        }
    }
}
