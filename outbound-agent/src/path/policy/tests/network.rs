//! Where a worker's own requests may go.

use std::path::Path;

use super::*;
use crate::config;

#[test]
fn a_worker_reaches_what_its_network_says() {
    let hosts = [
        "http://1.1.1.1:80",
        "http://10.1.2.3:8080",
        "http://192.168.0.1:80",
    ];
    for (written, expected) in [
        ("[]", [true, false, false]),
        ("[\"public\"]", [true, false, false]),
        ("[\"public\", \"private:10.0.0.0/8\"]", [true, true, false]),
        ("[\"private:10.0.0.0/8\"]", [false, true, false]),
    ] {
        let text = format!("version = 1\n[services.e]\nmain = \"e.js\"\nnetwork = {written}");
        let config = config::parse(&text, Path::new("o.toml")).unwrap();
        let network = &config.services[0].network;
        let reached = hosts.map(|host| matches!(ask(network, host), Verdict::Allow(_)));
        assert_eq!(reached, expected, "{written}");
    }
}
