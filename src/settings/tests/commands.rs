//! The commands, and the settings that each can't do without.

use super::*;
use silt_core::position::{ClusterTime, Position, ResumeToken};

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
            assert!(
                list.as_json && list.detail == ListDetail::OfNamed && list.collections.is_empty()
            );
        }
        other => panic!("{other:?}"),
    }
    match command(&lake, &["ls", "--files", "--count", "users", "a,b"]) {
        Command::List { list, .. } => {
            assert!(list.detail == ListDetail::Files && list.counts_lines && !list.as_json);
            assert_eq!(list.collections, ["users", "a,b"]);
        }
        other => panic!("{other:?}"),
    }
    match command(&lake, &["ls", "--hours", "users"]) {
        Command::List { list, .. } => assert_eq!(list.detail, ListDetail::Hours),
        other => panic!("{other:?}"),
    }
    let problem = Given::of(&[]).args(&["ls"]).problem();
    assert!(problem.starts_with("LAKE_URL: "), "{problem}");
}

fn watch(environment: &[(&str, &str)], args: &[&str]) -> WatchSettings {
    match command(environment, &[&["watch"], args].concat()) {
        Command::Watch(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

#[test]
fn watching_needs_the_source_alone() {
    let given = [("MONGODB_URI", "mongodb://h"), ("JSON_MODE", "canonical")];
    let settings = watch(&given, &[]);
    assert_eq!((settings.limit, settings.is_pretty), (None, false));
    let streams = settings.streams.iter();
    let streams: Vec<_> = streams
        .map(|stream| (stream.watched.namespace().to_string(), stream.json_mode))
        .collect();
    let canonical = JsonMode::Canonical;
    assert_eq!(
        streams,
        [
            ("mydb.users".to_owned(), canonical),
            ("mydb.orders".to_owned(), canonical)
        ]
    );
    for setting in table::ALL {
        let given = [given[0], (setting.name, "not a value\0")];
        let loaded = Given::of(&given).args(&["watch"]).load();
        match loaded {
            Ok(_) => {}
            Err(Exit::Problems(problems)) => {
                assert_eq!(problems.0[0].setting, setting.name, "{problems}");
            }
            other => panic!("{}: {other:?}", setting.name),
        }
    }
    for name in [
        "LAKE_URL",
        "BATCH_SIZE",
        "SNAPSHOT",
        "HTTP_ADDR",
        "START_AT",
    ] {
        watch(&[given[0], (name, "no")], &[]);
    }
    let problem = Given::of(&[]).args(&["watch"]).problem();
    assert!(problem.starts_with("MONGODB_URI: "), "{problem}");
}

#[test]
fn watching_takes_collections_and_a_start_from_its_arguments() {
    let given = [
        ("MONGODB_URI", "mongodb://h"),
        ("MONGODB_COLLECTIONS", "a$b"),
        ("START_AT", "2024-01-15T14:00:00Z"),
    ];
    let names = |settings: &WatchSettings| -> Vec<String> {
        let streams = settings.streams.iter();
        streams
            .map(|stream| stream.watched.namespace().to_string())
            .collect()
    };
    let args = [
        "a",
        "b,c",
        "--limit",
        "7",
        "--pretty",
        "--mongodb-collections",
        "d",
    ];
    let settings = watch(&given, &args);
    assert_eq!(names(&settings), ["mydb.a", "mydb.b", "mydb.c"]);
    assert_eq!((settings.limit, settings.is_pretty), (Some(7), true));
    assert_eq!(settings.from, WatchFrom::Now);
    let time = Position::At(ClusterTime {
        seconds: 1_705_327_200,
        increment: 1,
    });
    for flag in ["--from", "--start-at"] {
        let settings = watch(&given, &["a_*", "!a_b", flag, "2024-01-15T14:00:00Z"]);
        assert_eq!(names(&settings), ["mydb.a_*,!a_b"]);
        assert_eq!(settings.from, WatchFrom::Position(time.clone()));
    }
    let token = r#"{"_data":"8265A53E2F000000012B0229296E04"}"#;
    let settings = watch(&given, &["a", "--from", token]);
    let after = Position::After(ResumeToken::from_canonical(token));
    assert_eq!(settings.from, WatchFrom::Position(after));
    assert_eq!(watch(&given, &["a", "--from", "NOW"]).from, WatchFrom::Now);
}

#[test]
fn checkpoints_may_be_watched_by_name_and_patterns_leave_them_out() {
    let given = [
        ("MONGODB_URI", "mongodb://h"),
        ("MONGODB_DATABASE", "metadata"),
        ("STREAMS", "shared"),
    ];
    for (names, sees) in [("change_stream_state", true), ("change_*", false)] {
        let streams = watch(&given, &[names]).streams;
        let selection = streams[0].watched.selection().unwrap();
        let found = selection.matches("metadata", "change_stream_state");
        assert_eq!(found, sees, "{names}");
    }
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

#[test]
fn completions_and_manual_pages_show_what_help_shows() {
    let page = |args: &[&str]| match Given::default().args(args).load() {
        Err(Exit::Answer(page)) => page,
        other => panic!("{other:?}"),
    };
    for shell in ["bash", "zsh", "fish"] {
        let script = page(&["completions", shell]);
        for word in [
            "healthcheck",
            "watch",
            "batch-size",
            "mongodb-uri-file",
            "limit",
        ] {
            assert!(script.contains(word), "{word} is missing for {shell}");
        }
        for word in ["http-token ", "account-key ", "http-token'", "manual"] {
            assert!(!script.contains(word), "{word} is offered for {shell}");
        }
    }
    let silt = page(&["man"]);
    for text in [
        ".TH silt 1",
        "\\fB\\-\\-batch\\-size\\fR",
        "silt\\-watch(1)",
        "EXTRA",
    ] {
        assert!(silt.contains(text), "{text}:\n{silt}");
    }
    let watch = page(&["man", "watch"]);
    assert!(watch.contains(".TH silt-watch 1") && watch.contains("see silt(1)"));
    assert!(
        watch.contains("\\-\\-limit") && !watch.contains("batch"),
        "{watch}"
    );
    for args in [
        &["man", "dance"][..],
        &["completions", "tcsh"],
        &["completions"],
    ] {
        let exit = Given::default().args(args).load().unwrap_err();
        assert_eq!(exit.code(), 2, "{args:?}: {exit}");
    }
}
