//! What a worker asks of the world while it has a tenant's request: run here, under the tenant's
//! permit, its policy, or the worker's own network.

mod asked;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TE, UPGRADE};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;

use self::asked::{NEVER, not_fetched, refused_field, target};
use super::{credentials, decide};
use crate::connection::{Agent, Session, Who, watched};
use crate::model::addr::UpstreamAddr;
use crate::model::reason::{Ending, Reason};
use crate::model::traffic::Traffic;
use crate::model::worker::Service;
use crate::observe::labels::Use;
use crate::observe::record::{ConnectionRecord, ExchangeRecord};
use crate::path::credentials::Scrub;
use crate::path::http::body::{Outgoing, Source, Streamed};
use crate::path::http::headers::ask_upgrade;
use crate::path::http::normalize::Asked;
use crate::path::http::upgrade::Upgrade;
use crate::path::limits::Metered;
use crate::path::policy::{Denial, Permit, rewrite};
use crate::path::upstream::tls::Trust;
use crate::path::upstream::{Answer, Failure};
use crate::path::worker::{Chain, Errand, Errands, NotFetched, REQUEST, Uncounted, Used, WORKER};

/// Runs the errands of one invocation.
pub(crate) struct Runner {
    session: Arc<Session>,
    service: Arc<Service>,
    /// None where there is no request of the tenant's.
    mark: Option<HeaderValue>,
    /// The services that led to the tenant's request.
    chain: Chain,
    /// What the tenant's request was permitted for.
    origin: Box<str>,
    method: Method,
    path: Box<str>,
    permit: Mutex<Option<Permit>>,
    /// The fields that follow from URL and body, as the tenant sent them: a copy of them is no
    /// attempt to say something else.
    derived: HeaderMap,
    traffic: Arc<dyn Traffic>,
    told: Mutex<Told>,
}

/// What became of the tenant's request.
#[derive(Default)]
pub(super) struct Told {
    peer: Option<UpstreamAddr>,
    permit: Option<Permit>,
    credentials: Vec<(Arc<str>, Use)>,
    /// Why it was not answered, if so.
    pub(super) failed: Option<Denial>,
    /// The upstream, where it has changed its protocol.
    pub(super) upgraded: Option<Upgrade>,
}

impl Told {
    pub(super) fn tell(&self, record: &mut ExchangeRecord) {
        if let Some(permit) = &self.permit {
            record.allowed(permit.rule(), watched(permit.would_deny()));
        }
        if let Some(peer) = self.peer {
            record.upstream(peer);
        }
        for (name, used) in &self.credentials {
            record.credential(name, *used);
        }
    }
}

impl Runner {
    /// For one permitted request.
    pub(super) fn new(
        session: &Arc<Session>,
        service: &Arc<Service>,
        request: &Request<Source>,
        (permit, chain): (Permit, Chain),
        (record, metered): (&ExchangeRecord, &Arc<Metered>),
    ) -> Result<Arc<Self>, Reason> {
        let mark = HeaderValue::from_str(&record.request_id().to_string());
        let destination = permit.destination();
        let origin = format!(
            "{}://{}",
            destination.scheme.label(),
            destination.authority()
        );
        let mut derived = HeaderMap::new();
        for name in [CONTENT_LENGTH, HOST, UPGRADE] {
            if let Some(value) = request.headers().get(&name) {
                derived.insert(name, value.clone());
            }
        }
        Ok(Arc::new(Self {
            session: Arc::clone(session),
            service: Arc::clone(service),
            mark: Some(mark.map_err(|_invalid| Reason::Internal)?),
            chain,
            origin: origin.into(),
            method: request.method().clone(),
            path: request.uri().path().into(),
            permit: Mutex::new(Some(permit)),
            derived,
            traffic: Arc::clone(metered) as _,
            told: Mutex::default(),
        }))
    }

    /// For a tunnel: whatever the worker sends is its own.
    pub(crate) fn of_tunnel(
        agent: &Arc<Agent>,
        who: &Who,
        service: &Arc<Service>,
        record: &ConnectionRecord,
    ) -> Arc<Self> {
        Arc::new(Self {
            session: Session::of_tunnel(agent, who, record),
            service: Arc::clone(service),
            mark: None,
            chain: Chain::default(),
            origin: Box::default(),
            method: Method::CONNECT,
            path: Box::default(),
            permit: Mutex::new(None),
            derived: HeaderMap::new(),
            traffic: Arc::new(Uncounted),
            told: Mutex::default(),
        })
    }

    /// What marks the tenant's request.
    pub(super) const fn mark(&self) -> Option<&HeaderValue> {
        self.mark.as_ref()
    }

    /// Scheme and authority of the tenant's request.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// What became of the tenant's request.
    pub(super) fn take_told(&self) -> Told {
        std::mem::take(&mut self.told())
    }

    /// The permit, unless it was used.
    pub(super) fn take_permit(&self) -> Option<Permit> {
        lock(&self.permit).take()
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        lock(&self.told)
    }

    async fn run(
        self: Arc<Self>,
        mut request: Request<Source>,
    ) -> Result<Response<Source>, NotFetched> {
        let mark = request.headers_mut().remove(REQUEST);
        let is_tenants = mark.is_some() && mark == self.mark;
        let asked = target(request.uri())?;
        let protocol = self.take_derived(&mut request)?;
        if !self.session.agent.records.writable() {
            return Err(not_fetched(Reason::LogUnavailable, &asked));
        }
        let permit = match is_tenants {
            true => self.permit_tenants(&request, &asked),
            false => decide(&request, &asked, &self.service.network, &self.session),
        };
        let mut permit = permit.map_err(|denial| self.not_answered(is_tenants, denial, &asked))?;
        let mut scrub = Scrub::default();
        let mut trust = Trust::default();
        if is_tenants {
            if let Some(protocol) = protocol {
                ask_upgrade(request.headers_mut(), protocol);
            }
            let mut tell = |name: &Arc<str>, used| {
                self.told().credentials.push((Arc::clone(name), used));
            };
            let session = &*self.session;
            let added = credentials::add(&mut request, &asked, session, &mut permit, &mut tell);
            let (wanted, identity) = added
                .await
                .map_err(|reason| self.not_answered(is_tenants, reason.into(), &asked))?;
            scrub = wanted;
            trust = Trust {
                roots: session.who.tenant.policy.roots.clone(),
                identity,
            };
        }
        // A worker that drops the field hides no circle.
        let chain = match is_tenants {
            true => self.chain.said().cloned(),
            false => self.chain.and(&self.service.name),
        };
        if let Some(chain) = chain {
            request.headers_mut().insert(WORKER, chain);
        }
        let answer = self.send(request, permit, trust, is_tenants).await;
        let answer =
            answer.map_err(|failure| self.not_answered(is_tenants, failure.denial, &asked))?;
        let response = self.receive(answer, is_tenants);
        credentials::remove(response, &scrub)
            .map_err(|reason| self.not_answered(is_tenants, reason.into(), &asked))
    }

    /// The tenant's request goes where it was permitted to, or where the tenant's policy leads;
    /// a trusted worker sends it wherever it may go itself.
    fn permit_tenants(&self, request: &Request<Source>, asked: &Asked) -> Result<Permit, Denial> {
        let is_same = |permit: &Permit| {
            let destination = permit.destination();
            (destination.scheme, &destination.host, destination.port)
                == (asked.scheme, &asked.host, asked.port)
                && self.method == *request.method()
                && self.path == asked.path
        };
        if let Some(permit) = lock(&self.permit).take_if(|permit| is_same(permit)) {
            return Ok(permit);
        }
        let who = &self.session.who;
        match decide(request, asked, &who.tenant.policy, &self.session) {
            Err(_denial) if self.service.trusted => {
                decide(request, asked, &self.service.network, &self.session)
            }
            decided => decided,
        }
    }

    async fn send(
        &self,
        request: Request<Source>,
        mut permit: Permit,
        trust: Trust,
        is_tenants: bool,
    ) -> Result<Answer, Failure> {
        let agent = &self.session.agent;
        let traffic: Arc<dyn Traffic> = match is_tenants {
            true => Arc::clone(&self.traffic),
            false => Arc::new(Uncounted),
        };
        let (head, body) = request.into_parts();
        let (body, sent) = Outgoing::new(body, traffic, agent.limits.http.body_idle);
        let request = Request::from_parts(head, body);
        let who = &self.session.who;
        let aim = who.aim(agent, &permit);
        let effects = permit.effects().filter(|_| is_tenants);
        let edits = effects.map_or_else(Vec::new, |effects| effects.response.clone());
        let mut answered = agent
            .upstream
            .send(&who.tenant.id, &mut permit, aim, trust, request, sent)
            .await;
        if let Ok(answer) = &mut answered {
            rewrite::edit(answer.response.headers_mut(), &edits);
        }
        if is_tenants {
            let mut told = self.told();
            told.permit = Some(permit);
            told.peer = match &answered {
                Ok(answer) => Some(answer.peer),
                Err(failure) => failure.peer,
            };
        }
        answered
    }

    /// The response, whose connection is kept once its body has been read.
    fn receive(&self, answer: Answer, is_tenants: bool) -> Response<Source> {
        let Answer {
            mut response,
            lease,
            ..
        } = answer;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            if is_tenants {
                self.told().upgraded = Some(Upgrade::of_response(&mut response));
            }
            return response.map(|_none| Source::empty());
        }
        let idle = self.session.agent.limits.http.body_idle;
        response.map(|body| {
            let on_end = Box::new(move |ending| {
                if ending == Ending::COMPLETED {
                    lease.give_back();
                }
            });
            let body = Streamed::new(body, Arc::new(Uncounted), idle, on_end);
            Source::Streamed(Box::new(body))
        })
    }

    fn not_answered(&self, is_tenants: bool, denial: Denial, asked: &Asked) -> NotFetched {
        let error = not_fetched(denial.reason, asked);
        if is_tenants {
            self.told().failed = Some(denial);
        }
        error
    }

    /// Takes out what follows from the URL and the body. What a worker has set there itself is
    /// refused; gives the protocol that the tenant asked for.
    fn take_derived(
        &self,
        request: &mut Request<Source>,
    ) -> Result<Option<HeaderValue>, NotFetched> {
        let exact = request.body().size_hint().exact();
        let authority = request
            .uri()
            .authority()
            .map(|host| host.as_str().to_owned());
        let headers = request.headers_mut();
        for name in NEVER {
            if headers.contains_key(&name) {
                return Err(refused_field(&name));
            }
        }
        if headers.get(TE).is_some_and(|value| value != "trailers") {
            return Err(refused_field(&TE));
        }
        let mut protocol = None;
        for name in [CONTENT_LENGTH, HOST, UPGRADE] {
            let Some(value) = headers.remove(&name) else {
                continue;
            };
            let is_copy = self.derived.get(&name) == Some(&value);
            let is_length = exact.is_some_and(|length| value == length.to_string());
            let is_host = authority.as_deref().is_some_and(|host| value == host);
            match name {
                CONTENT_LENGTH if is_copy || is_length => {}
                HOST if is_copy || is_host => {}
                UPGRADE if is_copy => protocol = Some(value),
                name => return Err(refused_field(&name)),
            }
        }
        Ok(protocol)
    }
}

impl Errands for Runner {
    fn fetch(self: Arc<Self>, request: Request<Source>) -> Errand {
        Box::pin(self.run(request))
    }

    fn over(&self, used: Used) {
        let records = &self.session.agent.records;
        records.worker_used(&self.service.name, used.cpu, used.cut);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
