//! What the tenant never holds: put into a request, and taken out of its response.

use std::sync::Arc;

use http::{Request, Response};
use http_body::Body as _;
use serde_json::Map;

use super::facts;
use crate::connection::Session;
use crate::model::certificates::Identity;
use crate::model::credential::Credential;
use crate::model::reason::Reason;
use crate::model::target::Scheme;
use crate::model::template::Subject;
use crate::observe::labels::Use;
use crate::path::credentials::{Added, Leaving, Scrub, is_readable};
use crate::path::http::body::Source;
use crate::path::http::filter::Filtered;
use crate::path::http::headers::forget_phrase;
use crate::path::http::normalize::Asked;
use crate::path::policy::{self, Fit, Permit, Readings};

/// Adds what goes with the request as it leaves, and tells what became of each; without what
/// should, it does not leave. Gives what its response is to be searched for, and what goes with
/// its connection.
pub(super) async fn add(
    request: &mut Request<Source>,
    asked: &Asked,
    session: &Session,
    permit: &mut Permit,
    told: &mut (dyn FnMut(&Arc<str>, Use) + Send),
) -> Result<(Scrub, Option<Identity>), Reason> {
    let tenant = &session.who.tenant;
    let (mut scrub, mut identity) = (Scrub::default(), None);
    let going = going(request, asked, session, permit, told);
    if going.is_empty() {
        return Ok((scrub, None));
    }
    permit.prove_address();
    let taken = std::mem::replace(request, Request::new(Source::empty()));
    let (mut head, mut body) = taken.into_parts();
    let (parameters, none) = (tenant.parameters.as_ref(), Map::new());
    let subject = Subject {
        tenant: &tenant.id,
        parameters: parameters.map_or(&none, |parameters| parameters.values()),
    };
    for credential in going {
        let mut leaving = Leaving {
            method: &head.method,
            authority: &permit.destination().authority(),
            is_secure: asked.scheme == Scheme::Https,
            uri: &mut head.uri,
            headers: &mut head.headers,
            body: &mut body,
            identity: &mut identity,
        };
        let store = &session.agent.credentials;
        let added = store.add(
            credential,
            subject,
            &mut leaving,
            &mut scrub,
            &*session.agent,
        );
        let name = &credential.name;
        match added.await {
            Ok(Added::Injected) => told(name, Use::Injected),
            Ok(Added::Skipped) => told(name, Use::Skipped),
            Err(error) => {
                told(name, Use::Failed);
                return Err(error.report(name));
            }
        }
    }
    *request = Request::from_parts(head, body);
    Ok((scrub, identity))
}

/// Which credentials the request is to carry, in the order in which they are added.
fn going<'a>(
    request: &Request<Source>,
    asked: &Asked,
    session: &'a Session,
    permit: &Permit,
    told: &mut (dyn FnMut(&Arc<str>, Use) + Send),
) -> Vec<&'a Arc<Credential>> {
    let path = Readings::of(&asked.path);
    let mut going = Vec::new();
    for credential in &session.who.tenant.credentials {
        match policy::fit(&credential.binding, &facts(request, asked, &path, session)) {
            Fit::Elsewhere => {}
            Fit::Goes if permit.takes(&credential.name) => going.push(credential),
            Fit::Withheld | Fit::Goes => told(&credential.name, Use::Skipped),
        }
    }
    going.sort_by_key(|credential| credential.kind.is_last());
    going
}

/// Takes out of a response what was put into its request.
pub(super) fn remove<B>(response: Response<B>, scrub: &Scrub) -> Result<Response<Source>, Reason>
where
    Source: From<B>,
{
    let mut response = response.map(Source::from);
    if scrub.is_empty() {
        return Ok(response);
    }
    scrub.headers(response.headers_mut());
    forget_phrase(&mut response);
    if !scrub.wants_bodies() || response.body().is_end_stream() {
        return Ok(response);
    }
    if !is_readable(response.headers()) {
        return Err(Reason::Unscrubbable);
    }
    let filter = scrub.body();
    Ok(response.map(|body| Source::Made(Box::pin(Filtered::new(body, filter)))))
}
