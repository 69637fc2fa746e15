//! Which path is answered with what.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt as _, Either, Full, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::events::Events;
use super::view::{AssignmentList, DispatchList, Problem, Ready, TenantList};
use super::{Admin, Refused, Subject};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// The metrics address: nothing that names a tenant's settings.
    Metrics,
    /// The Unix socket: everything.
    Admin,
}

/// What a path stands for.
enum Route {
    Metrics,
    Healthz,
    Readyz,
    Status,
    Tenants,
    Tenant(String),
    Namespaces(String),
    Assignments,
    Reload,
    Dispatches(String),
    Dispatch(String, String),
    Events,
}

impl Route {
    /// The methods it takes, as in `Allow`.
    const fn methods(&self) -> &'static str {
        match self {
            Self::Metrics
            | Self::Healthz
            | Self::Readyz
            | Self::Status
            | Self::Tenants
            | Self::Tenant(_)
            | Self::Events => "GET",
            Self::Namespaces(_) | Self::Reload => "POST",
            Self::Assignments => "GET, PUT, DELETE",
            Self::Dispatches(_) => "GET, POST",
            Self::Dispatch(..) => "GET, DELETE",
        }
    }

    fn takes(&self, method: &Method) -> bool {
        let mut methods = self.methods().split(", ");
        methods.any(|taken| taken == method.as_str())
    }
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
    let Some(route) = route(surface, request.uri().path()) else {
        return problem(StatusCode::NOT_FOUND, "nothing is served under this path");
    };
    if !route.takes(request.method()) {
        let methods = route.methods();
        let error = format!("this path takes {methods} only");
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &error);
        let allow = HeaderValue::from_static(methods);
        response.headers_mut().insert(ALLOW, allow);
        return response;
    }
    match route {
        Route::Metrics => response(StatusCode::OK, METRICS, full(admin.metrics.text())),
        Route::Healthz => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        Route::Readyz => readyz(admin),
        Route::Status => json(StatusCode::OK, &admin.subject.status()),
        Route::Tenants => tenants(admin),
        Route::Tenant(name) => match admin.subject.tenant(&name) {
            Some(tenant) => json(StatusCode::OK, &tenant),
            None => problem(StatusCode::NOT_FOUND, "there is no tenant of this name"),
        },
        Route::Namespaces(name) => {
            act(admin, request, move |subject, namespace| {
                subject.listen_in(&name, namespace)
            })
            .await
        }
        Route::Assignments => match *request.method() {
            Method::PUT => act(admin, request, |subject, assign| subject.assign(&assign)).await,
            Method::DELETE => {
                act(admin, request, |subject, cgroup| subject.unassign(&cgroup)).await
            }
            _ => assignments(admin),
        },
        Route::Reload => on_a_thread(admin, |subject| subject.reload()).await,
        Route::Dispatches(name) => dispatches(admin, request, name).await,
        Route::Dispatch(name, id) => one_dispatch(admin, request, name, id).await,
        Route::Events => events(admin, request.uri().query()),
    }
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
    let question = match serde_json::from_slice(&body.to_bytes()) {
        Ok(question) => question,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    on_a_thread(admin, move |subject| action(subject, question)).await
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

/// What is dispatched in a namespace; what has been made says so.
async fn dispatches<B>(admin: &Admin, request: Request<B>, namespace: String) -> Response<Body>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    if *request.method() != Method::POST {
        let all = admin.subject.dispatches(&namespace);
        return answered(all, |dispatches| DispatchList { dispatches });
    }
    let mut response = act(admin, request, move |subject, question| {
        subject.dispatch(&namespace, &question)
    })
    .await;
    if response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::CREATED;
    }
    response
}

/// One dispatch, or its end.
async fn one_dispatch<B>(
    admin: &Admin,
    request: Request<B>,
    namespace: String,
    id: String,
) -> Response<Body>
where
    B: HttpBody<Error: Into<BoxError>>,
{
    let ends = *request.method() == Method::DELETE;
    // Some clients always have a body; what is left unread would reset the connection.
    let body = Limited::new(request.into_body(), MAX_QUESTION_BYTES);
    drop(body.collect().await);
    if !ends {
        return answered(admin.subject.dispatched(&namespace, &id), |one| one);
    }
    let end = move |subject: &dyn Subject| subject.end_dispatch(&namespace, &id);
    on_a_thread(admin, end).await
}

fn route(surface: Surface, path: &str) -> Option<Route> {
    match (surface, path) {
        (_, "/metrics") => Some(Route::Metrics),
        (_, "/healthz") => Some(Route::Healthz),
        (_, "/readyz") => Some(Route::Readyz),
        (Surface::Metrics, _) => None,
        (Surface::Admin, "/v1/status") => Some(Route::Status),
        (Surface::Admin, "/v1/tenants") => Some(Route::Tenants),
        (Surface::Admin, "/v1/assignments") => Some(Route::Assignments),
        (Surface::Admin, "/v1/reload") => Some(Route::Reload),
        (Surface::Admin, "/v1/events") => Some(Route::Events),
        // Names of tenants and namespaces need no escaping in a path.
        (Surface::Admin, path) => match path.split('/').collect::<Vec<_>>()[..] {
            [_, "v1", _, "", ..] => None,
            [_, "v1", "tenants", name] => Some(Route::Tenant(name.to_owned())),
            [_, "v1", "tenants", name, "namespaces"] => Some(Route::Namespaces(name.to_owned())),
            [_, "v1", "namespaces", name, "dispatch"] => Some(Route::Dispatches(name.to_owned())),
            [_, "v1", "namespaces", name, "dispatch", id] => {
                Some(Route::Dispatch(name.to_owned(), id.to_owned()))
            }
            _ => None,
        },
    }
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
