//! Configurations: each is taken whole, or every problem of it is told with its place.

use std::path::Path;

use outbound_agent::config::{Error, parse};

use crate::{Target, hash};

pub(crate) const TARGET: Target = Target {
    name: "config",
    dictionary: &[
        b"\n[agent]\n",
        b"\n[tls]\n",
        b"\n[limits]\n",
        b"\n[policies.p]\n",
        b"\n[[tenants]]\n",
        b"\n[credentials.c]\n",
        b"\nallow = [\"*.api.test:443\"]\n",
        b"\ndeny = [\"tcp://10.0.0.0/8:*\"]\n",
        b"\nauthority_per_tenant = true\n",
        b" = \"1h\"\n",
        b" = \"1KiB\"\n",
        b" = true\n",
        b" = 99999999999999999999\n",
        b"\"\"\"",
        b"xn--",
        b"[::ffff:1.2.3.4]",
        b"\\u0000",
    ],
    run,
};

fn run(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else {
        return 0;
    };
    // Files and programs of this machine are nobody's input.
    if ["file:", "cmd:", "/dev"]
        .iter()
        .any(|word| text.contains(word))
    {
        return 1;
    }
    match parse(text, Path::new("fuzz.toml")) {
        Ok(config) => hash((
            "whole",
            config.tenants.len().min(3),
            config.policies.len().min(3),
        )),
        Err(Error::Invalid(problems)) => {
            let told = problems.to_string();
            for line in told.lines() {
                assert!(line.starts_with("fuzz.toml"), "{line:?} has no place");
            }
            // What is the same but for the words in quotes is the same problem.
            let kinds = told.lines().next().map(|line| {
                let words = line.split(['"', '`', ':']).skip(3).step_by(2);
                words.collect::<Vec<_>>().concat()
            });
            hash(("problems", told.lines().count().min(4), kinds))
        }
        Err(error @ Error::Read { .. }) => panic!("{error}: nothing is read"),
    }
}
