//! `docs/settings.md` and `.env.template` are generated from the table: `make docs` writes them, and without
//! it these tests fail if they are stale.

use std::fmt::Write as _;
use std::path::Path;

use regex::Regex;

use crate::settings::mongodb::uri::IGNORED;
use crate::settings::table;
use crate::settings::table::setting::{Fallback, Heading, Kind, Setting};

/// Set by `make docs`.
const WRITE: &str = "SILT_WRITE_DOCS";

/// Longest line of a comment in the template.
const COMMENT_MAX_CHARS: usize = 110;

/// The settings that must be filled in come first in the template.
const REQUIRED: [&Setting; 2] = [&table::MONGODB_URI, &table::AZURE_STORAGE_ACCOUNT_NAME];

fn is_current(path: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap();
    assert!(
        found == expected,
        "{} is stale: run make docs",
        path.display()
    );
}

fn of_heading(heading: Heading) -> impl Iterator<Item = &'static Setting> {
    let all = table::ALL.iter().copied();
    all.filter(move |setting| setting.heading == heading)
}

#[test]
fn the_page_of_settings_is_current() {
    is_current("docs/settings.md", &page());
}

#[test]
fn the_template_is_current() {
    is_current(".env.template", &template());
}

const INTRODUCTION: &str = "\
# Settings

<!-- Generated from src/settings/table/mod.rs by `make docs`. -->

Each setting is an environment variable, a line of `.env` in the working directory, a flag (`BATCH_SIZE` is `--batch-size`), or a line of a [settings file](settings-file.md). A flag takes
precedence over the environment, the environment over `.env`, and `.env` over the settings file.

Secrets have no flag, because every process can see a command line. They and `MONGODB_URI` may come from a file: `MONGODB_URI_FILE=/run/secrets/uri`.
Sizes are in bytes, or with `KiB`, `MiB` or `GiB`. What happens when you change a setting: [Changing settings](changing-settings.md).
";

const OF_THE_URI: &str = "
## Options of MONGODB_URI

The driver's options work, such as `replicaSet`, `authSource`, `readPreference`, `tls`, `compressors`, `retryReads` and `appName`, except:

- `authMechanism` is `SCRAM-SHA-256`, `SCRAM-SHA-1`, `MONGODB-X509`, `PLAIN` or `DEFAULT`; others are refused.
- A user name with `,` or `=` logs in by `SCRAM-SHA-256`.
- A database in the path is only where the user logs in, not what is watched.
- silt opens a connection for each stream, whatever `maxPoolSize` says.
- Ignored with a warning:
";

fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for heading in Heading::ALL {
        let title = heading.as_str();
        write!(
            page,
            "\n## {title}\n\n| setting | default | values | |\n|-|-|-|-|\n"
        )
        .unwrap();
        for setting in of_heading(heading) {
            let (name, default, values) = (setting.name, default(setting), values(setting));
            let text = format!("{} {}", marked_up(setting.help), setting.see);
            let text = text.trim_end();
            writeln!(page, "| `{name}` | {default} | {values} | {text} |").unwrap();
        }
    }
    page.push_str(OF_THE_URI);
    for same_reason in IGNORED.chunk_by(|one, other| one.1 == other.1) {
        let names = same_reason.iter().map(|(name, _)| format!("`{name}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        writeln!(page, "  - {names}: {}", marked_up(same_reason[0].1)).unwrap();
    }
    page
}

fn default(setting: &Setting) -> String {
    match setting.fallback {
        Fallback::Required => "required".to_owned(),
        Fallback::Value(text) => format!("`{text}`"),
        Fallback::Unset(text) => marked_up(text),
    }
}

/// What the setting takes, where it is more than text.
fn values(setting: &Setting) -> String {
    match setting.kind {
        Kind::Choice(words) if words().iter().all(|word| setting.help.contains(word)) => {
            String::new()
        }
        Kind::Choice(words) => {
            let words = words().into_iter().map(|word| format!("`{word}`"));
            words.collect::<Vec<_>>().join(", ")
        }
        Kind::Whole { .. } => setting.kind.needs().trim_end().to_owned(),
        Kind::Size { .. } => {
            let needs = setting.kind.needs();
            needs.split(',').next().unwrap_or_default().to_owned()
        }
        Kind::List { .. } | Kind::Json { .. } | Kind::Text { .. } => String::new(),
    }
}

/// Puts names, addresses and operators into backticks.
fn marked_up(text: &str) -> String {
    let code = Regex::new(
        r"(?x)
          \b[a-z+]+://[^\s,;)]*[^\s,;).] | \b[a-z+]+://
        | \b[A-Z][A-Z0-9]*(_[A-Z0-9]+)+(=[a-z0-9]+)? (\ =\ 500)?
        | \b(TZ|POST\ /flush|silt\ flush\b|database/collection/)
        | \$[a-zA-Z]+ | %[0-9A-F]?[0-9A-F]?
        | /(status|metrics|livez|readyz)\b | \[collections\.users\] | \b0\.0\.0\.0:8080
        | /regular\ expressions/ | \B[*?!](\s|,) | \.gz\b | compressors= | \bw=majority",
    );
    let code = code.unwrap();
    code.replace_all(text, |found: &regex::Captures<'_>| {
        let whole = &found[0];
        let trimmed = whole.trim_end_matches([' ', ',']);
        format!("`{trimmed}`{}", &whole[trimmed.len()..])
    })
    .into_owned()
}

const TEMPLATE_START: &str = "\
# Settings of silt. Copy this file to .env and fill in what is needed. Generated by `make docs`; more: docs/settings.md
# The environment takes precedence over this file, a flag over both, and this file over the one that SILT_CONFIG names.
# A secret may also come from a file of its own, named by NAME_FILE, such as MONGODB_URI_FILE=/run/secrets/uri
# Write values without quotes and without a comment after them: `docker run --env-file` takes both as part of the value.
# Where systemd reads this file, double each backslash.

# ---- Required ----
";

fn template() -> String {
    let mut template = TEMPLATE_START.to_owned();
    for setting in REQUIRED {
        entry(&mut template, setting, "");
    }
    for heading in Heading::ALL {
        write!(template, "\n# ---- {} ----\n", heading.as_str()).unwrap();
        let others = |setting: &&Setting| {
            !REQUIRED
                .iter()
                .any(|required| required.name == setting.name)
        };
        for setting in of_heading(heading).filter(others) {
            entry(&mut template, setting, "#");
        }
    }
    template
}

fn entry(template: &mut String, setting: &Setting, sign: &str) {
    template.push('\n');
    let values = match setting.kind {
        Kind::Choice(_) if values(setting).is_empty() => String::new(),
        Kind::Choice(_) | Kind::Whole { .. } | Kind::Size { .. } => {
            format!(" Takes {}.", setting.kind.needs().trim_end())
        }
        Kind::Text { .. } | Kind::List { .. } | Kind::Json { .. } => String::new(),
    };
    let mut line = "#".to_owned();
    for word in format!("{}{values}", setting.help).split(' ') {
        if line.chars().count() + 1 + word.chars().count() > COMMENT_MAX_CHARS {
            template.push_str(&line);
            template.push('\n');
            "#".clone_into(&mut line);
        }
        line.push(' ');
        line.push_str(word);
    }
    let (name, default) = (setting.name, setting.default_text().unwrap_or_default());
    write!(template, "{line}\n{sign}{name}={default}\n").unwrap();
}
