//! From what the files say about outbound workers to what the agent runs on.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::check::refer;
use super::kind::compound::Placed;
use super::kind::worker::ModulePath;
use super::problem::{KeyPath, Problems};
use super::raw::{self, Network};
use super::rule::NO_WORKER;
use super::secret::SecretReference;
use crate::model::place::Place;
use crate::model::policy::{Fallback, Policy};
use crate::model::secret::Secret;
use crate::model::target::{Pattern, Ports, Target};
use crate::model::targets::{List, Targets};
use crate::model::worker::{Code, Limits, Namespace, Outbound, Parameters, Service, Values};

/// Every namespace by its name; nothing where it has a problem of its own.
pub(super) type Namespaces = BTreeMap<String, Option<Arc<Namespace>>>;
/// Every service by its name, likewise.
pub(super) type Services = BTreeMap<String, Option<Arc<Service>>>;

/// Compiles `[services]`.
pub(super) fn services(
    raw: BTreeMap<String, Option<raw::Service>>,
    environment: &impl Fn(&str) -> Option<OsString>,
    problems: &mut Problems,
) -> Services {
    raw.into_iter()
        .map(|(name, raw)| {
            let compiled = raw.and_then(|raw| service(&name, raw, environment, problems));
            (name, compiled)
        })
        .collect()
}

/// A rule that names it must not seem to want none.
fn be_named(name: &str, raw: &raw::Service, path: &KeyPath<'_>, problems: &mut Problems) {
    let main = raw.main.as_ref().map(|main| &main.place);
    if name == NO_WORKER
        && let Some(place) = main.or(raw.url.as_ref().map(|url| &url.place))
    {
        let message = "is what a rule says that wants no worker; give the service another name";
        problems.add(place, *path, message);
    }
}

fn service(
    name: &str,
    raw: raw::Service,
    environment: &impl Fn(&str) -> Option<OsString>,
    problems: &mut Problems,
) -> Option<Arc<Service>> {
    let services = KeyPath::Key(&KeyPath::Top, "services");
    let path = KeyPath::Key(&services, name);
    be_named(name, &raw, &path, problems);
    let code = code(&raw, &path, environment, problems);
    let within = KeyPath::Key(&path, "secrets");
    let mut secrets = Vec::new();
    for (name, reference) in &raw.secrets {
        let path = KeyPath::Key(&within, name);
        if raw.vars.contains_key(name) {
            let message = "is a name in `vars` as well; write it once";
            problems.add(&reference.place, path, message);
        }
        let read = secret(reference, &path, environment, problems);
        secrets.push(read.map(|secret| (name.as_str().into(), secret)));
    }
    let raw::ServiceLimits {
        cpu,
        wall,
        memory,
        concurrency,
        isolates,
    } = raw.limits;
    let mut caches: Vec<Box<str>> = Vec::new();
    let within = KeyPath::Key(&path, "caches");
    for cache in &raw.caches {
        let name = cache.value.as_str();
        let is_taken =
            raw.vars.contains_key(name) || raw.secrets.iter().any(|(secret, _)| secret == name);
        if is_taken || caches.iter().any(|known| **known == *name) {
            let message = format!("{name:?} is a name on `env` already; write it once");
            problems.add(&cache.place, within, message);
        }
        caches.push(name.into());
    }
    Some(Arc::new(Service {
        name: name.into(),
        network: Arc::new(network(name, &raw.network)),
        code: code?,
        vars: raw.vars,
        secrets: secrets.into_iter().collect::<Option<_>>()?,
        limits: Limits {
            cpu,
            wall,
            memory,
            concurrency,
            isolates,
        },
        caches,
        isolation: raw.isolation,
        hosting: raw.hosting,
        on_error: raw.on_error,
        trusted: raw.trusted,
    }))
}

/// What is amiss with the three keys has been said.
fn code(
    raw: &raw::Service,
    path: &KeyPath<'_>,
    environment: &impl Fn(&str) -> Option<OsString>,
    problems: &mut Problems,
) -> Option<Code> {
    match (&raw.main, &raw.url, &raw.signing_key) {
        (Some(main), None, None) => Some(Code::Module(ModulePath::resolve(main))),
        (None, Some(url), Some(key)) => {
            let path = KeyPath::Key(path, "signing_key");
            Some(Code::Url {
                address: url.value.clone(),
                key: secret(key, &path, environment, problems)?,
            })
        }
        (Some(_) | None, Some(_) | None, Some(_) | None) => None,
    }
}

fn secret(
    reference: &Placed<SecretReference>,
    path: &KeyPath<'_>,
    environment: &impl Fn(&str) -> Option<OsString>,
    problems: &mut Problems,
) -> Option<Secret> {
    let resolved = reference.value.resolve(environment);
    resolved
        .map_err(|why| {
            let message = format!("{:?}: {why}", reference.value.to_string());
            problems.add(&reference.place, path, message);
        })
        .ok()
}

/// Where a worker's own requests may go, as a policy. Unwritten: public addresses.
fn network(service: &str, written: &[Network]) -> Policy {
    let ranges = written.iter().filter_map(|network| match *network {
        Network::Public => None,
        Network::Private(range) => Some(range),
    });
    let ranges: Vec<IpNet> = ranges.collect();
    let is_public = written.is_empty() || written.contains(&Network::Public);
    let closed = if is_public {
        Vec::new()
    } else {
        let all = [IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
        all.into_iter()
            .flat_map(|all| without(all, &ranges))
            .collect()
    };
    let compile = |ranges: Vec<IpNet>, list| {
        let target = |range: IpNet| Target {
            text: range.to_string().into(),
            scheme: None,
            pattern: Pattern::Network(range),
            port: Some(Ports::Every),
        };
        Targets::compile(ranges.into_iter().map(target), list)
    };
    Policy {
        name: format!("the network of service {service}").into(),
        default: Fallback::Allow,
        allow: compile(ranges, List::Allow),
        deny: compile(closed, List::Deny),
        ..Policy::default()
    }
}

/// What is left of a range without some others.
fn without(range: IpNet, holes: &[IpNet]) -> Vec<IpNet> {
    if holes.iter().any(|hole| hole.contains(&range)) {
        return Vec::new();
    }
    let halves = range.subnets(range.prefix_len() + 1);
    match halves {
        Ok(halves) if holes.iter().any(|hole| range.contains(hole)) => {
            halves.flat_map(|half| without(half, holes)).collect()
        }
        Ok(_) | Err(_) => vec![range],
    }
}

/// Compiles `[[dispatch_namespaces]]`.
pub(super) fn namespaces(
    raw: Vec<Option<raw::DispatchNamespace>>,
    services: &Services,
    problems: &mut Problems,
) -> Namespaces {
    let all = KeyPath::Key(&KeyPath::Top, "dispatch_namespaces");
    let mut namespaces = Namespaces::new();
    let mut places: HashMap<String, Place> = HashMap::new();
    for (index, raw) in raw.into_iter().enumerate() {
        let Some(raw) = raw else { continue };
        let path = KeyPath::Index(&all, index);
        let Placed { place, value } = raw.namespace;
        let name = value.to_string();
        if let Some(first) = places.insert(name.clone(), place.clone()) {
            let message = format!("namespace {name} is already written at {first}");
            problems.add(&place, KeyPath::Key(&path, "namespace"), message);
        }
        let outbound = match raw.outbound {
            None => Some(None),
            Some(raw) => {
                let path = KeyPath::Key(&path, "outbound");
                outbound(raw, services, &path, problems).map(Some)
            }
        };
        let namespace = outbound.map(|outbound| {
            Arc::new(Namespace {
                name: name.as_str().into(),
                binding: raw.binding.into(),
                outbound,
            })
        });
        namespaces.insert(name, namespace);
    }
    namespaces
}

fn outbound(
    raw: raw::Outbound,
    services: &Services,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<Outbound> {
    let service_path = KeyPath::Key(path, "service");
    let service = refer(&raw.service, services, "service", &service_path, problems)?;
    if let (Code::Url { .. }, Some(entrypoint)) = (&service.code, &raw.entrypoint) {
        let message = format!("service {} has a `url`, and so no exports", service.name);
        problems.add(&entrypoint.place, KeyPath::Key(path, "entrypoint"), message);
    }
    let parameters_path = KeyPath::Key(path, "parameters");
    for (index, Placed { place, value }) in raw.parameters.iter().enumerate() {
        let path = KeyPath::Index(&parameters_path, index);
        let before = &raw.parameters[..index];
        let is_secret = service.secrets.iter().any(|(name, _)| **name == **value);
        if before.iter().any(|other| other.value == *value) {
            problems.add(place, path, format!("{value:?} is declared already"));
        } else if is_secret || service.vars.contains_key(value) {
            let name = &service.name;
            let message = format!("{value:?} is a name in `vars` or `secrets` of service {name}");
            problems.add(place, path, message);
        }
    }
    let parameters = raw.parameters.into_iter();
    Some(Outbound {
        service: Arc::clone(service),
        entrypoint: raw.entrypoint.map(|entrypoint| entrypoint.value.into()),
        parameters: parameters.map(|name| name.value.into()).collect(),
    })
}

/// A tenant's place among namespaces.
pub(super) struct Joined {
    pub(super) namespace: Option<Arc<Namespace>>,
    pub(super) parameters: Option<Arc<Parameters>>,
}

/// Finds a tenant's namespace and checks what it gives there; nothing where there is no such one.
pub(super) fn join(
    namespace: Option<Placed<String>>,
    outbound: Option<Placed<Values>>,
    namespaces: &Namespaces,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<Joined> {
    let within = KeyPath::Key(path, "namespace");
    let namespace = match &namespace {
        None => None,
        Some(name) => {
            let found = refer(name, namespaces, "namespace", &within, problems)?;
            Some(Arc::clone(found))
        }
    };
    Some(Joined {
        parameters: parameters(namespace.as_deref(), outbound, path, problems),
        namespace,
    })
}

/// What a tenant's own cgroup is dispatched with; nothing where its namespace declares what the
/// file does not give.
fn parameters(
    namespace: Option<&Namespace>,
    written: Option<Placed<Values>>,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<Arc<Parameters>> {
    let path = KeyPath::Key(path, "outbound");
    let place = written.as_ref().map(|written| written.place.clone());
    let values = written.map(|written| written.value).unwrap_or_default();
    match (namespace, place) {
        (Some(namespace), None) => namespace.check(values).ok().map(Arc::new),
        (Some(namespace), Some(place)) => match namespace.check(values) {
            Ok(parameters) => Some(Arc::new(parameters)),
            Err(error) => {
                problems.add(&place, path, error.to_string());
                None
            }
        },
        (None, Some(place)) => {
            let message = "parameters are declared by a namespace; write `namespace` as well";
            problems.add(&place, path, message);
            None
        }
        (None, None) => None,
    }
}
