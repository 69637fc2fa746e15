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
        "*.1.2.3.4",
        "1.2.3.*",
        "@",
        "@a b",
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

#[test]
fn a_star_within_a_label_stands_for_characters_of_that_label() {
    for (text, name, expected) in [
        ("api-*.example.com", "api-1.example.com", true),
        ("api-*.example.com", "api-.example.com", true),
        ("api-*.example.com", "api-1.x.example.com", false),
        ("API-*.Example.com.", "api-1.example.com", true),
        ("s3.*.amazonaws.com", "s3.eu-west-1.amazonaws.com", true),
        ("s3.*.amazonaws.com", "s3.a.b.amazonaws.com", false),
        ("example.*", "example.net", true),
        ("example.*", "example.co.uk", false),
    ] {
        let Pattern::Glob(glob) = target(text).pattern else {
            panic!("{text} is no glob");
        };
        assert_eq!(glob.matches(name), expected, "{text} {name}");
    }
    let Pattern::Glob(glob) = target("s3.*.amazonaws.com").pattern else {
        panic!("no glob");
    };
    assert_eq!(glob.parent(), "amazonaws.com");
    assert_eq!(
        target("https://@pypi:8443").pattern,
        Pattern::Set("pypi".into())
    );
}
