//! Rules: each is checked and put into its policy's lists, under every host that it is for.

use std::sync::Arc;

use super::check::refer;
use super::kind::compound::Placed;
use super::kind::rule::Spoken;
use super::policy::insert;
use super::problem::{KeyPath, Problems};
use super::raw;
use super::service::Services;
use super::set::Sets;
use crate::model::policy::Policy;
use crate::model::rule::{
    Action, Clause, Conditions, Effects, Extent, Face, Logged, Rate, Rewrite, Worker,
};
use crate::model::target::{Pattern, Ports, Scheme, Target};
use crate::model::targets::{List, Rule};

/// What a rule says where it is to meet no worker; no service is called so.
pub(super) const NO_WORKER: &str = "none";

/// Puts a rule into its policy's lists.
pub(super) fn compile(
    written: &Placed<raw::Rule>,
    number: u32,
    policy: &mut Policy,
    (sets, services): (&Sets, &Services),
    path: &KeyPath<'_>,
    problems: &mut Problems,
) {
    let Placed { place, value: raw } = written;
    let conditions = conditions(raw);
    let needs_request = conditions.need_request();
    let written = &mut Written {
        raw,
        path,
        problems,
        needs_request,
        services,
    };
    written.check();
    let clause = Arc::new(Clause {
        number,
        action: raw.action,
        mode: raw.mode,
        conditions,
        effects: written.effects(),
        face: written.face(),
    });
    let label: Arc<str> = raw.name.value.as_str().into();
    let list = match raw.action {
        Action::Allow => &mut policy.allow,
        Action::Deny => &mut policy.deny,
    };
    let hosts = KeyPath::Key(path, "host");
    for (index, target) in raw.host.iter().enumerate() {
        let path = KeyPath::Index(&hosts, index);
        let Some(ways) = written.ways(target, &path) else {
            continue;
        };
        for (schemes, ports, names_only) in ways {
            let rule = Rule {
                label: Arc::clone(&label),
                place: Some(place.clone()),
                schemes,
                ports,
                names_only,
                clause: Some(Arc::clone(&clause)),
            };
            let pattern = &target.value.pattern;
            insert(list, pattern, rule, sets, &path, written.problems);
        }
    }
}

fn conditions(raw: &raw::Rule) -> Conditions {
    Conditions {
        methods: raw.methods.clone(),
        paths: raw.paths.clone(),
        query: raw.query.clone(),
        headers: raw.headers.clone(),
        addresses: raw.addresses.clone(),
        tenants: raw.tenants.clone(),
        namespaces: raw.namespaces.clone(),
        parameters: raw.parameters.clone(),
        executables: raw.executables.clone(),
        when: raw.when.as_ref().map(Arc::clone),
    }
}

type Way = (&'static [Scheme], Ports, bool);

/// A rule while it is checked.
struct Written<'a, 'p> {
    raw: &'a raw::Rule,
    path: &'a KeyPath<'a>,
    problems: &'p mut Problems,
    needs_request: bool,
    services: &'a Services,
}

impl Written<'_, '_> {
    fn wrong(&mut self, key: &str, message: impl Into<String>) {
        let path = KeyPath::Key(self.path, key);
        self.problems.add(&self.raw.name.place, path, message);
    }

    /// What goes with an allow and what with a deny.
    fn check(&mut self) {
        let raw = self.raw;
        let of_allow = [
            ("request_headers", !raw.request_headers.is_empty()),
            ("response_headers", !raw.response_headers.is_empty()),
            ("rewrite_host", raw.rewrite_host.is_some()),
            ("rewrite_path", raw.rewrite_path.is_some()),
            ("log", raw.log != Extent::default()),
            ("log_headers", !raw.log_headers.is_empty()),
            ("log_query", !raw.log_query.is_empty()),
            ("timeout", raw.timeout.is_some()),
            ("credentials", raw.credentials.is_some()),
            ("worker", raw.worker.is_some()),
            ("rate", raw.rate.is_some()),
        ];
        let of_deny = [
            ("status", raw.status.is_some()),
            ("message", raw.message.is_some()),
        ];
        let (keys, action): (&[_], _) = match raw.action {
            Action::Allow => (&of_deny, "an allow"),
            Action::Deny => (&of_allow, "a deny"),
        };
        for (key, _) in keys.iter().filter(|(_, is_written)| *is_written) {
            self.wrong(key, format!("is not for {action}; leave it out"));
        }
        if raw.burst.is_some() && raw.rate.is_none() {
            self.wrong("burst", "is for a `rate`; write that as well");
        }
        let is_seen = |spoken: &Spoken| matches!(spoken, Spoken::Http | Spoken::Https);
        if self.needs_request && !raw.scheme.iter().all(is_seen) {
            let message = "a rule that asks for something of a request is for http and https alone";
            self.wrong("scheme", message);
        }
    }

    fn effects(&mut self) -> Effects {
        let raw = self.raw;
        let rate = raw.rate.map(|per_second| {
            let second = per_second.ceil().clamp(1.0, f64::from(u32::MAX));
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "it was put between 1 and the largest"
            )]
            let second = second as u32;
            let burst = raw.burst.and_then(|burst| u32::try_from(burst).ok());
            Rate {
                per_second,
                burst: burst.unwrap_or(second),
            }
        });
        Effects {
            request: Rewrite {
                host: self.new_host(),
                path: raw.rewrite_path.clone(),
                headers: raw.request_headers.clone(),
            },
            response: raw.response_headers.clone(),
            log: Logged {
                extent: raw.log,
                headers: raw.log_headers.as_slice().into(),
                query: raw.log_query.as_slice().into(),
            },
            timeout: raw.timeout,
            rate,
            worker: self.worker(),
            credentials: raw.credentials.as_ref().map(|names| {
                let names = names.iter().map(|name| name.value.as_str().into());
                names.collect()
            }),
        }
    }

    /// Another worker than that of the tenant's namespace.
    fn worker(&mut self) -> Worker {
        match &self.raw.worker {
            None => Worker::Namespace,
            Some(named) if named.value == NO_WORKER => Worker::None,
            Some(named) => {
                let path = KeyPath::Key(self.path, "worker");
                let found = refer(named, self.services, "service", &path, self.problems);
                found.map_or(Worker::Namespace, |service| {
                    Worker::Named(Arc::clone(service))
                })
            }
        }
    }

    fn new_host(&mut self) -> Option<(crate::model::host::Host, Option<u16>)> {
        let Placed { value, .. } = self.raw.rewrite_host.as_ref()?;
        let port = match value.port {
            None => None,
            Some(Ports::One(port)) => Some(port),
            Some(Ports::Every | Ports::Web) => {
                self.wrong("rewrite_host", "one port; write host or host:port");
                return None;
            }
        };
        match (&value.pattern, value.scheme) {
            (Pattern::Exact(host), None) => Some((host.clone(), port)),
            _ => {
                self.wrong("rewrite_host", "one host; write host or host:port");
                None
            }
        }
    }

    fn face(&self) -> Option<Arc<Face>> {
        let (status, message) = (self.raw.status, self.raw.message.as_deref());
        (status.is_some() || message.is_some()).then(|| {
            Arc::new(Face {
                status,
                message: message.map(Into::into),
            })
        })
    }

    /// The schemes and ports of one target: what it leaves out, the rule says.
    fn ways(&mut self, target: &Placed<Target>, path: &KeyPath<'_>) -> Option<Vec<Way>> {
        let Placed { place, value } = target;
        let (raw, list) = (self.raw, list(self.raw.action));
        let mut twice = |key: &str| {
            let message = format!("{:?}: its {key} stands in the rule as well", &*value.text);
            self.problems.add(place, *path, message);
        };
        if value.scheme.is_some() && !raw.scheme.is_empty() {
            twice("scheme");
            return None;
        }
        if value.port.is_some() && !raw.port.is_empty() {
            twice("port");
            return None;
        }
        let unwritten = Rule::new(value, None, list);
        let spoken = raw.scheme.iter();
        let written: Vec<Scheme> = spoken.filter_map(|spoken| spoken.scheme()).collect();
        let schemes = match (raw.scheme.is_empty(), self.needs_request, value.scheme) {
            (false, ..) => Scheme::among(&written),
            (true, true, None) => &[Scheme::Http, Scheme::Https],
            (true, ..) => unwritten.schemes,
        };
        let ports = match (value.port, raw.port.as_slice()) {
            (Some(port), _) => vec![port],
            (None, []) => vec![unwritten.ports],
            (None, ports) => ports.to_vec(),
        };
        if self.needs_request && schemes.contains(&Scheme::Tcp) {
            let message = "a rule that asks for something of a request is not for tcp";
            self.problems.add(place, *path, message);
            return None;
        }
        if raw.action == Action::Allow
            && schemes.contains(&Scheme::Tcp)
            && ports.contains(&Ports::Web)
        {
            let message = "an allow for tcp needs a port; write `port`";
            self.problems.add(place, *path, message);
            return None;
        }
        let mut ways = Vec::new();
        if !schemes.is_empty() {
            ways.extend(ports.into_iter().map(|port| (schemes, port, false)));
        }
        if raw.scheme.contains(&Spoken::Names) {
            ways.push((&[], Ports::Every, true));
        }
        Some(ways)
    }
}

const fn list(action: Action) -> List {
    match action {
        Action::Allow => List::Allow,
        Action::Deny => List::Deny,
    }
}
