//! The settings of `watch`: those of the streams that `run` would open, and where they begin.

use crate::settings::assemble;
use crate::settings::command_line::WatchOptions;
use crate::settings::feeds;
use crate::settings::places::Section;
use crate::settings::problems::Fault;
use crate::settings::table;
use crate::settings::values::Values;
use crate::settings::watched::Scope;
use crate::settings::{JsonMode, StreamSettings, WatchFrom, WatchSettings, WatchedStream};
use silt_core::machine::StartAt;
use silt_core::position::{Position, ResumeToken};

/// Characters of a resume token's text, at least: its time, and the byte in front of that.
const TOKEN_LEAST_CHARS: usize = 18;

/// How a stream's changes are read and shown.
struct Kind {
    stream: StreamSettings,
    json_mode: JsonMode,
}

impl Kind {
    fn read(values: &mut Values) -> Option<Self> {
        let (stream, json_mode) = (feeds::stream(values), values.choice(&table::JSON_MODE));
        Some(Self {
            stream: stream?,
            json_mode: json_mode?,
        })
    }
}

/// Reads them. `None` only if problems were noted.
pub(super) fn read(
    values: &mut Values,
    options: WatchOptions,
    sections: &[Section],
    now_unix_ms: i64,
) -> Option<WatchSettings> {
    let scope = Scope::read(values);
    let source = assemble::source(values, scope.as_ref());
    // Whoever names the checkpoints may look at them; patterns don't match them, as for `run`.
    let checkpoints = assemble::checkpoints(values, None);
    let common = Kind::read(values);
    // The sections are for what the settings watch, which may be more than the command line names.
    let is_meant = |section: &&Section| {
        let has = |scope: &Scope| scope.has(&section.key);
        !options.has_collections || scope.as_ref().is_none_or(has)
    };
    let sections: Vec<Section> = sections.iter().filter(is_meant).cloned().collect();
    let (in_scope, store) = (scope.as_ref(), checkpoints.as_ref());
    let apart = feeds::apart(values, &sections, in_scope, store, Kind::read);
    let from = from(values, now_unix_ms);
    let retry_delay_ms = values.number(&table::RETRY_DELAY_MS);
    let (scope, checkpoints, common, apart) = (scope?, checkpoints?, common?, apart?);
    let streams = feeds::all(&scope, &checkpoints, &common, &apart);
    let streams = streams.into_iter().map(|(watched, kind)| WatchedStream {
        watched,
        stream: kind.stream.clone(),
        json_mode: kind.json_mode,
    });
    let streams: Vec<WatchedStream> = streams.collect();
    let from = from?;
    if matches!(from, WatchFrom::Position(Position::After(_))) && streams.len() > 1 {
        let what = format!(
            "a resume token is of one stream, and there are {}",
            streams.len()
        );
        let fix = "name one collection, set STREAMS=shared, or give a time";
        values.refuse(&table::START_AT, Fault::with_fix(what, fix));
        return None;
    }
    Some(WatchSettings {
        source: source?,
        streams,
        from,
        retry_delay_ms: retry_delay_ms?,
        limit: options.limit,
        is_pretty: options.is_pretty,
    })
}

/// Where to begin. The environment's `START_AT` is for feeds without a checkpoint, and may be long ago.
fn from(values: &mut Values, now_unix_ms: i64) -> Option<WatchFrom> {
    let setting = &table::START_AT;
    if !values.is_on_command_line(setting) {
        // What was refused as no text or as empty has no value.
        return (!values.is_refused(setting)).then_some(WatchFrom::Now);
    }
    values.parse(setting, |text| {
        if let Some(token) = token(text) {
            return Ok(WatchFrom::Position(Position::After(token)));
        }
        match feeds::parse_start_at(text, now_unix_ms) {
            Ok(StartAt::Now) => Ok(WatchFrom::Now),
            Ok(StartAt::Time(time)) => Ok(WatchFrom::Position(Position::At(time))),
            Err(fault) => {
                let fix = "give now, an RFC 3339 time such as 2024-01-15T14:00:00Z, or the _id of a change";
                Err(Fault::with_fix(fault.what, fix))
            }
        }
    })
}

/// A resume token: the `_id` of a change, or the text of its `_data`.
fn token(text: &str) -> Option<ResumeToken> {
    let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if text.len() >= TOKEN_LEAST_CHARS && text.starts_with("82") && is_digits(text) {
        return Some(ResumeToken::from_canonical(&format!(
            "{{\"_data\":\"{text}\"}}"
        )));
    }
    ResumeToken::from_extended_json(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_a_changes_id_or_its_data() {
        let data = "8265A53E2F000000012B0229296E04";
        let expected = ResumeToken::from_canonical(&format!("{{\"_data\":\"{data}\"}}"));
        assert_eq!(token(data).unwrap(), expected);
        let id = format!("{{ \"_data\": \"{data}\" }}");
        assert_eq!(token(&id).unwrap(), expected);
        for text in [
            "now",
            "2024-01-15T14:00:00Z",
            "82",
            "8265A53E2F00000001Z",
            "[1]",
            "",
        ] {
            assert!(token(text).is_none(), "{text}");
        }
    }
}
