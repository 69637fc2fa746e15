//! What an address may be, however it is written and whatever name led to it.

use super::*;

#[track_caller]
fn dialled(allow: &[&str], deny: &[&str], name: &str, ip: &str) -> String {
    let mut permit = permit(&enforce(allow, deny), name);
    match permit.check_address(ip.parse().unwrap()) {
        Ok(address) => address.to_string(),
        Err(denial) => denied(&denial),
    }
}

#[test]
fn special_addresses_are_refused_in_every_written_form() {
    for ip in PRIVATE {
        assert_eq!(
            dialled(&["a.test", "*"], &[], "http://a.test:80", ip),
            "private_address: no rule",
            "{ip}"
        );
        assert_eq!(
            told(&ask(&enforce(&["*"], &[]), &literal(ip))),
            "private_address: no rule",
            "{ip}"
        );
    }
    for ip in METADATA {
        let allow = &["a.test", "*", "0.0.0.0/0", "[::/0]"];
        assert_eq!(
            dialled(allow, &[], "http://a.test:80", ip),
            "metadata_address: no rule",
            "{ip}"
        );
        assert_eq!(
            told(&ask(&enforce(allow, &[]), &literal(ip))),
            "metadata_address: no rule",
            "{ip}"
        );
    }
    for ip in ORDINARY {
        let address: IpAddr = ip.parse().unwrap();
        assert_eq!(
            dialled(&["a.test"], &[], "http://a.test:80", ip),
            UpstreamAddr(SocketAddr::new(address, 80)).to_string()
        );
    }
}

/// A URL with an address as its host.
fn literal(ip: &str) -> String {
    if ip.contains(':') {
        format!("http://[{ip}]:80")
    } else {
        format!("http://{ip}:80")
    }
}

#[test]
fn a_rule_that_names_the_address_or_its_range_opens_it() {
    let name = "http://a.test:80";
    for (allow, ip, answer) in [
        ("10.0.0.0/8", "10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "::ffff:10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "64:ff9b::10.1.2.3", "[64:ff9b::a01:203]:80"),
        ("64:ff9b::/96", "64:ff9b::10.1.2.3", "[64:ff9b::a01:203]:80"),
        ("::1", "::1", "[::1]:80"),
        ("fd00::/8", "fd12::1", "[fd12::1]:80"),
        ("10.1.2.3:8080", "10.1.2.3", "private_address: no rule"),
        ("https://10.1.2.3", "10.1.2.3", "private_address: no rule"),
        ("10.1.2.4", "10.1.2.3", "private_address: no rule"),
        (
            "169.254.0.0/16",
            "169.254.169.254",
            "metadata_address: no rule",
        ),
        (
            "169.254.169.254/32",
            "169.254.169.254",
            "metadata_address: no rule",
        ),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254:80"),
        ("fd00:ec2::254", "fd00:ec2::254", "[fd00:ec2::254]:80"),
        (
            "fd00:ec2::/32",
            "fd00:ec2::254",
            "metadata_address: no rule",
        ),
    ] {
        assert_eq!(
            dialled(&["a.test", allow], &[], name, ip),
            answer,
            "{allow} {ip}"
        );
    }
}

#[test]
fn a_metadata_name_opens_only_when_written_out() {
    let name = "http://metadata.google.internal:80";
    let by_suffix = enforce(&["*.google.internal", "*"], &[]);
    assert_eq!(told(&ask(&by_suffix, name)), "metadata_address: no rule");
    assert_eq!(
        told(&ask(&by_suffix, "http://instance-data:80")),
        "metadata_address: no rule"
    );
    let exact = &["metadata.google.internal"];
    assert_eq!(
        dialled(exact, &[], name, "169.254.169.254"),
        "169.254.169.254:80"
    );
    assert_eq!(
        dialled(exact, &[], name, "10.0.0.1"),
        "private_address: no rule"
    );
}

#[test]
fn denied_ranges_hold_for_the_address_of_an_allowed_name() {
    let name = "http://a.test:80";
    for (deny, ip, answer) in [
        (
            "203.0.113.0/24",
            "203.0.113.7",
            "rule_deny: deny 203.0.113.0/24",
        ),
        ("203.0.113.7", "203.0.113.7", "rule_deny: deny 203.0.113.7"),
        (
            "203.0.113.7",
            "64:ff9b::203.0.113.7",
            "rule_deny: deny 203.0.113.7",
        ),
        (
            "2001:db8::/32",
            "2001:db8::1",
            "rule_deny: deny 2001:db8::/32",
        ),
        ("203.0.113.7:8080", "203.0.113.7", "203.0.113.7:80"),
        ("tcp://203.0.113.0/24:*", "203.0.113.7", "203.0.113.7:80"),
    ] {
        assert_eq!(
            dialled(&["a.test", "0.0.0.0/0"], &[deny], name, ip),
            answer,
            "{deny}"
        );
    }
}

const PRIVATE: &[&str] = &[
    "0.0.0.0",
    "0.1.2.3",
    "10.1.2.3",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.0.1",
    "169.254.1.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::10.0.0.1",
    "64:ff9b:1:a00:0:100::",
    "100::1",
    "2001:0:cb00:7101:0:0:f5ff:fffe",
    "2001:0:a00:1:0:0:34ff:8efe",
    "2002:a00:1::",
    "2002:7f00:1::1",
    "2001:2::1",
    "2001:db8:1:2:0:5efe:10.0.0.1",
    "2001:db8:1:2:200:5efe:a00:1",
    "100:0:0:1::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "febf::1",
    "fec0::1",
    "ff02::1",
];

const METADATA: &[&str] = &[
    "169.254.169.254",
    "169.254.170.2",
    "169.254.170.23",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "::ffff:169.254.169.254",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "64:ff9b::a83f:8110",
    "2002:a9fe:a9fe::1",
    "2001:0:cb00:7101::5601:5601",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
];

const ORDINARY: &[&str] = &[
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "192.0.2.1",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.100.1",
    "203.0.113.1",
    "223.255.255.255",
    "2001:db8::1",
    "2606:4700::1111",
    "64:ff9b::1.1.1.1",
    "2002:101:101::1",
    "2001:0:cb00:7101:0:0:fefe:fefe",
    "::ffff:1.1.1.1",
];
