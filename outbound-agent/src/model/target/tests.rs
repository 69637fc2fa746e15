use super::*;

#[track_caller]
fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[test]
fn a_target_is_scheme_host_and_port() {
    let db = target("tcp://db.internal:5432");
    assert_eq!(db.scheme, Some(Scheme::Tcp));
    assert_eq!(db.pattern, Pattern::Exact("db.internal".parse().unwrap()));
    assert_eq!(db.port, Some(Ports::One(5432)));
    assert_eq!(
        target("*.Example.com").pattern,
        Pattern::Below("example.com".into())
    );
    assert_eq!(target("*:*").port, Some(Ports::Every));
}

#[test]
fn addresses_and_ranges_may_carry_a_port() {
    assert_eq!(target("2001:db8::1").port, None);
    assert_eq!(target("[2001:db8::1]:8443").port, Some(Ports::One(8443)));
    assert_eq!(
        target("10.0.0.7/8:*").pattern,
        Pattern::Network("10.0.0.0/8".parse().unwrap())
    );
    assert_eq!(
        target("[2001:db8::/32]:443").pattern,
        Pattern::Network("2001:db8::/32".parse().unwrap())
    );
    assert_eq!(
        target("2001:db8::/32").pattern,
        Pattern::Network("2001:db8::/32".parse().unwrap())
    );
    assert_eq!(
        target("::ffff:10.0.0.0/104").pattern,
        Pattern::Network("10.0.0.0/8".parse().unwrap())
    );
}

#[test]
fn what_is_no_target_says_why() {
    for text in [
        "ftp://a",
        "a:0",
        "a:70000",
        "a.*",
        "*a.example",
        "*.1.2.3.4",
        "10.0.0.0/33",
        "tcp://a",
        "a/path",
        "https://a/",
        "[::1]x",
        "",
    ] {
        assert!(text.parse::<Target>().is_err(), "{text}");
    }
}
