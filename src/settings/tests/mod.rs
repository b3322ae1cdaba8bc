//! Tests of loading as a whole.

mod any_input_prop_tests;
mod commands;
mod documents;
mod filters;
mod help;
mod lake;
mod places;
mod scope;
mod secret_files;
mod secrets;
mod settings_file;
mod table_driven;
mod template;
mod together;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write as _;

use super::*;

/// 2026-01-01T00:00:00Z
const NOW_UNIX_MS: i64 = 1_767_225_600_000;

/// The least that a local lake needs.
const LOCAL: [(&str, &str); 2] = [("MONGODB_URI", "mongodb://h"), ("LAKE_URL", "file:///lake")];

/// The least that an Azure lake needs.
const AZURE: [(&str, &str); 2] = [
    ("MONGODB_URI", "mongodb://h"),
    ("AZURE_STORAGE_ACCOUNT_NAME", "acct"),
];

/// What there is to load from.
#[derive(Default)]
struct Given {
    args: Vec<OsString>,
    environment: HashMap<String, OsString>,
    env_file: Vec<u8>,
    is_terminal: bool,
}

/// The settings of a run.
fn of(loaded: Loaded) -> Settings {
    match loaded.command {
        Command::Run(settings) => *settings,
        other => panic!("{other:?}"),
    }
}

impl Given {
    fn of(environment: &[(&str, &str)]) -> Self {
        Self::default().and(environment)
    }

    fn and(mut self, environment: &[(&str, &str)]) -> Self {
        for (name, value) in environment {
            self.environment.insert((*name).to_owned(), value.into());
        }
        self
    }

    fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(OsString::from));
        self
    }

    fn env_file(mut self, text: impl AsRef<[u8]>) -> Self {
        self.env_file.extend(text.as_ref());
        self
    }

    fn load(&self) -> Result<Loaded, Exit> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&self.env_file).unwrap();
        let surroundings = Surroundings {
            environment: &|name| self.environment.get(name).cloned(),
            default_env_file: Some(file.path()),
            is_terminal: self.is_terminal,
            now_unix_ms: NOW_UNIX_MS,
        };
        let args = std::iter::once("silt".into()).chain(self.args.clone());
        load(args, &surroundings)
    }

    fn settings(&self) -> Settings {
        of(self.load().map_err(|exit| exit.to_string()).unwrap())
    }

    /// The problems, and their text.
    fn problems(&self) -> (Vec<Problem>, String) {
        match self.load() {
            Err(Exit::Problems(problems)) => {
                let text = problems.to_string();
                (problems.0, text)
            }
            other => panic!("{other:?}"),
        }
    }

    /// The text of the one problem.
    fn problem(&self) -> String {
        let (problems, text) = self.problems();
        assert_eq!(problems.len(), 1, "{text}");
        problems[0].to_string()
    }
}
