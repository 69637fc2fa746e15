//! The known ways out: what each is called, what must become of it, and what closes it.

mod table;

use super::attempt::Steps;

pub(super) use table::all;

/// One way out.
pub(super) struct Attack {
    /// For programs, and for the process that tries it.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: &'static str,
    /// What closes it: hooks, by their names; the belt is `egress`.
    pub(super) closed_by: &'static str,
    pub(super) aim: Aim,
    pub(super) means: Means,
    /// Tried as root: what needs capabilities. Anything else is tried as nobody.
    pub(super) as_root: bool,
    /// Closed only where the kernel side could load the program for families.
    pub(super) needs_families: bool,
    pub(super) attempt: fn(&mut Steps) -> Option<()>,
}

/// What the fence must make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aim {
    /// It reaches the agent, which knows that this was asked for; the witness sees nothing.
    Redirected(&'static str),
    /// The witness sees nothing.
    Contained,
    /// The call fails, where it succeeds without the fence.
    Refused,
}

/// What the process has besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// Nothing.
    Own,
    /// As its standard input, a TCP socket that was made outside.
    Inherited,
    /// As its standard input, a Unix socket over which a UDP socket from outside comes.
    Passed,
    /// A connection from before its cgroup was a tenant's.
    Early,
}

const fn attack(
    name: &'static str,
    title: &'static str,
    aim: Aim,
    closed_by: &'static str,
    attempt: fn(&mut Steps) -> Option<()>,
) -> Attack {
    Attack {
        name,
        title,
        closed_by,
        aim,
        means: Means::Own,
        as_root: false,
        needs_families: false,
        attempt,
    }
}

impl Attack {
    const fn by(mut self, means: Means) -> Self {
        self.means = means;
        self
    }

    const fn privileged(mut self) -> Self {
        self.as_root = true;
        self
    }

    const fn needs_families(mut self) -> Self {
        self.needs_families = true;
        self
    }
}

/// By its name.
pub(super) fn find(name: &str) -> Option<&'static Attack> {
    all().find(|attack| attack.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_attack_has_a_name_of_its_own() {
        let names: HashSet<&str> = all().map(|attack| attack.name).collect();
        assert_eq!(names.len(), all().count());
    }

    #[test]
    fn titles_fit_their_column() {
        for attack in all() {
            assert!(attack.title.len() <= 38, "{}", attack.title);
        }
    }

    #[test]
    fn the_page_lists_every_attack_with_what_closes_it() {
        let page = include_str!("../../../docs/doctor.md");
        for attack in all() {
            let hooks: Vec<String> = attack
                .closed_by
                .split(", ")
                .map(|hook| format!("`{hook}`"))
                .collect();
            let row = format!("| `{}` | {} |", attack.name, hooks.join(", "));
            assert!(page.contains(&row), "docs/doctor.md lacks: {row}");
        }
    }
}
