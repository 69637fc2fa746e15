//! Which path is answered with what.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::events::Events;
use super::operation::{Operation, Served};
use super::view::{AssignmentList, DispatchList, Health, Problem, Ready, TenantList};
use super::{Admin, Refused, Subject, openapi};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// The metrics address: nothing that names a tenant's settings.
    Metrics,
    /// The Unix socket: everything.
    Admin,
}

/// What a body may fail with.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Body = Either<Full<Bytes>, Events>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// How long a question may be.
const MAX_QUESTION_BYTES: usize = 64 << 10;

pub(super) async fn answer<B>(
    admin: &Admin,
    surface: Surface,
    request: Request<B>,
) -> Response<Body>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    let Some((served, names)) = Served::find(surface, request.uri().path()) else {
        return problem(StatusCode::NOT_FOUND, "nothing is served under this path");
    };
    let Some(offer) = served.offer(request.method().as_str()) else {
        return other_method(served);
    };
    let mut names = names.into_iter();
    let mut name = || names.next().unwrap_or_default();
    match offer.operation {
        Operation::Metrics => response(StatusCode::OK, METRICS, full(admin.metrics.text())),
        Operation::Healthz => json(StatusCode::OK, &Health::default()),
        Operation::Readyz => readyz(admin),
        Operation::OpenApi => response(StatusCode::OK, JSON, full(openapi::text())),
        Operation::Status => json(StatusCode::OK, &admin.subject.status()),
        Operation::Tenants => tenants(admin),
        Operation::Tenant => match admin.subject.tenant(&name()) {
            Some(tenant) => json(StatusCode::OK, &tenant),
            None => problem(StatusCode::NOT_FOUND, "there is no tenant of this name"),
        },
        Operation::ListenIn => {
            let name = name();
            act(admin, request, move |it, asked| it.listen_in(&name, asked)).await
        }
        Operation::Assignments => assignments(admin),
        Operation::Assign => act(admin, request, |it, asked| it.assign(&asked)).await,
        Operation::Unassign => act(admin, request, |it, asked| it.unassign(&asked)).await,
        Operation::Dispatches => {
            let all = admin.subject.dispatches(&name());
            answered(all, |dispatches| DispatchList { dispatches })
        }
        Operation::Dispatch => dispatch(admin, request, name()).await,
        Operation::Dispatched => {
            read_to_end(request).await;
            answered(admin.subject.dispatched(&name(), &name()), |one| one)
        }
        Operation::EndDispatch => {
            read_to_end(request).await;
            let (namespace, id) = (name(), name());
            on_a_thread(admin, move |it| it.end_dispatch(&namespace, &id)).await
        }
        Operation::Check => act(admin, request, |it, asked| it.check(&asked)).await,
        Operation::Reload => on_a_thread(admin, |it| it.reload()).await,
        Operation::Events => events(admin, request.uri().query()),
    }
}

fn other_method(served: &Served) -> Response<Body> {
    let methods = served.methods();
    let error = format!("this path takes {methods} only");
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &error);
    if let Ok(methods) = HeaderValue::try_from(methods) {
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Does what the body says, on a thread that may block.
async fn act<B, Q, A>(
    admin: &Admin,
    request: Request<B>,
    action: impl FnOnce(&dyn Subject, Q) -> Result<A, Refused> + Send + 'static,
) -> Response<Body>
where
    B: HttpBody<Error: Into<BoxError>>,
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
{
    let body = Limited::new(request.into_body(), MAX_QUESTION_BYTES);
    let Ok(body) = body.collect().await else {
        let error = "the request's body broke off or is too long";
        return problem(StatusCode::BAD_REQUEST, error);
    };
    let question = match read(&body.to_bytes()) {
        Ok(question) => question,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error),
    };
    on_a_thread(admin, move |subject| action(subject, question)).await
}

/// Reads a question; what is wrong with it is said with the key that it stands under.
fn read<Q: DeserializeOwned>(body: &[u8]) -> Result<Q, String> {
    let text = &mut serde_json::Deserializer::from_slice(body);
    let question = serde_path_to_error::deserialize(&mut *text).map_err(|error| {
        let key = error.path().to_string();
        match &*key {
            "." | "?" => error.into_inner().to_string(),
            key => format!("{key}: {}", error.inner()),
        }
    })?;
    text.end().map_err(|error| error.to_string())?;
    Ok(question)
}

async fn on_a_thread<A: Serialize + Send + 'static>(
    admin: &Admin,
    action: impl FnOnce(&dyn Subject) -> Result<A, Refused> + Send + 'static,
) -> Response<Body> {
    let subject = Arc::clone(&admin.subject);
    let acted = tokio::task::spawn_blocking(move || action(&*subject)).await;
    match acted {
        Ok(done) => answered(done, |answer| answer),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

fn answered<A, V: Serialize>(
    done: Result<A, Refused>,
    shown: impl FnOnce(A) -> V,
) -> Response<Body> {
    match done {
        Ok(answer) => json(StatusCode::OK, &shown(answer)),
        Err(Refused {
            status,
            error,
            problems,
        }) => json(status, &Problem { error, problems }),
    }
}

/// As [`act`]; what has been made says so.
async fn dispatch<B>(admin: &Admin, request: Request<B>, namespace: String) -> Response<Body>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    let act = act(admin, request, move |it, asked| {
        it.dispatch(&namespace, &asked)
    });
    let mut response = act.await;
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

/// Some clients always have a body; what is left unread would reset the connection.
async fn read_to_end<B>(request: Request<B>)
where
    B: HttpBody<Error: Into<BoxError>>,
{
    let body = Limited::new(request.into_body(), MAX_QUESTION_BYTES);
    drop(body.collect().await);
}

fn tenants(admin: &Admin) -> Response<Body> {
    let mut tenants = admin.subject.tenants();
    tenants.sort_by(|one, other| one.name.cmp(&other.name));
    json(StatusCode::OK, &TenantList { tenants })
}

fn assignments(admin: &Admin) -> Response<Body> {
    let mut assignments = admin.subject.assignments();
    assignments.sort_by(|one, other| one.cgroup.cmp(&other.cgroup));
    json(StatusCode::OK, &AssignmentList { assignments })
}

fn readyz(admin: &Admin) -> Response<Body> {
    let waiting_for = admin.readiness.waiting_for();
    let ready = waiting_for.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let waiting_for = waiting_for.into_iter().map(str::to_owned).collect();
    json(status, &Ready { ready, waiting_for })
}

fn events(admin: &Admin, query: Option<&str>) -> Response<Body> {
    let follows = query.is_some_and(|query| query.split('&').any(|pair| pair == "follow=1"));
    if !follows {
        return problem(
            StatusCode::BAD_REQUEST,
            "events are only sent as they happen: ask for /v1/events?follow=1",
        );
    }
    let events = Events::new(admin.log.subscribe(), admin.tasks.draining());
    response(StatusCode::OK, JSON_LINES, Either::Right(events))
}

fn problem(status: StatusCode, error: &str) -> Response<Body> {
    json(
        status,
        &Problem {
            error: error.to_owned(),
            problems: Vec::new(),
        },
    )
}

fn json(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let mut text = serde_json::to_vec(value).expect("views have string keys only");
    text.push(b'\n');
    response(status, JSON, full(text))
}

fn full(text: impl Into<Bytes>) -> Body {
    Either::Left(Full::new(text.into()))
}

fn response(status: StatusCode, content_type: HeaderValue, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
