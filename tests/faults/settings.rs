//! Every variable set to everything that people and scripts get wrong: exit 2 with a message that names it,
//! or past the settings; never a panic, and never a word of a secret.

use std::ffi::{OsStr, OsString};
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Variables that take a number or a size.
const NUMBERS: [&str; 18] = [
    "CURSOR_BATCH_SIZE",
    "GZIP_LEVEL",
    "LAKE_CONCURRENCY",
    "BATCH_SIZE",
    "BATCH_BYTES",
    "BUFFER_LIMIT_BYTES",
    "MAX_FILE_SIZE",
    "MAX_FILE_COMMITS",
    "IDLE_CHECKPOINT_SECONDS",
    "RETRY_ATTEMPTS",
    "RETRY_DELAY_MS",
    "MONGODB_TIMEOUT_SECONDS",
    "LAKE_TIMEOUT_SECONDS",
    "SHUTDOWN_TIMEOUT_SECONDS",
    "HTTP_ADDR",
    "START_AT",
    "SNAPSHOT_RANGES",
    "SNAPSHOT_RATE_LIMIT",
];
/// Variables that take one of a few words, or text with rules that nonsense breaks.
const WORDS: [&str; 20] = [
    "WIRE_COMPRESSION",
    "FULL_DOCUMENT",
    "OUTPUT_FORMAT",
    "JSON_MODE",
    "COMPRESSION",
    "CHECKPOINT_STORE",
    "ON_HISTORY_LOST",
    "LOG_LEVEL",
    "LOG_FORMAT",
    "DUMP_SCHEDULE",
    "TZ",
    "MONGODB_URI",
    "LAKE_URL",
    "STREAMS",
    "FULL_DOCUMENT_BEFORE_CHANGE",
    "SHOW_EXPANDED_EVENTS",
    "OPERATION_TYPES",
    "PIPELINE",
    "ON_LARGE_EVENT",
    "SNAPSHOT",
];
/// Variables that may be set and empty, which means not set.
const MAY_BE_EMPTY: [&str; 11] = [
    "AZURE_STORAGE_ACCOUNT_NAME",
    "AZURE_ADLS_FILESYSTEM",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "AZURE_STORAGE_CONNECTION_STRING",
    "AZURE_STORAGE_ENDPOINT",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "HTTP_TOKEN",
];
/// The same of one that is no secret, and is shown.
const MAY_BE_EMPTY_AND_SHOWN: &str = "SILT_CONFIG";
const CANARY: &str = "canary7f3a";

/// All variables, from the template that lists them.
fn names() -> Vec<&'static str> {
    let lines = include_str!("../../.env.template").lines();
    let name = |line: &'static str| {
        let (name, _) = line.strip_prefix('#').unwrap_or(line).split_once('=')?;
        let is_name = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
        name.bytes().all(is_name).then_some(name)
    };
    lines.filter_map(name).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Refused,
    /// Which of the two is for the library's own tests to say.
    Either,
}

/// An address that is taken: what is past the settings ends there, with status 1.
fn taken() -> &'static str {
    static TAKEN: OnceLock<(TcpListener, String)> = OnceLock::new();
    let (_, address) = TAKEN.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        (listener, address)
    });
    address
}

/// Runs silt with one variable set so, all else being good.
fn run(name: &str, value: &OsStr, arguments: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_silt"));
    command
        .env_clear()
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .env("MONGODB_URI", "mongodb://h")
        .env("LAKE_URL", "file:///lake")
        .env("HTTP_ADDR", taken())
        .env(name, value)
        .args(arguments)
        .stdin(Stdio::null());
    command.output().unwrap()
}

fn check(name: &str, value: &OsStr, output: &Output, verdict: Verdict) {
    let text = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    let case = format!("{name}={value:?}: {code:?}\n{text}");
    assert!(!text.contains("panicked"), "{case}");
    assert!(!text.contains(CANARY), "{case}");
    match code {
        Some(2) => assert!(text.contains(name), "{case}"),
        Some(1) => assert_eq!(verdict, Verdict::Either, "{case}"),
        _ => panic!("{case}"),
    }
}

/// What is wrong for any variable or for one of a kind, and may be right for another.
fn cases(name: &'static str) -> Vec<(OsString, Verdict)> {
    let refused_if = |is_refused: bool| {
        if is_refused {
            Verdict::Refused
        } else {
            Verdict::Either
        }
    };
    let is_number = refused_if(NUMBERS.contains(&name));
    let is_strict = refused_if(NUMBERS.contains(&name) || WORDS.contains(&name));
    let may_be_empty = MAY_BE_EMPTY.contains(&name) || name == MAY_BE_EMPTY_AND_SHOWN;
    let is_required = refused_if(!may_be_empty);
    let mut cases: Vec<(OsString, Verdict)> = vec![
        (OsString::from_vec(b"caf\xE9".to_vec()), Verdict::Refused),
        ("".into(), is_required),
        ("   ".into(), is_required),
        ("-1".into(), is_strict),
        ("1.5.2".into(), is_strict),
        ("99999999999999999999999999".into(), is_strict),
        ("18446744073709551616".into(), is_number),
        ("no such thing".into(), is_strict),
        ("a\u{1}b\nc".into(), is_strict),
        ("x".repeat(100_000).into(), is_strict),
        ("{\"json\":[1]}".into(), is_strict),
    ];
    if MAY_BE_EMPTY.contains(&name) || name == "MONGODB_URI" {
        // Bad as an URI and as a key, and to be kept quiet about.
        let secret = format!("mongodb://user:{CANARY}@/ %%");
        cases.push((secret.into(), Verdict::Either));
    }
    cases
}

#[test]
fn every_variable_set_wrong_is_refused_by_name() {
    let names = names();
    assert!(names.len() > 30, "{names:?}");
    for name in NUMBERS.iter().chain(&WORDS).chain(&MAY_BE_EMPTY) {
        assert!(names.contains(name), "{name} is not a setting");
    }
    let mut count = 0;
    for name in names {
        for (value, verdict) in cases(name) {
            check(name, &value, &run(name, &value, &[]), verdict);
            count += 1;
        }
    }
    assert!(count >= 300, "{count} cases");
}

#[test]
fn flags_are_held_to_the_same() {
    for name in NUMBERS {
        let flag = format!("--{}", name.to_lowercase().replace('_', "-"));
        for value in ["-1", "", "99999999999999999999999999", "no such thing"] {
            let argument = OsString::from(format!("{flag}={value}"));
            let output = run("TZ", OsStr::new("UTC"), &[&argument]);
            check(name, OsStr::new(value), &output, Verdict::Refused);
        }
    }
    for arguments in [&["--no-such-flag"][..], &["fly"], &["run", "run"]] {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let output = run("TZ", OsStr::new("UTC"), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_is_required_and_missing_is_named() {
    for name in ["MONGODB_URI", "LAKE_URL"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_silt"));
        let output = command
            .env_clear()
            .current_dir(env!("CARGO_TARGET_TMPDIR"))
            .envs([("MONGODB_URI", "mongodb://h"), ("LAKE_URL", "file:///lake")])
            .env_remove(name)
            .output()
            .unwrap();
        check(name, OsStr::new("(missing)"), &output, Verdict::Refused);
    }
}

#[test]
fn strange_names_of_collections_are_taken_if_mongodb_takes_them() {
    let long = "x".repeat(255);
    for good in [
        "users",
        "a b",
        "ünï",
        "日本語",
        "a.b",
        "a/b",
        "a\\b",
        "100%",
        "quo\"te",
        "it's",
        "_silt",
        "-",
        "users,orders, items ",
        "system_of_a_down",
        "emoji😀",
        "users.",
        "a:b|c*d?e<f>",
    ] {
        let value = OsStr::new(good);
        let output = run("MONGODB_COLLECTIONS", value, &[]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{good:?}: {text}");
    }
    for bad in [
        "",
        ",",
        "users,,orders",
        "users,users",
        "system.profile",
        ".users",
        "a$b",
        long.as_str(),
        " ",
    ] {
        let value = OsStr::new(bad);
        let output = run("MONGODB_COLLECTIONS", value, &[]);
        check("MONGODB_COLLECTIONS", value, &output, Verdict::Refused);
    }
}
