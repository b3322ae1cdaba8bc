//! Whatever is set: it is taken or refused by name, without a panic and without a word of a secret.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::settings::table::setting::Secrecy;

const CANARY: &str = "canary7f3a";

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => any::<String>(),
        2 => "-?[0-9]{1,25}(\\.[0-9]{1,3})?( ?[kKMGT]i?B)?",
        2 => "[a-z]{1,8}://[a-z0-9:@%/?=&.,\\[\\]-]{0,40}",
        2 => "mongodb(\\+srv)?://[a-z0-9:@%/?=&.,-]{0,40}",
        1 => "[*/0-9,a-zA-Z-]{1,6}( [*/0-9,a-zA-Z-]{1,6}){3,6}",
        1 => "(AccountName|AccountKey|BlobEndpoint|[a-z]{1,5})=[a-z0-9=;:/]{0,30}",
        1 => "[0-9]{1,5}-[0-9]{1,3}-[0-9]{1,3}T[0-9:.]{1,12}(Z|[+-][0-9:]{1,6})?",
    ]
}

fn name() -> impl Strategy<Value = &'static str> {
    let names: Vec<&str> = table::ALL.iter().map(|setting| setting.name).collect();
    prop::sample::select(names)
}

/// Refused settings are told by name.
fn is_told(given: &Given, name: &str) -> Result<(), TestCaseError> {
    match given.load() {
        Ok(_) => Ok(()),
        Err(Exit::Problems(problems)) => {
            let text = problems.to_string();
            prop_assert!(text.contains(name), "{name} isn't named:\n{text}");
            Ok(())
        }
        Err(other) => Err(TestCaseError::fail(format!("{other:?}"))),
    }
}

proptest! {
    #[test]
    fn any_text_for_a_setting_is_taken_or_refused_by_name(
        name in name(),
        value in value(),
        is_azure: bool,
    ) {
        let base = if is_azure { AZURE } else { LOCAL };
        is_told(&Given::of(&base).and(&[(name, &value)]), name)?;
    }

    #[test]
    fn a_refused_secret_is_never_shown(
        name in prop::sample::select(
            table::ALL
                .iter()
                .filter(|setting| setting.secrecy != Secrecy::Public)
                .map(|setting| setting.name)
                .collect::<Vec<_>>(),
        ),
        before in value(),
        after in value(),
    ) {
        // Where a URI says so, what stands there is a host and may be shown.
        let before = if name == "MONGODB_URI" { "mongodb://user:".to_owned() } else { before };
        let after = if name == "MONGODB_URI" { format!("@{after}") } else { after };
        let given = Given::of(&AZURE).and(&[(name, &format!("{before}{CANARY}{after}"))]);
        if let Err(exit) = given.load() {
            let text = exit.to_string();
            prop_assert!(!text.contains(CANARY), "{text}");
        }
    }

    #[test]
    fn any_env_file_is_read_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Given::of(&LOCAL).env_file(bytes).load();
    }

    #[test]
    fn any_lines_are_read_or_refused(
        lines in vec(("[A-Z_ ]{0,20}", "[ =\"'#\\\\a-z0-9\n\r\t$]{0,30}"), 0..8),
    ) {
        let lines: Vec<String> = lines
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let text = lines.join("\n");
        let _ = Given::of(&LOCAL).env_file(text).load();
    }

    #[test]
    fn any_settings_file_is_read_or_refused(
        lines in vec(
            prop_oneof![
                ("[A-Z_]{0,20}", "[\"'\\[\\]{}a-z0-9,.$# -]{0,30}").prop_map(|(key, value)| format!("{key} = {value}")),
                "\\[+(collections)?[.\"a-z]{0,12}\\]+",
                (name(), value()).prop_map(|(name, value)| format!("{name} = '{value}'")),
                any::<String>(),
            ],
            0..6,
        ),
    ) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.join("\n").as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        if let Err(exit) = Given::of(&LOCAL).and(&[("SILT_CONFIG", path)]).load() {
            prop_assert!(matches!(exit, Exit::Problems(problems) if !problems.0.is_empty()));
        }
    }

    #[test]
    fn any_arguments_are_taken_or_refused(
        args in vec(prop_oneof!["--[a-z-]{0,20}(=.{0,10})?", any::<String>()], 0..5),
    ) {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let _ = Given::of(&LOCAL).args(&args).load();
    }
}
