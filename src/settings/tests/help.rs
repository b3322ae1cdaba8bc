//! What `--help` and clap say.

use super::*;
use crate::settings::table::setting::Secrecy;

fn answer(args: &[&str]) -> String {
    match Given::default().args(args).load() {
        Err(exit @ Exit::Answer(_)) => {
            assert_eq!(exit.code(), 0);
            exit.to_string()
        }
        other => panic!("{other:?}"),
    }
}

fn usage(args: &[&str]) -> String {
    match Given::of(&LOCAL).args(args).load() {
        Err(exit @ Exit::Usage(_)) => {
            assert_eq!(exit.code(), 2);
            exit.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_long_help_documents_every_setting_with_its_default() {
    for args in [&["--help"][..], &["run", "--help"], &["help", "run"]] {
        let help = answer(args);
        for setting in table::ALL {
            let name = setting.name;
            if setting.may_be_in_file() {
                assert!(
                    help.contains(&format!("--{} <PATH>", setting.file_flag)),
                    "{name}"
                );
            }
            if setting.secrecy == Secrecy::Secret {
                assert!(!help.contains(&format!("--{} ", setting.flag)), "{name}");
                assert!(!help.contains(&format!("--{}\n", setting.flag)), "{name}");
                continue;
            }
            assert!(help.contains(&format!("--{} <", setting.flag)), "{name}");
            assert!(help.contains(&format!("[environment: {name}]")), "{name}");
            if let Some(default) = setting.default_text() {
                assert!(help.contains(&format!("[default: {default}]")), "{name}");
            }
        }
    }
    let help = answer(&["--help"]);
    for text in [
        "Source:",
        "Lake:",
        "Files and flushing:",
        "Checkpoints:",
        "Failures and shutdown:",
        "Logs:",
        "--env-file <PATH>",
        "AZURE_STORAGE_ACCOUNT_KEY\n",
        "AZURE_STORAGE_SAS_TOKEN\n",
        "every process can see a command line",
        "Exit status of run: 0",
    ] {
        assert!(help.contains(text), "{text}");
    }
}

#[test]
fn the_short_help_is_shorter_and_has_the_defaults() {
    let help = answer(&["-h"]);
    assert!(help.len() < answer(&["--help"]).len());
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for setting in table::ALL {
        if let Some(default) = setting.default_text() {
            assert!(
                help.contains(&format!("[default: {default}]")),
                "{}",
                setting.name
            );
        }
    }
}

#[test]
fn the_version() {
    let version = format!("silt {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(answer(&["--version"]), version);
    assert_eq!(answer(&["-V"]), version);
    assert_eq!(answer(&["run", "-V"]), version);
}

#[test]
fn an_unknown_command_line_is_refused() {
    assert!(usage(&["--batchsize", "5"]).contains("--batchsize"));
    assert!(usage(&["rnu"]).contains("rnu"));
    assert!(usage(&["run", "run"]).contains("run"));
    assert!(usage(&["--batch-size"]).contains("--batch-size"));
    assert!(usage(&["--batch-size", "1", "--batch-size", "2"]).contains("--batch-size"));
}

#[test]
fn a_command() {
    for args in [&[][..], &["run"]] {
        let loaded = Given::of(&LOCAL).args(args).load().unwrap();
        assert!(matches!(loaded.command, Command::Run(_)));
    }
}
