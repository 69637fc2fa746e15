//! Which cgroups the configuration gives to a tenant.

use std::fmt;
use std::path::{Path, PathBuf};

use super::kind::{CgroupPath, TextKind};

/// One cgroup, or all that match a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Cgroups {
    /// This one, relative to the cgroup root, plain names only. It is made where it is not there.
    One(PathBuf),
    /// Every cgroup that matches, for as long as it is there.
    Matching(Pattern),
}

/// A path from the cgroup root, level by level, with `*` and `?` in at least one of its names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Vec<Name>);

/// A name of which some characters may be open: `*` stands for any number of them, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name(Box<str>);

/// What stands for the tenant's own name.
const TENANT: &str = "{tenant}";
const OPEN: [char; 2] = ['*', '?'];

impl Cgroups {
    /// The same with a tenant's name in its place.
    #[must_use]
    pub fn of(&self, tenant: &str) -> Self {
        let named = |text: &str| text.replace(TENANT, tenant);
        match self {
            Self::One(path) => Self::One(named(&path.to_string_lossy()).into()),
            Self::Matching(Pattern(names)) => {
                let names = names.iter().map(|Name(name)| Name(named(name).into()));
                Self::Matching(Pattern(names.collect()))
            }
        }
    }

    /// The pattern, where it is one.
    pub const fn pattern(&self) -> Option<&Pattern> {
        match self {
            Self::One(_) => None,
            Self::Matching(pattern) => Some(pattern),
        }
    }
}

impl fmt::Display for Cgroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(path) => write!(f, "/{}", path.display()),
            Self::Matching(Pattern(names)) => {
                names.iter().try_for_each(|Name(name)| write!(f, "/{name}"))
            }
        }
    }
}

impl Pattern {
    /// Its names, from the cgroup root down.
    pub fn names(&self) -> &[Name] {
        &self.0
    }

    /// Whether a path from the cgroup root is one that is meant.
    pub fn matches(&self, path: &Path) -> bool {
        let mut parts = path.iter();
        let mut names = self.0.iter();
        let is_each = names.all(|name| {
            let part = parts.next().and_then(|part| part.to_str());
            part.is_some_and(|part| name.matches(part))
        });
        is_each && parts.next().is_none()
    }
}

impl Name {
    /// The name, where none of its characters is open.
    pub fn literal(&self) -> Option<&str> {
        (!self.0.contains(OPEN)).then_some(&*self.0)
    }

    /// Whether a cgroup of this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) =
            (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut matched) = (0, 0);
        // Where the last `*` was, and how far what it stands for has grown.
        let mut star: Option<(usize, usize)> = None;
        while matched < name.len() {
            match pattern.get(at) {
                Some('*') => {
                    star = Some((at, matched));
                    at += 1;
                }
                Some(&open) if open == '?' || Some(&open) == name.get(matched) => {
                    at += 1;
                    matched += 1;
                }
                Some(_) | None => {
                    let Some((place, grown)) = star else {
                        return false;
                    };
                    star = Some((place, grown + 1));
                    (at, matched) = (place + 1, grown + 1);
                }
            }
        }
        pattern.iter().skip(at).all(|&rest| rest == '*')
    }
}

/// A cgroup or a pattern, as the file has it.
pub(super) struct CgroupPattern;

impl TextKind for CgroupPattern {
    type Out = Cgroups;
    const ACCEPTED: &str = "a cgroup below the cgroup root, without `.` and `..`, as in \
         \"/tenants.slice/acme\" or \"/tenants.slice/{tenant}\", or with `*` and `?` in its names \
         every one that matches, as in \"/pods.slice/{tenant}-*\"";

    fn parse(text: &str) -> Result<Cgroups, Option<String>> {
        let path = CgroupPath::parse(text)?;
        let plain = text.replace(TENANT, "");
        if plain.contains(['{', '}']) {
            return Err(Some("of words in braces there is only {tenant}".to_owned()));
        }
        if plain.contains("**") {
            return Err(Some(
                "`*` stands within one level; there is no `**`".to_owned(),
            ));
        }
        if !text.contains(OPEN) {
            return Ok(Cgroups::One(path));
        }
        let names = path.iter().map(|name| Name(name.to_string_lossy().into()));
        Ok(Cgroups::Matching(Pattern(names.collect())))
    }

    fn show(value: &Cgroups) -> String {
        value.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        match CgroupPattern::parse(text) {
            Ok(Cgroups::Matching(pattern)) => pattern,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn a_star_is_any_number_of_characters_of_one_level() {
        let pods = pattern("/pods.slice/*/acme-*.scope");
        for path in ["pods.slice/a/acme-1.scope", "pods.slice/b/acme-.scope"] {
            assert!(pods.matches(Path::new(path)), "{path}");
        }
        for path in [
            "pods.slice/acme-1.scope",
            "pods.slice/a/b/acme-1.scope",
            "pods.slice/a/acme-1.scope/c",
            "pods.slice/a/acme-1",
            "other.slice/a/acme-1.scope",
        ] {
            assert!(!pods.matches(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_name_matches_however_often_it_has_to_be_tried() {
        for (pattern_text, name, is_match) in [
            ("/*", "", true),
            ("/*a*b", "aab-b", true),
            ("/*a*b", "aab-", false),
            ("/a?c", "abc", true),
            ("/a?c", "ac", false),
            ("/?", "ü", true),
            ("/*.slice", "a.slice.slice", true),
        ] {
            let pattern = pattern(pattern_text);
            assert_eq!(
                pattern.names()[0].matches(name),
                is_match,
                "{pattern_text} {name}"
            );
        }
    }

    #[test]
    fn the_tenants_name_takes_its_place() {
        let one = CgroupPattern::parse("/t.slice/{tenant}.slice").unwrap();
        assert_eq!(one.of("acme"), Cgroups::One("t.slice/acme.slice".into()));
        let many = CgroupPattern::parse("/pods/{tenant}-*/").unwrap();
        assert_eq!(many.of("acme").to_string(), "/pods/acme-*");
        assert!(many.of("acme").pattern().is_some());
    }

    #[test]
    fn what_would_mean_something_elsewhere_is_refused() {
        for text in ["/a/**", "/a/{pod}", "/a/{tenant", "/*/../a", "/", "*/"] {
            let refused = CgroupPattern::parse(text);
            assert_eq!(refused.is_err(), text != "*/", "{text}: {refused:?}");
        }
    }
}
