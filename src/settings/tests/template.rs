//! The template of `.env` names exactly the settings, with their defaults.

use super::*;
use crate::settings::places::env_file;
use crate::settings::table::setting::{Fallback, Setting};

const TEMPLATE: &str = include_str!("../../../.env.template");

/// The lines that set something, commented out or not: whether, name, value.
fn lines() -> Vec<(bool, &'static str, &'static str)> {
    let is_name = |name: &str| {
        name.bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
    };
    TEMPLATE
        .lines()
        .filter_map(|line| {
            let text = line.strip_prefix('#').unwrap_or(line);
            let (name, value) = text.split_once('=')?;
            is_name(name).then_some((text == line, name, value))
        })
        .collect()
}

fn setting(name: &str) -> &'static Setting {
    table::ALL
        .iter()
        .find(|setting| setting.name == name)
        .unwrap()
}

#[test]
fn every_setting_is_there_once_and_nothing_else() {
    let mut names: Vec<_> = lines().iter().map(|(_, name, _)| *name).collect();
    let mut all: Vec<_> = table::ALL.iter().map(|setting| setting.name).collect();
    names.sort_unstable();
    all.sort_unstable();
    assert_eq!(names, all);
}

#[test]
fn defaults_are_those_of_the_table_and_commented_out() {
    for (is_set, name, value) in lines() {
        assert_eq!(value, setting(name).default_text().unwrap_or(""), "{name}");
        if is_set {
            assert_ne!(setting(name).fallback, Fallback::Value(value), "{name}");
        }
    }
}

#[test]
fn what_must_be_filled_in_comes_first() {
    let all = lines();
    let set: Vec<_> = all.iter().filter(|(is_set, ..)| *is_set).collect();
    assert_eq!(set.len(), 2);
    assert_eq!(all[0].1, "MONGODB_URI");
    assert_eq!(all[1].1, "AZURE_STORAGE_ACCOUNT_NAME");
    let (problems, _) = Given::default().env_file(TEMPLATE).problems();
    let names: Vec<_> = problems.iter().map(|problem| &problem.setting).collect();
    assert_eq!(names, ["MONGODB_URI", "LAKE_URL"]);
}

#[test]
fn it_can_be_filled_in_and_all_its_defaults_be_uncommented() {
    let filled = TEMPLATE
        .replace("MONGODB_URI=\n", "MONGODB_URI=mongodb://h\n")
        .replace("ACCOUNT_NAME=\n", "ACCOUNT_NAME=acct\n");
    assert_eq!(env_file::parse(filled.as_bytes()).1, []);
    let plain = Given::default().env_file(&filled).settings();

    let mut spelled_out = filled;
    for setting in table::ALL {
        let line = |mark| format!("\n{mark}{}=", setting.name);
        if setting.default_text().is_some() {
            spelled_out = spelled_out.replace(&line("#"), &line(""));
        }
    }
    let spelled_out = Given::default().env_file(&spelled_out).load().unwrap();
    assert_eq!(spelled_out.warnings, [""; 0]);
    assert_eq!(format!("{:?}", of(spelled_out)), format!("{plain:?}"));
}
