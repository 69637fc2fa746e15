use clap::CommandFactory as _;

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split(' '))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_configuration_may_be_named_on_either_side_of_the_command() {
    for line in [
        "outbound --config /o.toml agent",
        "outbound agent --config /o.toml",
    ] {
        assert_eq!(parse(line).unwrap().config, PathBuf::from("/o.toml"));
    }
    let default = parse("outbound agent").unwrap().config;
    assert_eq!(default, PathBuf::from("/etc/outbound/outbound.toml"));
}

#[test]
fn what_stands_behind_the_dashes_is_the_command() {
    let Command::Run(run) = parse("outbound run --tenant a -- curl --config x")
        .unwrap()
        .command
    else {
        panic!("not run");
    };
    assert_eq!(run.command, ["curl", "--config", "x"]);
    assert!(parse("outbound run --tenant a curl").is_err());
    assert!(parse("outbound run --tenant a").is_err());
}

#[test]
fn a_cgroup_is_named_in_one_way() {
    for line in ["/a", "--pid 7", "--unit web"] {
        parse(&format!("outbound assign --tenant a {line}")).unwrap();
        parse(&format!("outbound unassign {line}")).unwrap();
    }
    for line in ["", " /a --pid 7", " --pid 7 --unit web", " --pid x"] {
        assert!(
            parse(&format!("outbound unassign{line}")).is_err(),
            "{line}"
        );
    }
    assert!(parse("outbound assign /a").is_err());
}

#[test]
fn trust_is_installed_somewhere() {
    parse("outbound trust env --tenant a").unwrap();
    parse("outbound trust install /x --seen-as /y").unwrap();
    assert!(parse("outbound trust install").is_err());
    assert!(parse("outbound trust env --seen-as /y").is_err());
    assert!(parse("outbound run --mount --no-mount --tenant a -- x").is_err());
}

#[test]
fn a_check_has_a_whole_request_or_none() {
    parse("outbound check").unwrap();
    parse("outbound check --tenant a GET http://a.test/").unwrap();
    for line in [
        "outbound check --tenant a",
        "outbound check --tenant a GET",
        "outbound check GET http://a.test/",
        "outbound check --executable curl",
        "outbound check --address 192.0.2.7",
        "outbound check --header x-a:1",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}

#[test]
fn the_running_agent_is_asked_where_that_is_said_and_of_one_thing() {
    for whose in ["--tenant a", "--cgroup /a", "--pid 7", "--unit web"] {
        parse(&format!(
            "outbound check --live --socket /s {whose} GET http://a.test/"
        ))
        .unwrap();
    }
    for line in [
        "outbound check --live",
        "outbound check --live GET http://a.test/",
        "outbound check --live --tenant a --pid 7 GET http://a.test/",
        // Which cgroup is whose, only the agent knows.
        "outbound check --pid 7 GET http://a.test/",
        "outbound check --socket /s --tenant a GET http://a.test/",
        "outbound check --schema --live --tenant a GET http://a.test/",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
