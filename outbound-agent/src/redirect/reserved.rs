//! Ports that the kernel gives to nobody who asks for any: the agent's, beside what others have
//! reserved. The `bind` hooks keep them from tenants; this keeps everybody else from coming to one
//! of them by chance while the agent is away.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Of the network namespace that the calling thread is in; IPv6 has the same.
const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
const NAME: &str = "reserved-ports";

/// Reserves ports in the namespace of the calling thread. Gives those that were not before.
pub fn reserve(ports: &[u16]) -> io::Result<BTreeSet<u16>> {
    let mut reserved = parse(&fs::read_to_string(RESERVED)?);
    let wanted = ports.iter().copied().filter(|port| *port != 0);
    let added: BTreeSet<u16> = wanted.filter(|port| reserved.insert(*port)).collect();
    if !added.is_empty() {
        fs::write(RESERVED, show(&reserved))?;
    }
    Ok(added)
}

/// Reserves ports, and remembers below `state_dir` which of them are to be given back.
pub fn reserve_for_good(ports: &[u16], state_dir: &Path) -> io::Result<()> {
    let added = reserve(ports)?;
    if added.is_empty() {
        return Ok(());
    }
    let file = file(state_dir);
    let before = parse(&fs::read_to_string(&file).unwrap_or_default());
    fs::create_dir_all(state_dir)?;
    fs::write(&file, show(&(&before | &added)))
}

/// Gives back what was reserved for good in the namespace of the calling thread.
pub fn give_back(state_dir: &Path) -> io::Result<()> {
    let file = file(state_dir);
    let ours = match fs::read_to_string(&file) {
        Ok(text) => parse(&text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let reserved = parse(&fs::read_to_string(RESERVED)?);
    fs::write(RESERVED, show(&(&reserved - &ours)))?;
    fs::remove_file(file)
}

fn file(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// Ports and ranges, as in `8080,9000-9010`. What is neither is not there.
fn parse(text: &str) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for range in text.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse()) {
            ports.extend(first..=last);
        }
    }
    ports
}

/// The same again, in as few ranges as there are. Nothing is a line without any: what is empty
/// the kernel takes for no change.
fn show(ports: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match ranges.last_mut() {
            Some((_first, last)) if last.checked_add(1) == Some(port) => *last = port,
            Some(_) | None => ranges.push((port, port)),
        }
    }
    let ranges = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    let mut text = ranges.collect::<Vec<_>>().join(",");
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_have_reserved_stays() {
        let reserved = parse("8080,9000-9002,65535\n");
        assert_eq!(
            Vec::from_iter(reserved.clone()),
            [8080, 9000, 9001, 9002, 65535]
        );
        let ours = BTreeSet::from([9003, 15001]);
        let with_ours = &reserved | &ours;
        assert_eq!(show(&with_ours), "8080,9000-9003,15001,65535\n");
        assert_eq!(show(&(&with_ours - &ours)), "8080,9000-9002,65535\n");
    }

    #[test]
    fn nothing_is_nothing() {
        assert_eq!(parse("\n"), BTreeSet::new());
        assert_eq!(show(&BTreeSet::new()), "\n");
    }
}
