//! Whether a credential goes with a request.

use super::matcher::{self, Way};
use super::{Facts, Readings};
use crate::model::credential::Binding;
use crate::model::target::Scheme;

/// Whether it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// The request is for another host.
    Elsewhere,
    /// It is for one of its hosts, and not in the way that the credential goes: over plain HTTP,
    /// or with another method or path.
    Withheld,
    /// It does.
    Goes,
}

/// Judges a request as it leaves.
pub fn fit(binding: &Binding, facts: &Facts<'_>) -> Fit {
    let way = Way {
        scheme: facts.scheme,
        port: facts.port,
    };
    if matcher::find(&binding.hosts, way, facts.host, |_rule| true).is_none() {
        return Fit::Elsewhere;
    }
    let may_carry = match facts.scheme {
        Scheme::Https => true,
        Scheme::Http => binding.allow_plaintext,
        Scheme::Tcp => false,
    };
    let asked = facts.request.as_ref();
    let has_method = binding.methods.is_empty()
        || asked.is_some_and(|asked| binding.methods.contains(asked.method));
    let has_path =
        binding.paths.is_empty() || asked.is_some_and(|asked| goes_to(binding, asked.path));
    if may_carry && has_method && has_path {
        Fit::Goes
    } else {
        Fit::Withheld
    }
}

/// A path that servers may read in two ways has to be one of the credential's in each.
fn goes_to(binding: &Binding, path: &Readings<'_>) -> bool {
    let is_one = |path| binding.paths.iter().any(|pattern| pattern.matches(path));
    path.are_all() && path.each().all(is_one)
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::model::host::Host;
    use crate::model::pattern::PathPattern;
    use crate::model::targets::{List, Targets};
    use crate::model::tenant::{Tenant, TenantId};
    use crate::path::policy::Request;

    fn nobody() -> Tenant {
        Tenant {
            namespace: None,
            parameters: None,
            dispatch: None,
            id: TenantId::new("nobody").unwrap(),
            policy: Default::default(),
            credentials: Vec::new(),
            limits: Default::default(),
        }
    }

    #[test]
    fn a_credential_goes_where_it_is_bound_to_and_how() {
        let hosts = ["api.test", "*.example:443"].map(|host| host.parse().unwrap());
        let mut binding = Binding {
            hosts: Targets::compile(hosts, List::Hosts),
            methods: vec![Method::GET],
            paths: vec![PathPattern::new("/repos/**").unwrap()],
            allow_plaintext: false,
        };
        let judge = |binding: &Binding, scheme, host: &str, method: Method, path| {
            let host: Host = host.parse().unwrap();
            let tenant = nobody();
            let facts = Facts {
                tenant: Some(&tenant),
                executable: "",
                scheme,
                host: &host,
                port: 443,
                request: Some(Request {
                    method: &method,
                    path: &Readings::of(path),
                    query: None,
                    headers: &http::HeaderMap::new(),
                }),
                is_foreseen: false,
            };
            fit(binding, &facts)
        };
        use Scheme::{Http, Https};
        for (scheme, host, method, path, expected) in [
            (Https, "api.test", Method::GET, "/repos/a", Fit::Goes),
            (Https, "api.test", Method::POST, "/repos/a", Fit::Withheld),
            (Https, "api.test", Method::GET, "/users", Fit::Withheld),
            (
                Https,
                "api.test",
                Method::GET,
                "/repos/../users",
                Fit::Withheld,
            ),
            (Http, "api.test", Method::GET, "/repos/a", Fit::Withheld),
            (
                Scheme::Tcp,
                "api.test",
                Method::GET,
                "/repos/a",
                Fit::Elsewhere,
            ),
            (Https, "other.test", Method::GET, "/repos/a", Fit::Elsewhere),
            (Https, "a.example", Method::GET, "/repos", Fit::Goes),
            (Https, "example", Method::GET, "/repos", Fit::Elsewhere),
        ] {
            let judged = judge(&binding, scheme, host, method, path);
            assert_eq!(judged, expected, "{scheme:?} {host} {path}");
        }
        binding.allow_plaintext = true;
        let judged = judge(&binding, Http, "api.test", Method::GET, "/repos/a");
        assert_eq!(judged, Fit::Goes);
    }
}
