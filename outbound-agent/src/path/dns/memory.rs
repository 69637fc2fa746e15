//! What one tenant was told: names and their addresses, for as long as they may be used.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::host::Host;

/// Names with the addresses that one tenant was told.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: HashMap<Host, Told>,
}

#[derive(Debug)]
struct Told {
    addresses: Vec<(IpAddr, Instant)>,
    last: Instant,
}

impl Names {
    pub(super) fn remember(
        &mut self,
        name: &Host,
        addresses: &[IpAddr],
        ttl: Duration,
        now: Instant,
    ) {
        if addresses.is_empty() {
            return;
        }
        let until = now + ttl.clamp(SHORTEST, LONGEST);
        if !self.by_name.contains_key(name) {
            self.make_room(now);
        }
        let told = self.by_name.entry(name.clone()).or_insert_with(|| Told {
            addresses: Vec::with_capacity(addresses.len().min(MAX_ADDRESSES)),
            last: now,
        });
        told.last = now;
        // A name has addresses of two families, told one after the other.
        told.addresses
            .retain(|(known, until)| *until > now && !addresses.contains(known));
        told.addresses
            .extend(addresses.iter().map(|address| (*address, until)));
        let surplus = told.addresses.len().saturating_sub(MAX_ADDRESSES);
        told.addresses.drain(..surplus);
    }

    /// Whether a name has this address.
    pub(super) fn has(&self, name: &Host, address: IpAddr, now: Instant) -> bool {
        let told = self.by_name.get(name);
        told.is_some_and(|told| told.has(address, now))
    }

    /// The names that have this address, the one told last first.
    pub(super) fn having(&self, address: IpAddr, now: Instant) -> Vec<Host> {
        let mut found: Vec<(&Host, Instant)> = self
            .by_name
            .iter()
            .filter(|(_name, told)| told.has(address, now))
            .map(|(name, told)| (name, told.last))
            .collect();
        found.sort_by_key(|(_name, last)| std::cmp::Reverse(*last));
        found
            .into_iter()
            .map(|(name, _last)| name.clone())
            .collect()
    }

    /// What has expired goes first, then what was told longest ago.
    fn make_room(&mut self, now: Instant) {
        if self.by_name.len() < MAX_NAMES {
            return;
        }
        self.by_name
            .retain(|_name, told| told.addresses.iter().any(|(_, until)| *until > now));
        if self.by_name.len() < MAX_NAMES {
            return;
        }
        let mut ages: Vec<Instant> = self.by_name.values().map(|told| told.last).collect();
        // A quarter at once, so that a tenant that asks for ever new names pays for it seldom.
        let (_newer, oldest_kept, _older) = ages.select_nth_unstable(MAX_NAMES / 4);
        let oldest_kept = *oldest_kept;
        let mut surplus = MAX_NAMES / 4;
        self.by_name.retain(|_name, told| {
            let goes = told.last <= oldest_kept && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

impl Told {
    fn has(&self, address: IpAddr, now: Instant) -> bool {
        let mut addresses = self.addresses.iter();
        addresses.any(|(known, until)| *known == address && *until > now)
    }
}

/// Of one tenant.
const MAX_NAMES: usize = 4096;
/// Of one name.
const MAX_ADDRESSES: usize = 64;
/// Programs keep addresses for longer than they were told to.
const SHORTEST: Duration = Duration::from_secs(300);
const LONGEST: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> Host {
        name.parse().unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn an_address_has_the_names_it_was_told_under_until_they_expire() {
        let (mut names, start) = (Names::default(), Instant::now());
        names.remember(&host("a.test"), &[ip("192.0.2.1")], HOUR, start);
        names.remember(&host("a.test"), &[ip("2001:db8::1")], HOUR, start);
        let later = start + Duration::from_secs(1);
        names.remember(&host("b.test"), &[ip("192.0.2.1")], Duration::ZERO, later);
        assert_eq!(
            names.having(ip("192.0.2.1"), later),
            [host("b.test"), host("a.test")]
        );
        assert_eq!(names.having(ip("2001:db8::1"), later), [host("a.test")]);
        assert!(names.having(ip("192.0.2.2"), later).is_empty());
        assert!(names.has(&host("b.test"), ip("192.0.2.1"), later));
        assert!(!names.has(&host("b.test"), ip("192.0.2.1"), later + SHORTEST));
        assert!(!names.has(&host("b.test"), ip("2001:db8::1"), later));
        let expired = later + SHORTEST;
        assert_eq!(names.having(ip("192.0.2.1"), expired), [host("a.test")]);
        assert!(names.having(ip("192.0.2.1"), start + HOUR).is_empty());
    }

    #[test]
    fn what_was_told_longest_ago_makes_room() {
        let (mut names, start) = (Names::default(), Instant::now());
        for number in 0..=MAX_NAMES {
            let now = start + Duration::from_millis(number as u64);
            names.remember(
                &host(&format!("n{number}.test")),
                &[ip("192.0.2.1")],
                HOUR,
                now,
            );
            assert!(names.by_name.len() <= MAX_NAMES);
        }
        assert!(!names.by_name.contains_key(&host("n0.test")));
        assert!(
            names
                .by_name
                .contains_key(&host(&format!("n{MAX_NAMES}.test")))
        );
        assert_eq!(names.by_name.len(), MAX_NAMES - MAX_NAMES / 4 + 1);
    }

    #[test]
    fn a_name_has_so_many_addresses_and_no_more() {
        let (mut names, start) = (Names::default(), Instant::now());
        for octet in 0..=255 {
            names.remember(
                &host("a.test"),
                &[ip(&format!("192.0.2.{octet}"))],
                HOUR,
                start,
            );
        }
        assert!(names.having(ip("192.0.2.0"), start).is_empty());
        assert_eq!(names.having(ip("192.0.2.255"), start), [host("a.test")]);
        assert_eq!(
            names.by_name[&host("a.test")].addresses.len(),
            MAX_ADDRESSES
        );
    }
}
