//! When everything is flushed: a cron pattern in a time zone.

use std::str::FromStr as _;

use chrono::{DateTime, TimeZone as _};
use chrono_tz::Tz;
use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};

use crate::settings::problems::{Fault, quoted};

/// A pattern's fields and their bounds, for messages.
const FIELDS: [(&str, &str); 6] = [
    ("second", "0 to 59"),
    ("minute", "0 to 59"),
    ("hour", "0 to 23"),
    ("day", "1 to 31"),
    ("month", "1 to 12"),
    ("weekday", "0 to 7"),
];

/// Most times of day that a pattern is split into.
const TIMES_MAX: usize = 24;

/// A cron pattern in a time zone.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// The pattern as it was set.
    pub text: String,
    /// Its time zone.
    pub timezone: Tz,
    /// Together they make up the pattern; usually there is one.
    crons: Vec<Cron>,
}

impl Schedule {
    /// At every full hour, in UTC.
    #[cfg(test)]
    pub(crate) fn hourly() -> Self {
        Self::parse("0 * * * *", Tz::UTC).expect("it is the default")
    }

    /// Reads a pattern of five fields, or of six with the second in front.
    pub(super) fn parse(text: &str, timezone: Tz) -> Result<Self, Fault> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        if !text.starts_with('@') && !matches!(fields.len(), 5 | 6) {
            let what = format!("it has {} fields instead of five or six", fields.len());
            return Err(Fault::new(what));
        }
        if let Some(empty) = fields.iter().find(|field| has_empty_item(field)) {
            let what = format!("an item is missing in {}", quoted(empty, text));
            return Err(Fault::new(what));
        }
        let patterns = times_of_day(&fields);
        let crons: Option<Vec<Cron>> = patterns.iter().map(|one| parse_cron(one)).collect();
        let crons = crons.ok_or_else(|| find_fault(text, &fields))?;
        let text = text.to_owned();
        Ok(Self {
            text,
            timezone,
            crons,
        })
    }
}

/// The first time after `after_unix_ms` at which a schedule says to flush, in milliseconds since
/// 1970; `None` if it never does again.
///
/// Where the clock is put forward, a fixed time of day that doesn't exist fires at the first moment
/// that does; where it is put back, a fixed time fires once, the first time. Patterns with `*`,
/// steps or ranges in their hours also fire in the second half of a repeated hour.
#[must_use]
pub fn next_flush(schedule: &Schedule, after_unix_ms: i64) -> Option<i64> {
    let after = DateTime::from_timestamp(after_unix_ms.div_euclid(1000), 0)?;
    let after = schedule.timezone.from_utc_datetime(&after.naive_utc());
    let times = schedule.crons.iter().filter_map(|cron| {
        let time = cron.find_next_occurrence(&after, false).ok()?;
        Some(time.timestamp_millis())
    });
    times.min()
}

/// Reads a time zone's name.
pub(super) fn parse_timezone(text: &str) -> Result<Tz, Fault> {
    Tz::from_str(text).map_err(|_| Fault::new("no time zone has this name"))
}

fn parse_cron(pattern: &str) -> Option<Cron> {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Disallowed)
        .build()
        .parse(pattern)
        .ok()
}

/// Takes a list of times of day (`0,30 2,14 * * *`) apart into one pattern for each: croner holds
/// times as fixed across a change of the clock only where minute and hour are one number each.
fn times_of_day(fields: &[&str]) -> Vec<String> {
    let whole = || vec![fields.join(" ")];
    let (Some(day_at), true) = (fields.len().checked_sub(3), fields.len() >= 5) else {
        return whole();
    };
    let (time, day) = fields.split_at(day_at);
    let mut times = vec![String::new()];
    for field in time {
        let items: Vec<&str> = field.split(',').collect();
        let is_number = |item: &&str| item.bytes().all(|byte| byte.is_ascii_digit());
        if !items.iter().all(is_number) || times.len() * items.len() > TIMES_MAX {
            return whole();
        }
        times = times
            .iter()
            .flat_map(|time| items.iter().map(move |item| format!("{time}{item} ")))
            .collect();
    }
    let day = day.join(" ");
    times.iter().map(|time| format!("{time}{day}")).collect()
}

/// croner ignores an empty item, and takes a field without items as one that never matches.
fn has_empty_item(field: &str) -> bool {
    let items = field.strip_prefix('+').unwrap_or(field);
    items.split(',').any(str::is_empty)
}

/// Finds the field that is wrong, which croner doesn't report.
fn find_fault(text: &str, fields: &[&str]) -> Fault {
    let first = FIELDS.len().saturating_sub(fields.len());
    let numbered = fields.iter().enumerate();
    for (at, field) in numbered.filter(|_| fields.len() >= 5) {
        let mut alone = vec!["*"; fields.len()];
        alone[at] = field;
        if parse_cron(&alone.join(" ")).is_none() {
            let (name, bounds) = FIELDS.get(first + at).unwrap_or(&("field", ""));
            let field = quoted(field, text);
            return Fault::new(format!("its {name} {field} is wrong ({bounds})"));
        }
    }
    Fault::new("it is not a cron pattern")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_MS: i64 = 3_600_000;

    fn schedule(text: &str, zone: &str) -> Schedule {
        Schedule::parse(text, parse_timezone(zone).unwrap()).unwrap()
    }

    fn unix_ms(rfc3339: &str) -> i64 {
        DateTime::parse_from_rfc3339(rfc3339)
            .unwrap()
            .timestamp_millis()
    }

    /// All flushes after `from` up to `to`, as local times with their offset.
    fn flushes(text: &str, zone: &str, from: &str, to: &str) -> Vec<String> {
        let schedule = schedule(text, zone);
        let (mut at, to) = (unix_ms(from), unix_ms(to));
        let mut all = Vec::new();
        while let Some(next) = next_flush(&schedule, at).filter(|next| *next <= to) {
            assert!(next > at, "{text} {next}");
            let local = DateTime::from_timestamp_millis(next).unwrap();
            let local = local.with_timezone(&schedule.timezone);
            all.push(local.format("%d %H:%M:%S %z").to_string());
            at = next;
        }
        all
    }

    /// The days on which the clocks change: zone, begin and end in UTC of a span around it.
    const SPRING: [(&str, &str, &str); 2] = [
        (
            "Europe/Berlin",
            "2024-03-30T12:00:00Z",
            "2024-04-01T12:00:00Z",
        ),
        (
            "America/New_York",
            "2024-03-09T12:00:00Z",
            "2024-03-11T12:00:00Z",
        ),
    ];
    const AUTUMN: [(&str, &str, &str); 2] = [
        (
            "Europe/Berlin",
            "2024-10-26T12:00:00Z",
            "2024-10-28T12:00:00Z",
        ),
        (
            "America/New_York",
            "2024-11-02T12:00:00Z",
            "2024-11-04T12:00:00Z",
        ),
    ];

    #[test]
    fn an_hourly_schedule_fires_each_real_hour() {
        for (zone, from, to) in SPRING.into_iter().chain(AUTUMN) {
            for text in [
                "0 * * * *",
                "0 0 * * * *",
                "@hourly",
                "0 0-23 * * *",
                "0 */1 * * *",
            ] {
                let schedule = schedule(text, zone);
                let mut at = unix_ms(from);
                while at < unix_ms(to) {
                    assert_eq!(
                        next_flush(&schedule, at),
                        Some(at + HOUR_MS),
                        "{text} {zone}"
                    );
                    assert_eq!(next_flush(&schedule, at + 1), Some(at + HOUR_MS));
                    assert_eq!(next_flush(&schedule, at + HOUR_MS - 1), Some(at + HOUR_MS));
                    at += HOUR_MS;
                }
            }
        }
    }

    #[test]
    fn seconds_go_on_evenly() {
        for (zone, from, to) in SPRING.into_iter().chain(AUTUMN) {
            let schedule = schedule("*/20 * * * * *", zone);
            let mut at = unix_ms(from);
            while at < unix_ms(to) {
                assert_eq!(next_flush(&schedule, at), Some(at + 20_000), "{zone}");
                at += 20_000;
            }
        }
    }

    #[test]
    fn a_time_that_the_clock_skips_fires_when_the_clock_goes_on() {
        let [berlin, new_york] = SPRING;
        let daily = |text, (zone, from, to)| flushes(text, zone, from, to);
        assert_eq!(
            daily("30 2 * * *", berlin),
            ["31 03:00:00 +0200", "01 02:30:00 +0200"]
        );
        assert_eq!(
            daily("30 2 * * *", new_york),
            ["10 03:00:00 -0400", "11 02:30:00 -0400"]
        );
        // 02:30 and 03:00 are the same moment on that day.
        assert_eq!(
            daily("0,30 2,3 * * *", berlin),
            [
                "31 03:00:00 +0200",
                "31 03:30:00 +0200",
                "01 02:00:00 +0200",
                "01 02:30:00 +0200",
                "01 03:00:00 +0200",
                "01 03:30:00 +0200",
            ]
        );
    }

    #[test]
    fn a_time_that_the_clock_repeats_fires_once() {
        let [berlin, new_york] = AUTUMN;
        let daily = |text, (zone, from, to)| flushes(text, zone, from, to);
        assert_eq!(
            daily("30 2 * * *", berlin),
            ["27 02:30:00 +0200", "28 02:30:00 +0100"]
        );
        assert_eq!(
            daily("30 1 * * *", new_york),
            ["03 01:30:00 -0400", "04 01:30:00 -0500"]
        );
        assert_eq!(
            daily("30 2,14 * * *", berlin),
            [
                "26 14:30:00 +0200",
                "27 02:30:00 +0200",
                "27 14:30:00 +0100",
                "28 02:30:00 +0100",
            ]
        );
    }

    #[test]
    fn a_repeated_time_that_is_over_does_not_fire_again() {
        let schedule = schedule("30 2 * * *", "Europe/Berlin");
        let first = unix_ms("2024-10-27T00:30:00Z");
        let next = unix_ms("2024-10-28T01:30:00Z");
        for after in [first, first + 1, first + HOUR_MS - 1, first + HOUR_MS] {
            assert_eq!(next_flush(&schedule, after), Some(next));
        }
        assert_eq!(next_flush(&schedule, first - 1), Some(first));
    }

    #[test]
    fn other_patterns() {
        let (from, to) = ("2024-02-27T12:00:00Z", "2024-03-04T00:00:00Z");
        for (text, times) in [
            ("0 12 L * *", vec!["29 12:00:00 +0000"]),
            (
                "0 9 * * MON-FRI",
                vec![
                    "28 09:00:00 +0000",
                    "29 09:00:00 +0000",
                    "01 09:00:00 +0000",
                ],
            ),
            ("15 0 0 1 3 ?", vec!["01 00:00:15 +0000"]),
            ("0 0 * * 7", vec!["03 00:00:00 +0000"]),
        ] {
            assert_eq!(flushes(text, "UTC", from, to), times, "{text}");
        }
        assert_eq!(next_flush(&schedule("0 0 30 2 *", "UTC"), 0), None);
        for far in [i64::MAX, i64::MIN] {
            assert_eq!(next_flush(&schedule("0 * * * *", "UTC"), far), None);
        }
    }

    #[test]
    fn bad_patterns_are_told_apart() {
        for (text, what) in [
            ("0 * * *", "it has 4 fields instead of five or six"),
            ("0 * * * * * *", "it has 7 fields instead of five or six"),
            ("hourly", "it has 1 fields instead of five or six"),
            ("@often", "it is not a cron pattern"),
            ("61 * * * *", "its minute `61` is wrong (0 to 59)"),
            ("-1 * * * *", "its minute `-1` is wrong (0 to 59)"),
            ("0 24 * * *", "its hour `24` is wrong (0 to 23)"),
            ("61 0 * * * *", "its second `61` is wrong (0 to 59)"),
            ("0 0 0 * *", "its day `0` is wrong (1 to 31)"),
            ("0 0 1 FOO *", "its month `FOO` is wrong (1 to 12)"),
            ("0 0 * * 8", "its weekday `8` is wrong (0 to 7)"),
            ("*/0 * * * *", "its minute `*/0` is wrong (0 to 59)"),
            (
                "99999999999999999999 * * * *",
                "its minute `99999999999999999999` is wrong (0 to 59)",
            ),
            ("0,,5 * * * *", "an item is missing in `0,,5`"),
            (", * * * *", "an item is missing in `,`"),
            ("0 0 * * +", "an item is missing in `+`"),
        ] {
            let fault = Schedule::parse(text, Tz::UTC).unwrap_err();
            assert_eq!(fault.what, what, "{text}");
        }
        assert!(parse_timezone("Europe/Atlantis").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(
            text in "\\PC{0,20}|@[a-z]{0,8}|([0-9A-Z*,/LW#?+-]{1,4} ){4,6}[0-9*,/LW#?+-]{1,3}",
        ) {
            let schedule = Schedule::parse(&text, chrono_tz::Europe::Berlin).ok();
            let next = schedule.and_then(|schedule| next_flush(&schedule, 1_700_000_000_123));
            prop_assert!(next.is_none_or(|next| next > 1_700_000_000_123));
        }

        #[test]
        fn flushes_match_the_clock_on_the_wall(
            minute in 0..60_u32, hour in 0..24_u32, after_s in 1_600_000_000..1_900_000_000_i64,
        ) {
            let schedule = schedule(&format!("{minute} {hour} * * *"), "Europe/Berlin");
            let next = next_flush(&schedule, after_s * 1000).unwrap();
            let passed_ms = next - after_s * 1000;
            prop_assert!(passed_ms > 0 && passed_ms <= 25 * HOUR_MS);
            let local = DateTime::from_timestamp_millis(next).unwrap();
            let local = local.with_timezone(&schedule.timezone).format("%H:%M:%S").to_string();
            if hour != 2 {
                prop_assert_eq!(local, format!("{hour:02}:{minute:02}:00"));
            }
        }
    }
}
