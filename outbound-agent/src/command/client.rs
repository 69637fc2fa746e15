//! Asks a running agent, over its admin socket.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::observe::admin::view::{ConfigProblem, Problem, TenantView};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be asked for.
    #[error("`{path}` is not a path of the admin API")]
    Path {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        source: http::uri::InvalidUri,
    },
    /// Nobody listens.
    #[error("no agent answers on {socket}; start one with `outbound agent`")]
    NotRunning {
        /// Where.
        socket: String,
        /// What the system says.
        source: io::Error,
    },
    /// The file's mode says no.
    #[error("you may not talk to the agent on {socket}: be root or in the group of that file")]
    NotPermitted {
        /// Where.
        socket: String,
        /// What the system says.
        source: io::Error,
    },
    /// Something else keeps us from it.
    #[error("cannot connect to the agent on {socket}")]
    Connect {
        /// Where.
        socket: String,
        /// What the system says.
        source: io::Error,
    },
    /// It answers, and says no.
    #[error("the agent answers {status}: {message}")]
    Refused {
        /// With which status.
        status: StatusCode,
        /// In its own words.
        message: String,
        /// What is wrong with the configuration that it was to read.
        problems: Vec<ConfigProblem>,
    },
    /// The connection broke, or was never one of HTTP.
    #[error("the agent's answer broke off")]
    Http {
        /// What hyper says.
        source: hyper::Error,
    },
    /// The answer's body broke, or does not end.
    #[error("the agent's answer broke off or is too long")]
    Body {
        /// What was wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("the agent did not answer in time")]
    TimedOut,
    /// It cannot be asked.
    #[error("what the agent is to be asked cannot be written as JSON")]
    Question {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It is another version's answer, or none of ours.
    #[error("the agent's answer is not what this version of the command reads")]
    Unreadable {
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// How long a whole exchange may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// As [`TIMEOUT`], where long lists and slow secrets are read meanwhile.
const LONG_TIMEOUT: Duration = Duration::from_secs(300);
/// How long an answer may be: a hundred thousand tenants fit.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// `GET path`, as JSON.
pub async fn get_json<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Error> {
    ask(socket, Method::GET, path, Bytes::new()).await
}

/// What the agent knows of a tenant.
pub(super) async fn tenant(socket: &Path, name: &str) -> Result<TenantView, Error> {
    get_json(socket, &format!("/v1/tenants/{name}")).await
}

/// Sends JSON to `path`, and gives the answer's.
pub async fn send_json<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    question: &impl Serialize,
) -> Result<T, Error> {
    let question = serde_json::to_vec(question).map_err(|source| Error::Question { source })?;
    ask(socket, method, path, question.into()).await
}

/// `POST path` without a question, of what may take its time.
pub(super) async fn act_json<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, Error> {
    let exchange = exchange(socket, Method::POST, path, Bytes::new());
    read(
        timeout(LONG_TIMEOUT, exchange)
            .await
            .map_err(|_elapsed| Error::TimedOut)?,
    )
}

async fn ask<T: DeserializeOwned>(
    socket: &Path,
    method: Method,
    path: &str,
    question: Bytes,
) -> Result<T, Error> {
    let exchange = exchange(socket, method, path, question);
    read(
        timeout(TIMEOUT, exchange)
            .await
            .map_err(|_elapsed| Error::TimedOut)?,
    )
}

fn read<T: DeserializeOwned>(answered: Result<(StatusCode, Bytes), Error>) -> Result<T, Error> {
    let (status, body) = answered?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|source| Error::Unreadable { source });
    }
    let (message, problems) = serde_json::from_slice::<Problem>(&body).map_or_else(
        |_not_ours| (String::from_utf8_lossy(&body).trim().to_owned(), Vec::new()),
        |problem| (problem.error, problem.problems),
    );
    Err(Error::Refused {
        status,
        message,
        problems,
    })
}

async fn exchange(
    socket: &Path,
    method: Method,
    path: &str,
    question: Bytes,
) -> Result<(StatusCode, Bytes), Error> {
    let uri = path.parse::<Uri>().map_err(|source| Error::Path {
        path: path.to_owned(),
        source,
    })?;
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|source| no_connection(socket, source))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|source| Error::Http { source })?;
    let exchange = async move {
        let mut request = Request::new(Full::new(question));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request
            .headers_mut()
            .insert(HOST, HeaderValue::from_static("agent"));
        let response = sender
            .send_request(request)
            .await
            .map_err(|source| Error::Http { source })?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES);
        let body = body
            .collect()
            .await
            .map_err(|source| Error::Body { source })?;
        Ok((status, body.to_bytes()))
    };
    // The connection does the work and ends once the exchange has let go of it; what went
    // wrong with it, the exchange says.
    tokio::join!(exchange, connection).0
}

fn no_connection(socket: &Path, source: io::Error) -> Error {
    let socket = socket.display().to_string();
    match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            Error::NotRunning { socket, source }
        }
        io::ErrorKind::PermissionDenied => Error::NotPermitted { socket, source },
        _ => Error::Connect { socket, source },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as StdUnixListener;

    use serde_json::Value;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::UnixListener;

    use super::*;

    /// What the client makes of an agent that answers with `answer`.
    async fn given(answer: &str) -> Result<Value, Error> {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("admin.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let agent = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        tokio::join!(get_json(&socket, "/v1/status"), agent).0
    }

    #[tokio::test]
    async fn an_answer_is_read_whole() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{\"a\": 1}\n";
        assert_eq!(given(answer).await.unwrap()["a"], 1);
    }

    #[tokio::test]
    async fn a_problem_is_told_in_the_agents_words() {
        let answer =
            "HTTP/1.1 404 Not Found\r\ncontent-length: 21\r\n\r\n{\"error\": \"no such\"}\n";
        let error = given(answer).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the agent answers 404 Not Found: no such"
        );
    }

    #[tokio::test]
    async fn a_broken_answer_is_an_error() {
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{";
        assert!(matches!(given(cut).await, Err(Error::Body { .. })));
        assert!(matches!(
            given("SSH-2.0\r\n\r\n").await,
            Err(Error::Http { .. })
        ));
        let other = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        assert!(matches!(given(other).await, Err(Error::Unreadable { .. })));
    }

    #[tokio::test]
    async fn without_an_agent_the_error_says_where_and_what_to_do() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("admin.sock");
        let missing = get_json::<Value>(&socket, "/").await.unwrap_err();
        let text = missing.to_string();
        assert!(text.contains(&*socket.to_string_lossy()) && text.contains("`outbound agent`"));
        drop(StdUnixListener::bind(&socket).unwrap());
        let dead = get_json::<Value>(&socket, "/").await.unwrap_err();
        assert!(matches!(dead, Error::NotRunning { .. }), "{dead:?}");
    }

    #[tokio::test]
    async fn a_path_that_is_none_is_refused() {
        let asked = get_json::<Value>(Path::new("/nowhere"), "/v1/tenants/a b").await;
        assert!(matches!(asked, Err(Error::Path { .. })), "{asked:?}");
    }
}
