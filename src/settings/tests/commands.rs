//! The commands, and the settings that each can't do without.

use super::*;

fn command(environment: &[(&str, &str)], args: &[&str]) -> Command {
    let loaded = Given::of(environment).args(args).load();
    loaded.map_err(|exit| exit.to_string()).unwrap().command
}

#[test]
fn run_is_what_no_command_means() {
    for args in [&[][..], &["run"]] {
        assert!(matches!(command(&LOCAL, args), Command::Run(_)));
    }
    assert!(matches!(command(&LOCAL, &["check"]), Command::Check(_)));
}

#[test]
fn commands_for_the_running_silt_need_only_its_address() {
    let broken = [
        ("BATCH_SIZE", "x"),
        ("LAKE_URL", "y"),
        ("HTTP_TOKEN_FILE", ""),
    ];
    for (address, asked) in [
        ("", "127.0.0.1:8080"),
        ("0.0.0.0:99", "0.0.0.0:99"),
        ("10.0.0.5:99", "10.0.0.5:99"),
        ("localhost:99", "127.0.0.1:99"),
    ] {
        let address = if address.is_empty() {
            None
        } else {
            Some(("HTTP_ADDR", address))
        };
        let environment: Vec<_> = broken.into_iter().chain(address).collect();
        match command(&environment, &["healthcheck", "--live"]) {
            Command::Healthcheck {
                address,
                live_only: true,
            } => assert_eq!(address.to_string(), asked),
            other => panic!("{other:?}"),
        }
        match command(&environment, &["flush", "users", "a,b"]) {
            Command::Flush {
                instance,
                collections,
            } => {
                assert_eq!(instance.address.to_string(), asked);
                assert_eq!(collections, ["users", "a,b"]);
            }
            other => panic!("{other:?}"),
        }
    }
    for address in ["off", "127.0.0.1:0"] {
        let given = Given::of(&[("HTTP_ADDR", address)]).args(&["healthcheck"]);
        let exit = given.load().unwrap_err();
        assert_eq!(exit.code(), 1, "the answer to a health check is 0 or 1");
        let part = format!("HTTP_ADDR={address}: the running silt has no known address");
        assert!(exit.to_string().contains(&part), "{exit}");
    }
    let given = Given::of(&[("HTTP_TOKEN", "short")]);
    assert!(given.args(&["healthcheck"]).load().is_ok(), "it needs none");
}

#[test]
fn listing_needs_the_lake_alone() {
    let lake = [("LAKE_URL", "file:///lake"), ("BATCH_SIZE", "x")];
    match command(&lake, &["ls", "--json"]) {
        Command::List { lake: found, list } => {
            assert_eq!(found.url_for_people, "file:///lake");
            assert!(list.as_json && !list.has_files && list.collections.is_empty());
        }
        other => panic!("{other:?}"),
    }
    match command(&lake, &["ls", "--files", "--count", "users", "a,b"]) {
        Command::List { list, .. } => {
            assert!(list.has_files && list.counts_lines && !list.as_json);
            assert_eq!(list.collections, ["users", "a,b"]);
        }
        other => panic!("{other:?}"),
    }
    let problem = Given::of(&[]).args(&["ls"]).problem();
    assert!(problem.starts_with("LAKE_URL: "), "{problem}");
}

#[test]
fn wrong_settings_are_what_a_check_finds() {
    let given = Given::of(&LOCAL).and(&[("BATCH_SIZE", "x")]);
    let exit = given.args(&["check"]).load().unwrap_err();
    assert_eq!(exit.code(), 1);
    assert!(exit.to_string().contains("BATCH_SIZE=x"), "{exit}");
}

#[test]
fn a_token_is_long_enough_or_refused_unseen() {
    let with = |token: &str| Given::of(&LOCAL).and(&[("HTTP_TOKEN", token)]);
    assert!(with("").settings().http.token.is_none());
    let token = with("0123456789abcdef").settings().http.token.unwrap();
    assert_eq!(token.reveal(), "0123456789abcdef");
    for (token, what) in [
        ("cAnArY", "HTTP_TOKEN: too short to be safe"),
        ("cAnArY cAnArY cAnArY", "HTTP_TOKEN: it has white space"),
        ("cAnArYcAnArYcAnArYö", "HTTP_TOKEN: it has white space"),
    ] {
        let problem = with(token).problem();
        assert!(problem.starts_with(what), "{problem}");
        assert!(!problem.contains("cAnArY"), "{problem}");
    }
}
