//! Completions and manual pages, made of what the command line shows of itself.

use clap_complete::Shell;
use clap_mangen::Man;

use super::program;

/// What the pages of commands say of the flags that they leave out.
const OTHER_FLAGS: &str = "Each setting is a flag, too: see silt(1).";

/// The completion script for a shell; `None` if the shell is unknown.
pub(super) fn completions(shell: &str) -> Option<String> {
    let shell: Shell = shell.parse().ok()?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut program::shown(), "silt", &mut script);
    String::from_utf8(script).ok()
}

/// The manual page of silt, or of one of its commands; `None` if there is no such command.
///
/// The page of a command has its own flags only. Those of the settings, which every command takes, are on silt's.
pub(super) fn manual(command: Option<&str>) -> Option<String> {
    let all = program::shown().disable_help_subcommand(true);
    let shown = match command {
        None => all,
        Some(name) => {
            let shown = all.find_subcommand(name)?.clone();
            let more = shown.get_after_help().map(ToString::to_string);
            let more = more.map_or_else(String::new, |more| format!("{more}\n\n"));
            shown
                .after_help(format!("{more}{OTHER_FLAGS}"))
                .display_name(format!("silt-{name}"))
                .bin_name(format!("silt {name}"))
                .version(env!("CARGO_PKG_VERSION"))
                .disable_version_flag(true)
        }
    };
    let mut page = Vec::new();
    let man = Man::new(shown).source(concat!("silt ", env!("CARGO_PKG_VERSION")));
    // Memory takes whatever is written to it.
    man.manual("silt").render(&mut page).ok()?;
    String::from_utf8(page).ok()
}
