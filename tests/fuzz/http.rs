//! Requests of HTTP/1 as they come: which of them go out to their end, whom they are for and how
//! long they are does not depend on how they are cut; and what is canonical stays as it is.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ::http::{Request, Response};
use http_body_util::BodyExt as _;
use outbound_agent::drain::Tasks;
use outbound_agent::model::addr::OriginalDst;
use outbound_agent::model::reason::Reason;
use outbound_agent::model::stop::Stop;
use outbound_agent::model::target::Scheme;
use outbound_agent::path::http::body::Body;
use outbound_agent::path::http::normalize::{Asked, normalize};
use outbound_agent::path::http::{Asking, Limits, serve};

use crate::stream::{Stream, wait};
use crate::{Target, hash};

pub(crate) const TARGET: Target = Target {
    name: "http",
    dictionary: &[
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b"\0",
        b"Host: api.test\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: +3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"transfer-encoding:\x0bchunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;x=\"y\"\r\n",
        b"GET / HTTP/1.1\r\n",
        b"POST http://api.test/ HTTP/1.1\r\n",
        b"HTTP/1.0",
        b"/../%2e%2e/%2f//",
        b"%00",
        b"[::1]",
        b"@",
        b":80",
    ],
    run,
};

/// A request as the story of the exchange would see it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: String,
    /// What it asks for, where it is not refused.
    asked: Option<Asked>,
    /// Length of its body, where it ended well.
    body: Option<usize>,
}

fn run(input: &[u8]) -> u64 {
    let whole = wait(read(Stream::whole(input)));
    let pieces = wait(read(Stream::in_pieces(input)));
    // What is wrong further on is seen before the request is answered, or while its body goes out.
    let whole_ones = |all: &[Seen]| {
        let is_whole = |seen: &&Seen| seen.asked.is_some() && seen.body.is_some();
        all.iter().filter(is_whole).cloned().collect::<Vec<_>>()
    };
    let (sent, again_sent) = (whole_ones(&whole), whole_ones(&pieces));
    assert_eq!(sent, again_sent, "it depends on how the bytes come");
    let mut ending = Vec::new();
    for seen in &whole {
        if let Some(asked) = &seen.asked {
            assert_eq!(again(asked).as_ref(), Ok(asked), "a request of two forms");
        }
        ending.push((seen.asked.is_some(), seen.body.is_some()));
    }
    hash((ending.len().min(4), ending.first(), ending.last()))
}

async fn read(stream: Stream) -> Vec<Seen> {
    let limits = Limits {
        request_header: Duration::from_secs(3600),
        body_idle: Duration::from_secs(3600),
        expect_continue: Duration::from_secs(3600),
        header_bytes: 16 << 10,
        headers: 32,
        http2_streams: 8,
        dead_peer: Duration::from_secs(3600),
    };
    let (seen, tasks) = (Arc::<Mutex<Vec<Seen>>>::default(), Tasks::new());
    let kept = Arc::clone(&seen);
    let handle = move |request: Asking| {
        let kept = Arc::clone(&kept);
        async move {
            let method = request.method().to_string();
            let asked = normalize(&request, Scheme::Http, destination()).ok();
            let body = request.into_body().collect().await;
            let body = body.ok().map(|body| body.to_bytes().len());
            kept.lock().unwrap().push(Seen {
                method,
                asked,
                body,
            });
            Response::new(Body::empty())
        }
    };
    let _ending = serve(stream, limits, (&tasks, &Stop::default()), handle).await;
    let seen = seen.lock().unwrap();
    seen.clone()
}

/// The same request, written as the agent understood it.
fn again(asked: &Asked) -> Result<Asked, Reason> {
    let host = match &asked.host {
        outbound_agent::model::host::Host::Address(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
        host => host.to_string(),
    };
    let request = Request::get(&*asked.path).header("host", host).body(());
    // What a path may hold, a target may.
    normalize(&request.unwrap(), asked.scheme, destination())
}

fn destination() -> OriginalDst {
    OriginalDst(([192, 0, 2, 1], 80).into())
}
