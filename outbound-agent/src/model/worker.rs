//! Outbound workers: what an operator wrote about them, and what a dispatch hands to one.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use serde_json::{Map, Value};

use super::policy::Policy;
use super::secret::Secret;

/// Names and what they stand for.
pub type Values = Map<String, Value>;

/// A worker: the operator's code, and what it may do and use.
#[derive(Debug)]
pub struct Service {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Where its code is.
    pub code: Code,
    /// What it finds on `env`.
    pub vars: Values,
    /// What it finds there as well; never in a log.
    pub secrets: Vec<(Box<str>, Secret)>,
    /// Names on `env` of small maps whose entries expire.
    pub caches: Vec<Box<str>>,
    /// What one invocation may take.
    pub limits: Limits,
    /// Who shares its global state.
    pub isolation: Isolation,
    /// Where it runs.
    pub hosting: Hosting,
    /// What becomes of a request that it fails.
    pub on_error: OnError,
    /// Whether it may send a tenant's request where that tenant's policy does not lead.
    pub trusted: bool,
    /// Where its own requests may go.
    pub network: Arc<Policy>,
}

/// Where the code of a worker is.
#[derive(PartialEq, Eq)]
pub enum Code {
    /// A module that the agent runs.
    Module(PathBuf),
    /// A server that somebody else runs.
    Url {
        /// Scheme, host, port and the path before the request's.
        address: Uri,
        /// What the agent's headers to it are signed with.
        key: Secret,
    },
}

impl Service {
    /// Whether what runs for one runs for the other as well. What a request is given anew each
    /// time, as its `vars`, is no part of that.
    pub fn runs_as(&self, other: &Self) -> bool {
        self.name == other.name
            && self.code == other.code
            && self.secrets == other.secrets
            && self.caches == other.caches
            && self.limits == other.limits
            && self.isolation == other.isolation
            && self.hosting == other.hosting
    }
}

/// What one invocation may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Time on a processor.
    pub cpu: Duration,
    /// Time until its response begins, and from then on for what it promised to finish.
    pub wall: Duration,
    /// Memory of its isolate, in bytes.
    pub memory: usize,
    /// Invocations at once.
    pub concurrency: usize,
    /// Isolates in memory.
    pub isolates: usize,
}

/// Who shares a worker's global state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// The requests of one tenant.
    #[default]
    Tenant,
    /// All of them.
    Service,
}

/// Where a worker runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hosting {
    /// In a process of its own, which can do nothing but ask the agent.
    #[default]
    Process,
    /// In the agent: faster, and as safe as the engine.
    Thread,
}

/// What becomes of a request that a worker fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// It fails.
    #[default]
    Fail,
    /// It goes on without the worker, where nothing of its body is gone.
    Forward,
}

/// Tenants that share an outbound worker.
#[derive(Debug)]
pub struct Namespace {
    /// Its name.
    pub name: Arc<str>,
    /// What the operator's dispatcher calls it.
    pub binding: Box<str>,
    /// The worker, if there is one.
    pub outbound: Option<Outbound>,
}

/// How a namespace's requests meet their worker.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// The worker.
    pub service: Arc<Service>,
    /// Which export of the module; the default one where it is `None`.
    pub entrypoint: Option<Box<str>>,
    /// The parameters that a dispatch has to give.
    pub parameters: Vec<Box<str>>,
}

/// What a dispatch gave, checked against what its namespace declares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parameters(Values);

/// Why what was given are not a namespace's parameters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// One is not there.
    #[error("the parameter `{name}` is missing; namespace {namespace} declares {declared}")]
    Missing {
        /// Which.
        name: Box<str>,
        /// Whose.
        namespace: Arc<str>,
        /// All of them.
        declared: String,
    },
    /// One is not declared.
    #[error("the parameter `{name}` is not declared; namespace {namespace} declares {declared}")]
    Undeclared {
        /// Which.
        name: String,
        /// Whose.
        namespace: Arc<str>,
        /// All of them.
        declared: String,
    },
    /// All of them together are too much.
    #[error(
        "the parameters are {bytes} octets of JSON in ASCII; {MAX_PARAMETERS_BYTES} are the most"
    )]
    TooLarge {
        /// How much.
        bytes: usize,
    },
}

/// How much a dispatch may give: what fits the header of a worker that is a server, wherever it
/// runs.
pub const MAX_PARAMETERS_BYTES: usize = 8 << 10;

/// The parameter that is the request's own URL where a dispatch gives none.
pub const URL_PARAMETER: &str = "url";

impl Namespace {
    /// Checks what a dispatch gives: what is declared, the whole of it, and nothing else.
    /// A declared `url` may be left out.
    pub fn check(&self, given: Values) -> Result<Parameters, ParameterError> {
        let declared = self.parameters();
        let is_declared = |name: &str| declared.iter().any(|known| **known == *name);
        if let Some(name) = given.keys().find(|name| !is_declared(name)) {
            return Err(ParameterError::Undeclared {
                name: name.clone(),
                namespace: Arc::clone(&self.name),
                declared: listed(declared),
            });
        }
        let mut required = declared.iter().filter(|name| ***name != *URL_PARAMETER);
        if let Some(name) = required.find(|name| !given.contains_key(&***name)) {
            return Err(ParameterError::Missing {
                name: name.clone(),
                namespace: Arc::clone(&self.name),
                declared: listed(declared),
            });
        }
        let bytes = ascii_bytes(&Value::Object(given.clone()).to_string());
        if bytes > MAX_PARAMETERS_BYTES {
            return Err(ParameterError::TooLarge { bytes });
        }
        Ok(Parameters(given))
    }

    /// What a dispatch has to give.
    pub fn parameters(&self) -> &[Box<str>] {
        self.outbound
            .as_ref()
            .map_or(&[], |outbound| &outbound.parameters)
    }
}

/// How long a text is where only printable ASCII goes as it is.
fn ascii_bytes(text: &str) -> usize {
    let bytes = |character: char| match character {
        ' '..='~' => 1,
        other => "\\u0000".len() * other.len_utf16(),
    };
    text.chars().map(bytes).sum()
}

fn listed(declared: &[Box<str>]) -> String {
    if declared.is_empty() {
        "none".to_owned()
    } else {
        declared.join(", ")
    }
}

impl Parameters {
    /// As they were given.
    pub const fn values(&self) -> &Values {
        &self.0
    }
}

impl Outbound {
    /// The same for another worker, by its default export.
    #[must_use]
    pub fn by(&self, service: &Arc<Service>) -> Self {
        Self {
            service: Arc::clone(service),
            entrypoint: None,
            parameters: self.parameters.clone(),
        }
    }

    /// What the worker finds on `env` besides its secrets: the parameters; `vars`; and where no
    /// parameter, var or secret has its name, each member of a parameter that is an object.
    pub fn env(&self, parameters: &Parameters, url: &str) -> Values {
        let (mut env, has_own_url) = self.lasting_env(parameters);
        if has_own_url {
            env.insert(URL_PARAMETER.to_owned(), url.into());
        }
        env
    }

    /// As [`Self::env`], without what differs between requests; and whether that is `url`.
    pub fn lasting_env(&self, parameters: &Parameters) -> (Values, bool) {
        let mut env = parameters.0.clone();
        let is_declared = self.parameters.iter().any(|it| **it == *URL_PARAMETER);
        let has_own_url = is_declared && !env.contains_key(URL_PARAMETER);
        for (name, value) in &self.service.vars {
            env.entry(name).or_insert_with(|| value.clone());
        }
        let secrets = &self.service.secrets;
        let is_secret = |name: &str| secrets.iter().any(|(secret, _)| **secret == *name);
        for value in parameters.0.values() {
            let members = value.as_object().into_iter().flatten();
            for (name, member) in members.filter(|(name, _)| !is_secret(name)) {
                env.entry(name).or_insert_with(|| member.clone());
            }
        }
        (env, has_own_url)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(path) => write!(f, "Module({})", path.display()),
            Self::Url { address, .. } => write!(f, "Url({address})"),
        }
    }
}

#[cfg(test)]
mod tests;
