//! No secret is ever shown.

use super::*;
use crate::settings::table::setting::Secrecy;

const CANARY: &str = "cAnArY";

fn assert_silent(text: &str) {
    assert!(!text.to_lowercase().contains("canary"), "{text}");
}

/// All that can be printed of a result.
fn printed(result: &Result<Loaded, Exit>) -> String {
    match result {
        Ok(loaded) => format!("{loaded:?}"),
        Err(exit) => format!("{exit} {exit:?}"),
    }
}

/// Values with the canary in each part that can hold a secret.
const PLANTED: [(&str, &str); 22] = [
    ("MONGODB_URI", "mongodb://cAnArY:cAnArY@h"),
    ("MONGODB_URI", "mongodb+srv://u:cAnArY@a,b"),
    ("MONGODB_URI", "mongodb://u:cAn@cAnArY@h:x"),
    ("MONGODB_URI", "mongodb://u:1?cAnArY@h"),
    (
        "MONGODB_URI",
        "mongodb://h/?tlsCertificateKeyFilePassword=cAnArY",
    ),
    ("MONGODB_URI", "cAnArY"),
    ("AZURE_STORAGE_ACCOUNT_KEY", "cAnArYcAnArY"),
    ("AZURE_STORAGE_ACCOUNT_KEY", "cAnArY!"),
    ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=cAnArY"),
    ("AZURE_STORAGE_SAS_TOKEN", "cAnArY"),
    (
        "AZURE_STORAGE_SAS_TOKEN",
        "https://acct.blob.core.windows.net/?sig=cAnArY",
    ),
    ("AZURE_STORAGE_CONNECTION_STRING", "cAnArY"),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AccountName=acct;AccountKey=cAnArYcAnArY",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AccountName=acct;AccountKey=cAnArY!",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AccountName=acct;cAnArY;AccountKey=a2V5",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AccountName=acct;AccountKey=a2V5;cAnArY=cAnArY",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "AccountName=acct;SharedAccessSignature=sv=1&sig=cAnArY",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "BlobEndpoint=https://acct.blob.x;SharedAccessSignature=cAnArY",
    ),
    // Secrets in settings that are none.
    (
        "AZURE_STORAGE_ENDPOINT",
        "https://acct.blob.core.windows.net/?sv=1&sig=cAnArY",
    ),
    (
        "AZURE_STORAGE_ENDPOINT",
        "https://u:cAnArY@acct.blob.core.windows.net",
    ),
    ("LAKE_URL", "abfss://u:cAnArY@acct.dfs.core.windows.net/"),
    (
        "AZURE_STORAGE_ACCOUNT_NAME",
        "AccountName=acct;AccountKey=cAnArY",
    ),
];

#[test]
fn planted_secrets_are_never_printed_whatever_else_is_wrong() {
    let broken: Vec<(&str, &str)> = table::ALL
        .iter()
        .filter(|setting| setting.secrecy == Secrecy::Public)
        .map(|setting| (setting.name, "-1 \u{1b} bad$/"))
        .collect();
    for planted in PLANTED {
        for base in [&LOCAL[..], &AZURE, &broken, &[]] {
            let given = || Given::of(base);
            assert_silent(&printed(&given().and(&[planted]).load()));
            let line = format!("{}={}\n", planted.0, planted.1);
            assert_silent(&printed(&given().env_file(&line).load()));
            assert_silent(&printed(&given().env_file(line.repeat(2)).load()));
            let flag = format!("--{}", planted.0.to_lowercase().replace('_', "-"));
            assert_silent(&printed(&given().args(&[&flag, planted.1]).load()));
            let flag = format!("{flag}={}", planted.1);
            assert_silent(&printed(&given().args(&[&flag]).load()));
        }
    }
}

#[test]
fn all_secrets_together_are_never_printed() {
    for start in 0..PLANTED.len() {
        let rotated: Vec<_> = PLANTED
            .iter()
            .cycle()
            .skip(start)
            .take(PLANTED.len())
            .copied()
            .collect();
        assert_silent(&printed(&Given::of(&rotated).load()));
    }
}

#[test]
fn a_loaded_secret_can_be_used_and_not_be_seen() {
    let key = format!("{CANARY}cAnArY");
    let uri = format!("mongodb://u:{CANARY}@h");
    let given =
        Given::of(&AZURE).and(&[("AZURE_STORAGE_ACCOUNT_KEY", &key), ("MONGODB_URI", &uri)]);
    let loaded = given.load().unwrap();
    assert_silent(&printed(&Ok(loaded.clone())));
    let settings = of(loaded);
    assert_eq!(settings.source.uri.reveal(), uri);
    match settings.lake.location {
        LakeLocation::Azure {
            credential: AzureCredential::SharedKey(secret),
            ..
        } => {
            assert_eq!(secret.reveal(), key);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn secrets_as_flags_are_refused_with_the_reason() {
    for setting in table::ALL
        .iter()
        .filter(|setting| setting.secrecy == Secrecy::Secret)
    {
        let flag = format!("--{}", setting.flag);
        for args in [
            &[flag.as_str(), "x"][..],
            &[&flag],
            &[&format!("{flag}=x")],
            &["run", &flag],
        ] {
            let problem = Given::of(&AZURE).args(args).problem();
            let start = format!(
                "{}: it has no flag, because every process can see",
                setting.name
            );
            assert!(problem.starts_with(&start), "{problem}");
        }
    }
    let args = ["--mongodb-uri", "mongodb://u:p@h"];
    let problem = Given::of(&LOCAL).args(&args).problem();
    assert!(problem.starts_with("MONGODB_URI (given as --mongodb-uri): it holds a password"));
    let args = ["--mongodb-uri", "mongodb://user@h"];
    assert!(Given::of(&LOCAL).args(&args).load().is_ok());
}

#[test]
fn what_clap_does_not_understand_is_not_quoted() {
    for args in [
        &["mongodb://u:cAnArY@h"][..],
        &["run", "mongodb://u:cAnArY@h"],
        &["--mongodb-url", "mongodb://u:cAnArY@h"],
        &["--mongodb-url=mongodb://u:cAnArY@h"],
        &["--batch-size", "1", "AccountKey=cAnArY=="],
        &["cAnArY+/=="],
        &["-mongodb://u:cAnArY@h"],
        &["--", "mongodb://u:cAnArY@h"],
    ] {
        let result = Given::of(&LOCAL).args(args).load();
        assert!(matches!(result, Err(Exit::Usage(_))), "{args:?}");
        assert_silent(&printed(&result));
    }
}
