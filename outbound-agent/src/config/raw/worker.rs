//! Outbound workers in the file: namespaces as Wrangler writes them, and the services that they
//! name.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use ipnet::IpNet;

use crate::config::document::{Table, Value};
use crate::config::kind::compound::{InPlace, List, Optional, Placed};
use crate::config::kind::unit::{Size, Time};
use crate::config::kind::worker::{
    Inline, Members, ModulePath, NetworkText, Secrets, WorkerUrl, WrittenSecrets,
};
use crate::config::kind::{Count, Flag, TenantName, Text, words};
use crate::config::problem::{KeyPath, Problems};
use crate::config::secret::{SecretReference, SecretText};
use crate::config::section::{section, settings};
use crate::model::tenant::TenantId;
use crate::model::worker::{Hosting, Isolation, OnError, Values};

section! {
    /// Tenants that share an outbound worker, which each of their requests passes. The same keys
    /// as in a Wrangler configuration, so that the block can be taken over as it stands.
    pub(in crate::config) struct DispatchNamespace {
        /// What the dispatcher calls it. Of no effect here.
        binding: String as Text;
        /// Its name.
        namespace: Placed<TenantId> as InPlace<TenantName>;
        /// The outbound worker: the name of its `service`; the class that the module exports for
        /// it as `entrypoint`, where that is not the default export; and the names of the
        /// `parameters` that a dispatch has to give. They are `env.NAME` to the worker, and the
        /// members of one that is an object are `env.MEMBER`, where nothing else has that name.
        /// A parameter `url` that a dispatch does not give is the URL of the request. Without
        /// `outbound` no worker is asked.
        outbound: Option<Outbound> as Optional<Inline<Outbound>> = None;
    }
}

section! {
    /// The worker of a namespace.
    pub(in crate::config) struct Outbound {
        /// The name of its service.
        service: Placed<String> as InPlace<Text>;
        /// The class that it exports; the default export where it is left out.
        entrypoint: Option<Placed<String>> as Optional<InPlace<Text>> = None;
        /// What a dispatch has to give.
        parameters: Vec<Placed<String>> as List<InPlace<Text>> = Vec::new();
    }
}

section! {
    /// Outbound workers, by name. Namespaces refer to them. A service has a `main` or a `url`.
    pub(in crate::config) struct Service {
        /// A JavaScript module with `fetch(request, env, ctx)`. It may import others by relative
        /// paths.
        main: Option<Placed<PathBuf>> as Optional<InPlace<ModulePath>> = None;
        /// A server that is the worker: docs/workers.md says what it is sent.
        url: Option<Placed<Uri>> as Optional<InPlace<WorkerUrl>> = None;
        /// What the agent's headers to such a server are signed with.
        signing_key: Option<Placed<SecretReference>> as Optional<InPlace<SecretText>> = None;
        /// Values on `env`.
        vars: Values as Members = Values::new();
        /// Secrets on `env`: each a reference, as that of a credential.
        secrets: WrittenSecrets as Secrets = WrittenSecrets::new();
        /// Names on `env` of small maps whose entries expire, such as for tokens: at most 10 000
        /// entries each, in the memory of an isolate.
        caches: Vec<Placed<String>> as List<InPlace<Text>> = Vec::new();
        /// Who shares its global state: the requests of one `tenant`, or of the `service`.
        isolation: Isolation as IsolationText = Isolation::default();
        /// Where a module runs: `process` is one of its own, which can do nothing but ask the
        /// agent; `thread` is the agent, faster and as safe as the engine.
        hosting: Hosting as HostingText = Hosting::default();
        /// What becomes of a request that it fails: `fail` is a reply that tells the tenant
        /// nothing of the error; `forward` lets the request go on without it, where nothing of
        /// its body is gone.
        on_error: OnError as OnErrorText = OnError::default();
        /// Whether it may send a tenant's request elsewhere than that tenant's policy leads.
        trusted: bool as Flag = false;
        /// Where its own requests may go. Without it: `["public"]`.
        network: Vec<Network> as List<NetworkText> = Vec::new();
        /// What one invocation may take: see the next table.
        limits: Limits as Inline<Limits> = Limits::default();
    }
}

settings! {
    /// What one invocation of an outbound worker may take.
    pub(in crate::config) struct Limits {
        /// Time on a processor.
        cpu: Duration as Time = Duration::from_millis(50);
        /// Time until its response begins; what it promised to `waitUntil` has as long again.
        wall: Duration as Time = Duration::from_secs(30);
        /// Memory of its isolate.
        memory: usize as Size = 64 << 20;
        /// Invocations at once; of one tenant half as many.
        concurrency: usize as Count = 512;
        /// Isolates in memory: of those that have nothing to do, the one that has been idle for
        /// longest makes room.
        isolates: usize as Count = 256;
    }
}

/// Where a worker's own requests may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Network {
    /// What everybody may reach.
    Public,
    /// Addresses of this range.
    Private(IpNet),
}

words!(IsolationText: Isolation, "\"tenant\" or \"service\"", {
    "tenant" => Isolation::Tenant,
    "service" => Isolation::Service,
});

words!(HostingText: Hosting, "\"process\" or \"thread\"", {
    "process" => Hosting::Process,
    "thread" => Hosting::Thread,
});

words!(OnErrorText: OnError, "\"fail\" or \"forward\"", {
    "fail" => OnError::Fail,
    "forward" => OnError::Forward,
});

/// A service is a module or a server, and only for a server is something signed.
pub(super) fn say_what_is_amiss(table: &Table, problems: &mut Problems) {
    let Some(Value::Table(services)) = table.0.get("services").map(|entry| &entry.node.value)
    else {
        return;
    };
    let within = KeyPath::Key(&KeyPath::Top, "services");
    for (name, entry) in &services.0 {
        let Value::Table(keys) = &entry.node.value else {
            continue;
        };
        let path = KeyPath::Key(&within, name);
        let place = |key| keys.0.get(key).map(|entry| &entry.place);
        let (place, message) = match (place("main"), place("url"), place("signing_key")) {
            (Some(_), None, None) | (None, Some(_), Some(_)) => continue,
            (Some(_), None, Some(key)) => (key, "`signing_key` is for a `url`; leave it out"),
            (Some(main), Some(_), _) => (main, "there is a `main` and a `url`; write one of them"),
            (None, Some(url), None) => (url, "a `url` needs the key `signing_key`"),
            (None, None, _) => (&entry.place, "write the key `main` or the key `url`"),
        };
        problems.add(place, path, message);
    }
}
