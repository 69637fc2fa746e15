//! `Clause`: what a rule asks beside scheme, host and port, and what it does.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use ipnet::IpNet;

use super::expression::{Fact, When};
use super::host::Host;
use super::pattern::{Glob, PathPattern};
use super::policy::Mode;
use super::worker::Service;

/// One entry of `rules`, shared by every host that it is for.
#[derive(Clone, Debug)]
pub struct Clause {
    /// Which one of its policy's.
    pub number: u32,
    /// What it does.
    pub action: Action,
    /// Whether it binds; without it as its policy says.
    pub mode: Option<Mode>,
    /// What it asks.
    pub conditions: Conditions,
    /// What is done to what it allows.
    pub effects: Effects,
    /// What the workload reads of what it denies.
    pub face: Option<Arc<Face>>,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It lets through.
    Allow,
    /// It refuses.
    Deny,
}

/// What the workload reads where a rule denies its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Face {
    /// The status, where it is not 403.
    pub status: Option<StatusCode>,
    /// The hint.
    pub message: Option<Box<str>>,
}

/// What a rule asks beside scheme, host and port. All of it has to hold; of a list one entry.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// The request's method.
    pub methods: Vec<Method>,
    /// The request's path.
    pub paths: Vec<PathPattern>,
    /// The request's query, by key.
    pub query: Vec<(Box<str>, Presence)>,
    /// The request's headers.
    pub headers: Vec<(HeaderName, Presence)>,
    /// What is dialled.
    pub addresses: Vec<IpNet>,
    /// Whose request it is.
    pub tenants: Vec<Glob>,
    /// The namespace that it is in.
    pub namespaces: Vec<Glob>,
    /// What its dispatch gave, by the way to the value: `object.member`.
    pub parameters: Vec<(Box<str>, Presence)>,
    /// The name of the process, as the kernel has it.
    pub executables: Vec<Glob>,
    /// Anything else.
    pub when: Option<Arc<When>>,
}

/// What is asked of a header or of a key of the query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is there.
    Present,
    /// It is not.
    Absent,
    /// It is there, and its value is one of these.
    Value(Glob),
}

impl Conditions {
    /// Whether only a request can meet them.
    pub fn need_request(&self) -> bool {
        let when = self.when.as_ref();
        self.keys_need_request() || when.is_some_and(|when| when.needs_request())
    }

    /// Whether they ask for the address that is dialled.
    pub fn ask_address(&self) -> bool {
        let when = self.when.as_ref();
        !self.addresses.is_empty() || when.is_some_and(|when| when.asks(Fact::Address))
    }

    /// Whether only a request can meet them, `when` apart.
    pub const fn keys_need_request(&self) -> bool {
        !self.methods.is_empty()
            || !self.paths.is_empty()
            || !self.query.is_empty()
            || !self.headers.is_empty()
    }

    /// How much they ask: of two rules for the same hosts the one that asks more is the more
    /// specific.
    pub fn weight(&self) -> usize {
        let paths = self.paths.iter().map(|path| 64 + path.literal()).min();
        let others = [
            !self.methods.is_empty(),
            !self.addresses.is_empty(),
            !self.tenants.is_empty(),
            !self.namespaces.is_empty(),
            !self.executables.is_empty(),
            self.when.is_some(),
        ];
        let others = others.into_iter().filter(|asks| *asks).count();
        let named = self.query.len() + self.headers.len() + self.parameters.len();
        paths.unwrap_or_default() + others + named
    }
}

/// What is done to what a rule allows.
#[derive(Clone, Debug, Default)]
pub struct Effects {
    /// Changes of the request.
    pub request: Rewrite,
    /// Changes of the response's header.
    pub response: Vec<Edit>,
    /// How much of it is logged.
    pub log: Logged,
    /// How long the upstream has for its answer, from the end of the request.
    pub timeout: Option<Duration>,
    /// How often a tenant may.
    pub rate: Option<Rate>,
    /// Which outbound worker it meets.
    pub worker: Worker,
    /// Which of its policy's credentials go with it; without, all that are bound to it.
    pub credentials: Option<Arc<[Box<str>]>>,
}

/// Which outbound worker what a rule allows meets.
#[derive(Clone, Debug, Default)]
pub enum Worker {
    /// That of its namespace.
    #[default]
    Namespace,
    /// This one in its place.
    Named(Arc<Service>),
    /// It leaves as if there were none.
    None,
}

impl Effects {
    /// Whether they are for requests, which then have to be seen.
    pub fn need_request(&self) -> bool {
        let Self {
            request,
            response,
            log,
            timeout,
            rate,
            // Where there are some, requests are seen already.
            worker: _,
            credentials: _,
        } = self;
        !request.is_empty()
            || !response.is_empty()
            || log.captures()
            || timeout.is_some()
            || rate.is_some()
    }
}

/// Changes of a request.
#[derive(Clone, Debug, Default)]
pub struct Rewrite {
    /// Another host, and where it is not the same, its port.
    pub host: Option<(Host, Option<u16>)>,
    /// Another path.
    pub path: Option<PathRewrite>,
    /// Other headers.
    pub headers: Vec<Edit>,
}

impl Rewrite {
    /// Whether it changes nothing.
    pub const fn is_empty(&self) -> bool {
        self.host.is_none() && self.path.is_none() && self.headers.is_empty()
    }
}

/// Another path for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRewrite {
    /// What the path has to begin with, in whole segments; all of it where this is empty.
    pub prefix: Box<str>,
    /// What stands in its place.
    pub with: Box<str>,
}

/// One change of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// This value and no other.
    Set(HeaderName, HeaderValue),
    /// This value as well.
    Append(HeaderName, HeaderValue),
    /// No value.
    Remove(HeaderName),
}

/// How much of an exchange is logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logged {
    /// The extent.
    pub extent: Extent,
    /// Headers of the request whose values are logged.
    pub headers: Arc<[HeaderName]>,
    /// Keys of the query whose values are logged.
    pub query: Arc<[Box<str>]>,
}

impl Logged {
    fn captures(&self) -> bool {
        self.extent == Extent::Full || !self.headers.is_empty() || !self.query.is_empty()
    }
}

/// The extent of a line of the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Extent {
    /// The line, with all headers but those that carry secrets, and the whole query.
    Full,
    /// The line.
    #[default]
    Metadata,
    /// No line for what was carried; what was refused or failed has one all the same.
    None,
}

/// How often: a bucket that fills steadily.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Requests in a second, in the long run.
    pub per_second: f64,
    /// Requests at once.
    pub burst: u32,
}
