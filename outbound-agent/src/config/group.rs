//! Sets of hosts that are built in: what many policies need and few people know by heart.

use std::collections::HashMap;
use std::sync::Arc;

use crate::model::set::HostSet;
use crate::model::target::Target;

/// A built-in set.
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) hosts: &'static [&'static str],
}

/// Every one of them, compiled.
pub(super) fn all() -> HashMap<&'static str, Arc<HostSet>> {
    let compiled = GROUPS.iter().map(|group| {
        let mut set = HostSet {
            name: group.name.into(),
            place: None,
            hosts: Default::default(),
        };
        for host in group.hosts {
            // Tested: each of them is a target.
            if let Ok(target) = host.parse::<Target>() {
                *set.hosts.slot(target.pattern) = 0;
            }
        }
        (group.name, Arc::new(set))
    });
    compiled.collect()
}

macro_rules! groups {
    ($($name:literal: $about:literal, [$($host:literal),+ $(,)?];)+) => {
        /// In the order of the documents.
        pub(super) const GROUPS: &[Group] = &[$(Group {
            name: $name,
            about: $about,
            hosts: &[$($host),+],
        }),+];
    };
}

groups! {
    "pypi": "Python packages", ["pypi.org", "files.pythonhosted.org"];
    "npm": "Node packages", ["registry.npmjs.org", "registry.yarnpkg.com"];
    "crates": "Rust packages and toolchains",
        ["crates.io", "index.crates.io", "static.crates.io", "static.rust-lang.org"];
    "go": "Go modules and toolchains",
        ["proxy.golang.org", "sum.golang.org", "go.dev", "dl.google.com"];
    "maven": "Java packages",
        ["repo.maven.apache.org", "repo1.maven.org", "plugins.gradle.org", "services.gradle.org"];
    "rubygems": "Ruby packages", ["rubygems.org", "index.rubygems.org"];
    "nuget": ".NET packages", ["api.nuget.org", "www.nuget.org"];
    "packagist": "PHP packages", ["packagist.org", "repo.packagist.org"];
    "conda": "Conda packages",
        ["conda.anaconda.org", "repo.anaconda.com", "conda-static.anaconda.org"];
    "debian": "Debian packages", ["deb.debian.org", "security.debian.org"];
    "ubuntu": "Ubuntu packages",
        ["archive.ubuntu.com", "*.archive.ubuntu.com", "security.ubuntu.com", "ports.ubuntu.com"];
    "alpine": "Alpine packages", ["dl-cdn.alpinelinux.org"];
    "fedora": "Fedora packages",
        ["mirrors.fedoraproject.org", "download.fedoraproject.org", "dl.fedoraproject.org"];
    "docker-hub": "Images of Docker Hub",
        ["registry-1.docker.io", "auth.docker.io", "production.cloudflare.docker.com"];
    "ghcr": "Images of GitHub", ["ghcr.io", "pkg-containers.githubusercontent.com"];
    "quay": "Images of Quay", ["quay.io", "*.quay.io"];
    "github": "GitHub: pages, API, sources and releases", [
        "github.com",
        "api.github.com",
        "codeload.github.com",
        "gist.github.com",
        "uploads.github.com",
        "objects.githubusercontent.com",
        "raw.githubusercontent.com",
        "release-assets.githubusercontent.com",
    ];
    "gitlab": "GitLab.com", ["gitlab.com", "registry.gitlab.com"];
    "bitbucket": "Bitbucket", ["bitbucket.org", "api.bitbucket.org"];
    "openai": "OpenAI's API", ["api.openai.com"];
    "anthropic": "Anthropic's API", ["api.anthropic.com"];
    "gemini": "Google's Gemini API", ["generativelanguage.googleapis.com"];
    "mistral": "Mistral's API", ["api.mistral.ai"];
    "cohere": "Cohere's API", ["api.cohere.com", "api.cohere.ai"];
    "huggingface": "Hugging Face: hub and downloads",
        ["huggingface.co", "*.huggingface.co", "hf.co", "*.hf.co"];
    "stripe": "Stripe's API", ["api.stripe.com", "files.stripe.com"];
    "slack": "Slack's API", ["slack.com", "api.slack.com", "hooks.slack.com", "files.slack.com"];
    "sentry": "Sentry's intake", ["sentry.io", "*.sentry.io"];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_of_a_group_is_a_target_and_stands_there_once() {
        for group in GROUPS {
            let compiled = &all()[group.name];
            assert_eq!(compiled.hosts.len(), group.hosts.len(), "{}", group.name);
            for host in group.hosts {
                host.parse::<Target>().unwrap();
            }
        }
        assert_eq!(all().len(), GROUPS.len());
    }
}
