//! From what stands in the files to what the agent runs on: names are resolved, lists are
//! compiled, secrets are read.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use super::credential::credential;
use super::kind::compound::Placed;
use super::policy::{Compiled, policies};
use super::problem::{KeyPath, Problems};
use super::raw;
use super::secret::SecretReference;
use super::section::nearest;
use super::service;
use super::set::Sets;
use super::{Config, TenantSpec};
use crate::model::limits::Limits;
use crate::model::place::Place;
use crate::model::policy::{Policy, Tls};
use crate::model::rule::Worker;
use crate::model::targets::Rule;
use crate::model::tenant::Tenant;

/// Gives nothing where there is a problem, and says each.
pub(super) fn check(
    file: raw::File,
    environment: impl Fn(&str) -> Option<OsString>,
    problems: &mut Problems,
) -> Option<Config> {
    let watched = watched(&file);
    let sets = Sets::read(file.sets, problems);
    let credentials: BTreeMap<_, _> = file
        .credentials
        .into_iter()
        .map(|(name, raw)| {
            let compiled =
                raw.and_then(|raw| credential(&name, &raw, &environment, &sets, problems));
            (name, compiled)
        })
        .collect();
    let services = service::services(file.services, &environment, problems);
    let namespaces = service::namespaces(file.dispatch_namespaces, &services, problems);
    let policies = policies(&file.policies, &sets, &credentials, &services, problems);
    let fair = Limits {
        connections: file.limits.as_ref().map(|all| (all.connections / 4).max(1)),
        ..Limits::default()
    };
    let known = (&policies, &namespaces);
    let tenants = tenants(file.tenants, known, fair, problems);
    Some(Config {
        agent: file.agent?,
        access_log: file.access_log?,
        resolver: file.resolver?,
        limits: file.limits?,
        tls: file.tls?,
        services: services.into_values().flatten().collect(),
        namespaces: namespaces.into_values().flatten().collect(),
        policies: policies
            .into_values()
            .flatten()
            .map(|(policy, ..)| policy)
            .collect(),
        tenants,
        watched,
        file: PathBuf::new(),
        written: HashMap::new(),
    })
}

/// The files that the configuration is made of, besides its own.
fn watched(file: &raw::File) -> Vec<PathBuf> {
    let sets = file.sets.values().flatten();
    let sets = sets.filter_map(|set| set.file.as_ref());
    let policies = file.policies.values().flatten();
    let roots = policies.flat_map(|policy| &policy.roots);
    let all_roots = file.tls.iter().flat_map(|tls| tls.roots.clone());
    // Those of credentials are read again when they are needed.
    let services = file.services.values().flatten();
    let secrets = services.flat_map(|service| {
        let named = service.secrets.iter().map(|(_name, secret)| secret);
        named.chain(&service.signing_key)
    });
    let secrets = secrets.filter_map(|secret| match &secret.value {
        SecretReference::File(path) => Some(path.clone()),
        SecretReference::Environment(_)
        | SecretReference::Systemd(_)
        | SecretReference::Command(_) => None,
    });
    let files = sets.chain(roots).map(|file| file.value.clone());
    files.chain(all_roots).chain(secrets).collect()
}

fn tenants(
    raw: Vec<Option<raw::Tenant>>,
    (policies, namespaces): (&BTreeMap<String, Option<Compiled>>, &service::Namespaces),
    fair: Limits,
    problems: &mut Problems,
) -> Vec<TenantSpec> {
    let tenants = KeyPath::Key(&KeyPath::Top, "tenants");
    let mut names = HashMap::new();
    let mut owners = HashMap::new();
    let mut specs = Vec::new();
    for (index, tenant) in raw.into_iter().enumerate() {
        let Some(tenant) = tenant else { continue };
        let path = KeyPath::Index(&tenants, index);
        let raw::Tenant {
            name,
            policy,
            cgroup,
            namespace,
            outbound,
            inbound,
            limits,
        } = tenant;
        if let Some(first) = names.insert(name.value.clone(), name.place.clone()) {
            let message = format!("tenant {} is already written at {first}", name.value);
            problems.add(&name.place, KeyPath::Key(&path, "name"), message);
        }
        let cgroups = cgroup.value.of(name.value.as_str());
        let owner = (name.value.clone(), cgroup.place.clone());
        if let Some((owner, first)) = owners.insert(cgroups.clone(), owner) {
            let message = format!("cgroup \"{cgroups}\" is already given to {owner} at {first}");
            problems.add(&cgroup.place, KeyPath::Key(&path, "cgroup"), message);
        }
        let Some(joined) = service::join(namespace, outbound, namespaces, &path, problems) else {
            continue;
        };
        let within = KeyPath::Key(&path, "policy");
        let place = policy.place.clone();
        let Some((policy, credentials, base)) =
            refer(&policy, policies, "policy", &within, problems)
        else {
            continue;
        };
        have_worker(policy, &joined, (&place, &within), problems);
        see_requests(policy, &joined, (&place, within), problems);
        specs.push(TenantSpec {
            tenant: Arc::new(Tenant {
                id: name.value,
                policy: Arc::clone(policy),
                credentials: credentials.clone(),
                namespace: joined.namespace,
                parameters: joined.parameters,
                dispatch: None,
                limits: limits.compile().or(*base).or(fair),
            }),
            cgroups,
            inbound,
        });
    }
    specs
}

/// A rule puts a worker in the place of another, and so there has to be one.
fn have_worker(
    policy: &Policy,
    joined: &service::Joined,
    (place, path): (&Place, &KeyPath<'_>),
    problems: &mut Problems,
) {
    let namespace = joined.namespace.as_ref();
    if namespace.is_some_and(|namespace| namespace.outbound.is_some()) {
        return;
    }
    let named = |rule: &Rule| match &rule.clause.as_ref()?.effects.worker {
        Worker::Named(service) => Some((Arc::clone(&rule.label), Arc::clone(&service.name))),
        Worker::Namespace | Worker::None => None,
    };
    let Some((rule, service)) = policy.allow.rules().find_map(named) else {
        return;
    };
    let message = format!(
        "rule {rule:?} of {:?} has the `worker` {service} in place of that of the tenant's \
         namespace; give the tenant a `namespace` with an `outbound` worker",
        policy.name
    );
    problems.add(place, *path, message);
}

/// A worker sees every request of its namespace, and so its TLS has to end at the agent.
fn see_requests(
    policy: &Policy,
    joined: &service::Joined,
    (place, path): (&Place, KeyPath<'_>),
    problems: &mut Problems,
) {
    let namespace = joined.namespace.as_ref();
    let Some(namespace) = namespace.filter(|namespace| namespace.outbound.is_some()) else {
        return;
    };
    let (policy, namespace) = match policy.tls {
        Tls::Auto | Tls::Terminate => return,
        Tls::Passthrough => (&policy.name, &namespace.name),
    };
    let message = format!(
        "{policy:?} passes all TLS through (`tls`), so that the worker of namespace {namespace} \
         would not see its requests; write \"auto\" there, and what has to pass in `passthrough`"
    );
    problems.add(place, path, message);
}

/// What a name refers to; nothing where there is none, or where it has a problem of its own.
pub(super) fn refer<'a, T>(
    wanted: &Placed<String>,
    known: &'a BTreeMap<String, Option<T>>,
    what: &str,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<&'a T> {
    let Placed { place, value } = wanted;
    if let Some(found) = known.get(value) {
        return found.as_ref();
    }
    let names: Vec<_> = known.keys().map(String::as_str).collect();
    let hint = match nearest(value, &names) {
        Some(nearest) => format!("; did you mean {nearest:?}?"),
        None if names.is_empty() => "; there is none yet".to_owned(),
        None => format!("; there is {}", names.join(", ")),
    };
    problems.add(place, path, format!("no {what} is called {value:?}{hint}"));
    None
}
