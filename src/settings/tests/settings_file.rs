//! The file that `SILT_CONFIG` names.

use super::scope::watched;
use super::*;

/// What is loaded with such a file beside it.
struct WithFile {
    given: Given,
    file: tempfile::NamedTempFile,
}

fn with(text: &str) -> WithFile {
    let mut file = tempfile::NamedTempFile::with_prefix("silt-toml-").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    WithFile {
        given: Given::of(&LOCAL).and(&[("SILT_CONFIG", &path)]),
        file,
    }
}

impl WithFile {
    fn and(mut self, environment: &[(&str, &str)]) -> Self {
        self.given = self.given.and(environment);
        self
    }

    fn settings(&self) -> Settings {
        self.given.settings()
    }

    /// All problems, without the folder of the file.
    fn problems(&self) -> Vec<String> {
        let (problems, _) = self.given.problems();
        let path = self.file.path().to_str().unwrap();
        let shown = |problem: &Problem| problem.to_string().replace(path, "F");
        problems.iter().map(shown).collect()
    }
}

/// The feed that watches one collection.
fn feed<'a>(settings: &'a Settings, name: &str) -> &'a FeedSettings {
    let mut feeds = settings.feeds.iter();
    let is_it = |feed: &&FeedSettings| match &feed.watched {
        Watched::Collection(origin) => origin.to_string() == name,
        Watched::Many { .. } => name == "shared",
    };
    feeds
        .find(is_it)
        .unwrap_or_else(|| panic!("{name}: {settings:?}"))
}

#[test]
fn all_other_places_win_over_the_file_and_it_over_the_default() {
    let batch_size = |with: &WithFile| with.settings().files.limits.batch_size_changes;
    let mut with = with("BATCH_SIZE = 2\nTZ = \"Europe/Berlin\"\n");
    assert_eq!(batch_size(&with), 2);
    assert_eq!(with.settings().schedule.timezone.name(), "Europe/Berlin");
    with.given = with.given.env_file("BATCH_SIZE=3\n");
    assert_eq!(batch_size(&with), 3);
    with = with.and(&[("BATCH_SIZE", "4")]);
    assert_eq!(batch_size(&with), 4);
    with.given = with.given.args(&["--batch-size", "5"]);
    assert_eq!(batch_size(&with), 5);
}

#[test]
fn the_file_is_named_by_flag_variable_or_env_file() {
    let with = with("BATCH_SIZE = 2\n");
    let path = with.file.path().to_str().unwrap();
    for given in [
        Given::of(&LOCAL).args(&["--silt-config", path]),
        Given::of(&LOCAL).env_file(format!("SILT_CONFIG={path}\n")),
    ] {
        assert_eq!(given.settings().files.limits.batch_size_changes, 2);
    }
    assert!(Given::of(&LOCAL).and(&[("SILT_CONFIG", "")]).load().is_ok());
    let problem = Given::of(&LOCAL)
        .args(&["--silt-config", "/nowhere/x.toml"])
        .problem();
    assert!(
        problem.starts_with(
            "SILT_CONFIG=/nowhere/x.toml (given as --silt-config): it can't be read: No such"
        ),
        "{problem}"
    );
}

#[test]
fn it_may_hold_all_settings_with_secrets_and_their_files() {
    let mut token = tempfile::NamedTempFile::new().unwrap();
    token.write_all(b"0123456789abcdef\n").unwrap();
    let path = token.path().display();
    let text = format!(
        "MONGODB_URI = \"mongodb://u:p@h\"\nLAKE_URL = \"file:///lake\"\nHTTP_TOKEN_FILE = \"{path}\"\n\
         MONGODB_DATABASE = [\"shop\"]\nMONGODB_COLLECTIONS = [\"users\", \"orders\"]\n\
         START_AT = 2024-01-15T14:00:00Z\nSHOW_EXPANDED_EVENTS = true\n"
    );
    let mut with = with(&text);
    with.given
        .environment
        .retain(|name, _| name == "SILT_CONFIG");
    let settings = with.settings();
    assert_eq!(settings.source.uri.reveal(), "mongodb://u:p@h");
    assert_eq!(
        settings.http.token.as_ref().unwrap().reveal(),
        "0123456789abcdef"
    );
    assert_eq!(watched(&settings), ["shop.users", "shop.orders"]);
    assert!(matches!(settings.feeds[0].start_at, StartAt::Time(_)));
    assert!(settings.feeds[1].stream.show_expanded_events);
    let listed = with.given.args(&["ls"]).load().unwrap();
    assert!(matches!(listed.command, Command::List { .. }));
}

#[test]
fn a_section_wins_over_all_that_holds_for_all() {
    let with = with(
        "BATCH_SIZE = 2\nFULL_DOCUMENT = \"default\"\n\
         [collections.users]\nBATCH_SIZE = 7\nOUTPUT_FORMAT = \"ndjson\"\n\
         [collections.\"mydb.orders\"]\nPIPELINE = [{ \"$match\" = { \"fullDocument.a\" = 1 } }]\n",
    );
    let with = with.and(&[("BATCH_SIZE", "3"), ("RETRY_ATTEMPTS", "5")]);
    let settings = with.settings();
    let (users, orders) = (
        feed(&settings, "mydb.users"),
        feed(&settings, "mydb.orders"),
    );
    assert_eq!(users.files.limits.batch_size_changes, 7);
    assert_eq!(users.files.format.extension(), "ndjson");
    assert_eq!(orders.files.limits.batch_size_changes, 3);
    assert_eq!(orders.files.format.extension(), "json");
    assert_eq!(orders.stream.pipeline.len(), 1);
    assert!(users.stream.pipeline.is_empty());
    for feed in [users, orders] {
        assert_eq!(feed.stream.full_document, FullDocument::Default);
        assert_eq!(feed.files.limits.retry_attempts, 5);
    }
    assert_eq!(settings.files.limits.batch_size_changes, 3);
}

/// Every setting that a section may have, with a value that isn't the default, and how a feed shows it.
const PER_COLLECTION: [(&str, &str); 20] = [
    ("FULL_DOCUMENT = 'required'", "full_document: Required"),
    (
        "FULL_DOCUMENT_BEFORE_CHANGE = 'required'",
        "full_document_before_change: Required",
    ),
    ("CURSOR_BATCH_SIZE = 77", "cursor_batch_changes: 77"),
    ("SHOW_EXPANDED_EVENTS = true", "show_expanded_events: true"),
    (
        "OPERATION_TYPES = ['delete']",
        "operation_types: [\"delete\"]",
    ),
    (
        "PIPELINE = [{ '$unset' = 'x' }]",
        "Document({\"$unset\": String(\"x\")})",
    ),
    ("START_AT = 2024-01-15T14:00:00Z", "start_at: Time("),
    ("BATCH_SIZE = 77", "batch_size_changes: 77"),
    ("BATCH_BYTES = 77777", "batch_limit_bytes: 77777"),
    ("MAX_FILE_SIZE = 99999999", "file_limit_bytes: 99999999"),
    ("MAX_FILE_COMMITS = 77", "file_limit_commits: 77"),
    ("OUTPUT_FORMAT = 'ndjson'", "output: Ndjson"),
    ("JSON_MODE = 'canonical'", "json_mode: Canonical"),
    ("COMPRESSION = 'gzip'", "compression: Gzip"),
    ("GZIP_LEVEL = 7", "GzipLevel(7)"),
    ("ON_HISTORY_LOST = 'restart'", "on_history_lost: Restart"),
    ("ON_LARGE_EVENT = 'record'", "on_large_event: Record"),
    ("SNAPSHOT = 'initial'", "snapshot: Initial"),
    ("IDLE_CHECKPOINT_SECONDS = 7", "idle_checkpoint_ms: 7000"),
    ("RETRY_DELAY_MS = 7", "retry_delay_ms: 7"),
];

#[test]
fn every_setting_of_a_collection_comes_from_its_section() {
    for (line, shown) in PER_COLLECTION {
        let settings = with(&format!("[collections.users]\n{line}\n")).settings();
        let [users, orders] =
            ["mydb.users", "mydb.orders"].map(|name| format!("{:?}", feed(&settings, name)));
        assert!(users.contains(shown), "{line}: {users}");
        assert!(!orders.contains(shown), "{line}: {orders}");
    }
    let listed = PER_COLLECTION
        .iter()
        .map(|(line, _)| line.split(' ').next().unwrap());
    let mut listed: Vec<&str> = listed.chain(["RETRY_ATTEMPTS"]).collect();
    let all = table::ALL
        .iter()
        .filter(|setting| setting.is_per_collection);
    let mut all: Vec<&str> = all.map(|setting| setting.name).collect();
    listed.sort_unstable();
    all.sort_unstable();
    assert_eq!(listed, all);
}

#[test]
fn of_a_shared_stream_a_section_takes_its_collection_apart() {
    let all = [("MONGODB_COLLECTIONS", "*")];
    let with = with(
        "[collections.users]\nBATCH_SIZE = 7\n[collections.\"mydb.a.b\"]\nGZIP_LEVEL = 2\n[collections.c]\n",
    );
    let settings = with.and(&all).settings();
    assert_eq!(watched(&settings), ["(mydb).(*)", "mydb.users", "mydb.a.b"]);
    let Watched::Many { selection, .. } = &feed(&settings, "shared").watched else {
        panic!("{settings:?}");
    };
    for (collection, is_shared) in [("users", false), ("a.b", false), ("c", true), ("d", true)] {
        assert_eq!(
            selection.matches("mydb", collection),
            is_shared,
            "{collection}"
        );
    }
    assert_eq!(
        feed(&settings, "shared").files.limits.batch_size_changes,
        1000
    );
    assert_eq!(
        feed(&settings, "mydb.users")
            .files
            .limits
            .batch_size_changes,
        7
    );
}

#[test]
fn where_all_stand_apart_nothing_is_shared() {
    let with = with(
        "STREAMS = 'shared'\n[collections.users]\nBATCH_SIZE = 7\n[collections.orders]\nBATCH_SIZE = 8\n",
    );
    assert_eq!(watched(&with.settings()), ["mydb.users", "mydb.orders"]);
}

#[test]
fn a_section_is_for_one_collection_that_is_watched() {
    let section = |key: &str| format!("[collections.{key}]\nBATCH_SIZE = 7\n");
    for (databases, collections, key, what) in [
        (
            "mydb",
            "users",
            "user",
            "F, line 1, [collections.user]: no watched collection has this name; name one that MONGODB_DATABASE and \
             MONGODB_COLLECTIONS watch",
        ),
        (
            "mydb",
            "a*",
            "'other.a1'",
            "F, line 1, [collections.\"other.a1\"]: no watched collection has this name",
        ),
        (
            "mydb",
            "*",
            "'system.views'",
            "no watched collection has this name",
        ),
        (
            "a,b",
            "users",
            "users",
            "F, line 1, [collections.users]: several collections have this name; name the database too: \
             [collections.\"a.users\"]",
        ),
        (
            "mydb",
            "mydb.users,users",
            "'mydb.users'",
            "several collections have this name; name the database too: [collections.\"mydb.mydb.users\"]",
        ),
        (
            "*",
            "users",
            "users",
            "no watched collection has this name; name its database too: [collections.\"DATABASE.users\"]",
        ),
        (
            "*",
            "*",
            "'metadata.change_stream_state'",
            "silt keeps its checkpoints there, which patterns never match; remove the section",
        ),
    ] {
        let environment = [
            ("MONGODB_DATABASE", databases),
            ("MONGODB_COLLECTIONS", collections),
        ];
        let problems = with(&section(key)).and(&environment).problems();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].contains(what), "{problems:?}");
    }
    for (databases, collections, key, watched) in [
        ("a,b", "users", "'b.users'", "b.users"),
        ("*", "*", "'b.users.old'", "b.users.old"),
        ("a,c*", "users", "users", "a.users"),
        ("mydb", "mydb.users,x", "'mydb.users'", "mydb.mydb.users"),
    ] {
        let environment = [
            ("MONGODB_DATABASE", databases),
            ("MONGODB_COLLECTIONS", collections),
        ];
        let settings = with(&section(key)).and(&environment).settings();
        let limits = &feed(&settings, watched).files.limits;
        assert_eq!(limits.batch_size_changes, 7, "{key}");
    }
    let twice = format!("{}{}", section("users"), section("'mydb.users'"));
    assert_eq!(
        with(&twice).problems(),
        [
            "F, line 3, [collections.\"mydb.users\"]: mydb.users already has a section, in F, line 1, \
          [collections.users]; merge the two"
        ]
    );
}

#[test]
fn problems_name_file_line_section_and_key_and_are_told_together() {
    let with = with(
        "batch_size = 1\nBATCH_BYTES = \"8MB\"\n[collections.users]\nBATCH_SIZE = 0\nTZ = \"UTC\"\n\
         PIPELINE = [{ \"$unset\" = \"_id\" }]\n[collections.nobody]\nGZIP_LEVEL = 10\n",
    );
    let problems = with.and(&[("LOG_LEVEL", "loud")]).problems();
    let expected = [
        "F, line 7, [collections.nobody]: no watched collection has this name",
        "batch_size (in F, line 1): it is not a setting; did you mean BATCH_SIZE?",
        "PIPELINE=[{\"$unset\":\"_id\"}] (in F, line 6, [collections.users]): stage 1, $unset: it removes `_id`",
        "TZ (in F, line 5, [collections.users]): it applies to all collections together; move it",
        "BATCH_SIZE=0 (in F, line 4, [collections.users]): less than 1; set it to 1 to 1000000",
        "BATCH_BYTES=8MB (in F, line 2): not a size; set it to",
        "GZIP_LEVEL=10 (in F, line 8, [collections.nobody]): more than 9; set it to",
        "LOG_LEVEL=loud: not one of its words",
    ];
    assert_eq!(problems.len(), expected.len(), "{problems:#?}");
    for start in expected {
        let is_told = problems.iter().any(|problem| problem.starts_with(start));
        assert!(is_told, "{start}\n{problems:#?}");
    }
}

#[test]
fn what_is_wrong_for_all_is_told_once_and_what_only_a_section_makes_wrong_with_it() {
    let two = "[collections.users]\nGZIP_LEVEL = 2\n[collections.orders]\nGZIP_LEVEL = 2\n";
    let problems = with(two).and(&[("BATCH_SIZE", "x")]).problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problems = with("[collections.users]\nMAX_FILE_SIZE = '1MiB'\n").problems();
    assert_eq!(
        problems,
        [
            "BATCH_BYTES=8MiB (the default, for [collections.users]): more than MAX_FILE_SIZE, which is 1 MiB; \
          lower it, or raise MAX_FILE_SIZE"
        ]
    );
    let filter = [
        ("PIPELINE", r#"[{"$match": {"fullDocument.a": 1}}]"#),
        ("FULL_DOCUMENT", "default"),
    ];
    let problems = with("[collections.users]\nFULL_DOCUMENT = 'updateLookup'\n")
        .and(&filter)
        .problems();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("(for [collections.users]): stage 1, $match: it depends on"),
        "{problems:?}"
    );
}

#[test]
fn what_is_no_toml_is_told_with_its_place_and_without_its_text() {
    let problems = with("BATCH_SIZE = 1\nHTTP_TOKEN = canary7f3a\n").problems();
    assert!(
        problems[0].starts_with("F, line 2, column 14: not TOML: "),
        "{problems:?}"
    );
    assert!(!problems.concat().contains("canary7f3a"), "{problems:?}");
    let mut with = with("");
    with.file.write_all(b"TZ = '\xff'").unwrap();
    let problems = with.problems();
    assert!(
        problems[0].contains("it can't be read: stream did not contain valid UTF-8"),
        "{problems:?}"
    );
}

#[test]
fn values_of_every_other_type_are_refused_by_name() {
    for setting in table::ALL
        .iter()
        .filter(|setting| setting.name != "SILT_CONFIG")
    {
        for value in [
            "[[1]]",
            "[{}]",
            "{ a = 1 }",
            "nan",
            "-1",
            "''",
            "99999999999999999999",
        ] {
            let mut with = with(&format!("{} = {value}\n", setting.name));
            with.given.environment.remove(setting.name);
            match with.given.load() {
                Ok(_) => {}
                Err(Exit::Problems(problems)) => {
                    let text = problems.to_string();
                    assert!(text.contains(setting.name), "{value}: {text}");
                }
                Err(other) => panic!("{other}"),
            }
        }
    }
}

#[test]
fn a_secret_in_the_file_is_never_shown() {
    let with = with("HTTP_TOKEN = \"canary7f3a\"\nAZURE_STORAGE_ACCOUNT_KEY = [\"canary7f3a\"]\n");
    let problems = with.problems();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(!problems.concat().contains("canary7f3a"), "{problems:?}");
}
