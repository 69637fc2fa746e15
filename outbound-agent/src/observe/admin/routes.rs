//! Which path is answered with what.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use serde::Serialize;

use super::Admin;
use super::events::Events;
use super::view::{Problem, Ready, TenantList};

/// Where a request came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Surface {
    /// The metrics address: nothing that names a tenant's settings.
    Metrics,
    /// The Unix socket: everything.
    Admin,
}

/// What a path stands for.
enum Route<'a> {
    Metrics,
    Healthz,
    Readyz,
    Status,
    Tenants,
    Tenant(&'a str),
    Events,
}

pub(super) type Body = Either<Full<Bytes>, Events>;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/x-ndjson");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

pub(super) fn answer<B>(admin: &Admin, surface: Surface, request: &Request<B>) -> Response<Body> {
    let path = request.uri().path();
    let Some(route) = route(surface, path) else {
        return problem(StatusCode::NOT_FOUND, "nothing is served under this path");
    };
    if request.method() != Method::GET {
        let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "this path takes GET only");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    match route {
        Route::Metrics => response(StatusCode::OK, METRICS, full(admin.metrics.text())),
        Route::Healthz => json(StatusCode::OK, &serde_json::json!({ "status": "ok" })),
        Route::Readyz => readyz(admin),
        Route::Status => json(StatusCode::OK, &admin.subject.status()),
        Route::Tenants => {
            let mut tenants = admin.subject.tenants();
            tenants.sort_by(|one, other| one.name.cmp(&other.name));
            json(StatusCode::OK, &TenantList { tenants })
        }
        Route::Tenant(name) => match admin.subject.tenant(name) {
            Some(tenant) => json(StatusCode::OK, &tenant),
            None => problem(StatusCode::NOT_FOUND, "there is no tenant of this name"),
        },
        Route::Events => events(admin, request.uri().query()),
    }
}

fn route(surface: Surface, path: &str) -> Option<Route<'_>> {
    match (surface, path) {
        (_, "/metrics") => Some(Route::Metrics),
        (_, "/healthz") => Some(Route::Healthz),
        (_, "/readyz") => Some(Route::Readyz),
        (Surface::Metrics, _) => None,
        (Surface::Admin, "/v1/status") => Some(Route::Status),
        (Surface::Admin, "/v1/tenants") => Some(Route::Tenants),
        (Surface::Admin, "/v1/events") => Some(Route::Events),
        // A tenant's name needs no escaping in a path.
        (Surface::Admin, path) => path
            .strip_prefix("/v1/tenants/")
            .filter(|name| !name.is_empty() && !name.contains('/'))
            .map(Route::Tenant),
    }
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
