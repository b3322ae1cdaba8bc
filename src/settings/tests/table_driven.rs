//! Every setting with every kind of value: it is taken, or refused by name. Never a panic.

use std::os::unix::ffi::OsStringExt as _;

use proptest::prelude::*;

use super::*;
use crate::settings::table::setting::{Fallback, Kind, Secrecy, Setting};

/// Values that no setting of a number, a size or a few words takes.
fn bad_values() -> Vec<OsString> {
    let mut values: Vec<OsString> = [
        "-1",
        "-9223372036854775809",
        "18446744073709551616",
        "1e3",
        "1.5",
        "0x10",
        "+1",
        "true",
        "null",
        "{}",
        "[1]",
        "abc",
        "a b",
        "ünï",
        "🦀",
        "a\nb",
        "a\tb\u{7f}",
        "a\0b",
        "\u{202e}txt",
        "'1'",
        "\"1\"",
        "%00",
        "../..",
        "$HOME",
        "; rm",
        "http://x",
        "999999999999999999999999999999999999999999",
        "1,2",
    ]
    .iter()
    .map(OsString::from)
    .collect();
    values.push("x".repeat(10_000).into());
    values.push("9".repeat(10_000).into());
    values
}

fn not_text() -> [OsString; 3] {
    [&b"\xff"[..], b"mydb\xc3\x28", b"\xed\xa0\x80"].map(|bytes| OsString::from_vec(bytes.to_vec()))
}

/// The ways to give a value.
#[derive(Clone, Copy, Debug)]
enum Way {
    Environment,
    Flag,
    File,
}

fn given(base: &[(&str, &str)], setting: &Setting, value: &OsString, way: Way) -> Given {
    let mut given = Given::of(base);
    given.environment.remove(setting.name);
    match way {
        Way::Environment => {
            given
                .environment
                .insert(setting.name.to_owned(), value.clone());
        }
        Way::Flag => {
            let mut arg = OsString::from(format!("--{}=", setting.flag));
            arg.push(value);
            given.args.push(arg);
        }
        Way::File => {
            // Quoted where quotes or line ends are part of the value.
            let value = value.clone().into_vec();
            let is_plain = !value
                .iter()
                .any(|byte| matches!(byte, b'\n' | b'\'' | b'"'));
            let quote: &[u8] = match (is_plain, value.contains(&b'"')) {
                (true, _) => b"",
                (_, true) => b"'",
                _ => b"\"",
            };
            let name = setting.name.as_bytes();
            given.env_file = [name, b"=", quote, &value, quote, b"\n"].concat();
        }
    }
    given
}

/// Taken, or refused with a text that names the setting.
fn is_taken(given: &Given, setting: &Setting) -> bool {
    match given.load() {
        Ok(_) => true,
        Err(Exit::Problems(problems)) => {
            let text = problems.to_string();
            assert!(!problems.0.is_empty());
            assert!(text.contains(setting.name), "{} {text}", setting.name);
            assert!(
                !text.contains(|c: char| c.is_control() && c != '\n'),
                "{text:?}"
            );
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(longest < Some(600), "{text}");
            assert_eq!(Exit::Problems(problems).code(), 2);
            false
        }
        Err(other) => panic!("{other}"),
    }
}

fn all_cases() -> impl Iterator<
    Item = (
        &'static [(&'static str, &'static str)],
        &'static Setting,
        Way,
    ),
> {
    let bases: [&'static [_]; 2] = [&LOCAL, &AZURE];
    bases.into_iter().flat_map(|base| {
        table::ALL.iter().flat_map(move |setting| {
            let ways = [Way::Environment, Way::Flag, Way::File];
            ways.into_iter().map(move |way| (base, *setting, way))
        })
    })
}

#[test]
fn bad_values_are_refused_by_name() {
    let mut cases = 0;
    for (base, setting, way) in all_cases() {
        for value in bad_values() {
            let is_taken = is_taken(&given(base, setting, &value, way), setting);
            let may_be_taken = match setting.kind {
                Kind::Text { .. } | Kind::List { .. } | Kind::Json { .. } => true,
                Kind::Choice(words) => words().iter().any(|word| value == *word),
                Kind::Whole { .. } | Kind::Size { .. } => false,
            };
            assert!(may_be_taken || !is_taken, "{} took {value:?}", setting.name);
            cases += 1;
        }
    }
    assert!(cases >= 300, "{cases}");
}

#[test]
fn what_is_not_text_is_refused_by_name() {
    for (base, setting, way) in all_cases() {
        for value in not_text() {
            assert!(
                !is_taken(&given(base, setting, &value, way), setting),
                "{}",
                setting.name
            );
        }
    }
}

#[test]
fn empty_values_unset_or_are_refused() {
    for (base, setting, way) in all_cases() {
        for value in ["", " ", "\t \r"] {
            let given = given(base, setting, &value.into(), way);
            let is_needed = base.iter().any(|(name, _)| *name == setting.name);
            let is_refused_flag = matches!(way, Way::Flag) && setting.secrecy == Secrecy::Secret;
            let may_be_empty = setting.may_be_empty() && !is_needed && !is_refused_flag;
            let text = given
                .load()
                .map_err(|exit| exit.to_string())
                .err()
                .unwrap_or_default();
            let names_it = text.contains(setting.name);
            assert_eq!(
                names_it, !may_be_empty,
                "{} {value:?} {way:?}: {text}",
                setting.name
            );
            if let (false, Some(default)) = (setting.may_be_empty(), setting.default_text()) {
                let fix = format!("remove the line to take the default {default}");
                assert!(text.contains(&fix), "{text}");
            }
        }
    }
}

#[test]
fn missing_values_take_the_default_or_are_asked_for() {
    for base in [&LOCAL, &AZURE] {
        for setting in table::ALL {
            let mut given = Given::of(base);
            let was_set = given.environment.remove(setting.name).is_some();
            let is_required = setting.fallback == Fallback::Required;
            assert!(was_set || !is_required);
            assert_eq!(is_taken(&given, setting), !was_set, "{}", setting.name);
        }
    }
}

#[test]
fn bounds_are_taken_and_what_lies_beyond_is_not() {
    for setting in table::ALL {
        let (Kind::Whole { least, most, .. } | Kind::Size { least, most }) = setting.kind else {
            continue;
        };
        let room = [
            ("MAX_FILE_SIZE", "1024GiB"),
            ("BUFFER_LIMIT_BYTES", "1024GiB"),
            ("BATCH_BYTES", "1KiB"),
        ];
        let base: Vec<_> = LOCAL.into_iter().chain(room).collect();
        let taken = |number: u64| {
            let value = number.to_string().into();
            is_taken(&given(&base, setting, &value, Way::Environment), setting)
        };
        assert!(taken(least) && taken(most), "{}", setting.name);
        assert!(!taken(least - 1) && !taken(most + 1), "{}", setting.name);
        assert!(!taken(0) && !taken(u64::MAX), "{}", setting.name);
    }
}

#[test]
fn all_problems_are_reported_together_in_the_order_of_the_help() {
    let values: Vec<_> = table::ALL
        .iter()
        .map(|setting| (setting.name, "-1 $"))
        .collect();
    let (problems, text) = Given::of(&values).problems();
    let names: Vec<_> = problems
        .iter()
        .map(|problem| problem.setting.as_str())
        .collect();
    let all = table::ALL.iter().map(|setting| setting.name);
    let missing: Vec<_> = all.clone().filter(|name| !names.contains(name)).collect();
    assert_eq!(missing, [""; 0], "{text}");
    let in_order: Vec<_> = all.filter(|name| names.contains(name)).collect();
    let mut unique = names.clone();
    unique.dedup();
    assert_eq!(unique, in_order);
    let count = unique.len();
    assert!(text.starts_with(&format!("silt: {count} settings are wrong\n  MONGODB_URI")));
}

/// Text that gets further into the parsers than any text does.
fn near_misses() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,30}",
        any::<String>(),
        "-?[0-9]{0,25}( ?[KMG]i?B)?",
        "(mongodb|mongodb\\+srv)://([a-z%:@]{0,8}@)?[a-z0-9:,%\\[\\]]{0,12}(/[a-z?=&@]{0,8})?",
        "(abfss|abfs|file|https?)://[a-z$@.%-]{0,12}(\\.dfs\\.core\\.windows\\.net)?[/.%a-z0-9\\\\]{0,12}",
        "https?://(127\\.0\\.0\\.1|localhost|\\[::1\\]|acct\\.blob\\.x)[:0-9]{0,6}[/a-z?#@]{0,10}",
        "((AccountName|AccountKey|BlobEndpoint|SharedAccessSignature|EndpointSuffix|x)=[a-z:/.=&]{0,8};?){0,5}",
        "([0-9*,/LW#?+-]{1,4} ){4,5}[0-9*,/LW#?+-]{1,3}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9:.]{0,10}(Z|[+-][0-9:]{0,5})?",
        "[a-z,. $%/]{0,12}",
    ]
}

/// Fewer cases where each takes long, and still more if more are asked for.
fn quarter() -> ProptestConfig {
    let cases = ProptestConfig::default().cases / 4;
    ProptestConfig::with_cases(cases)
}

proptest! {
    #![proptest_config(quarter())]

    #[test]
    fn all_settings_with_any_text(texts in prop::collection::vec(near_misses(), table::ALL.len())) {
        let names = table::ALL.iter().map(|setting| setting.name);
        let values: Vec<_> = names.zip(texts.iter().map(String::as_str)).collect();
        if let Err(exit) = Given::of(&values).load() {
            prop_assert!(matches!(exit, Exit::Problems(problems) if !problems.0.is_empty()));
        }
    }
}

proptest! {
    #[test]
    fn one_setting_with_any_text(
        at in 0..table::ALL.len(), text in near_misses(), is_azure in any::<bool>(), way in 0..3_usize,
    ) {
        let base = if is_azure { &AZURE } else { &LOCAL };
        let way = [Way::Environment, Way::Flag, Way::File][way];
        let setting = table::ALL[at];
        let result = given(base, setting, &text.into(), way).load();
        if let Err(Exit::Problems(problems)) = result {
            prop_assert!(!problems.0.is_empty());
        }
    }

    #[test]
    fn any_command_line(args in prop::collection::vec("(--?)?[a-z-]{0,12}(=\\PC{0,8})?|\\PC{0,10}", 0..5)) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let _ = Given::of(&LOCAL).args(&args).load();
    }
}
