//! Numbers, dates and other values of fixed form.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::string::hex;
use super::{Error, Mode};

/// The first millisecond of the year 10000, where ISO-8601 dates end.
const YEAR_10000: u64 = 253_402_300_800_000;

/// The NaN that readers make of the text.
const NAN_BITS: u64 = 0x7FF8 << 48;

/// The decimal digits of small numbers, with zeros after them.
static SMALL_NUMBERS: [[u8; 4]; 1000] = {
    let digits = b"0123456789";
    let mut numbers = [[0; 4]; 1000];
    let mut number = 0;
    while number < numbers.len() {
        let hundreds = digits[number / 100];
        let tens = digits[number / 10 % 10];
        let ones = digits[number % 10];
        numbers[number] = match number {
            0..10 => [ones, 0, 0, 0],
            10..100 => [tens, ones, 0, 0],
            _ => [hundreds, tens, ones, 0],
        };
        number += 1;
    }
    numbers
};

/// The decimal digits of a number below 1000, and how many there are.
#[inline]
pub(super) fn small_number(number: usize) -> Option<([u8; 4], usize)> {
    let digits = SMALL_NUMBERS.get(number)?;
    Some((
        *digits,
        1 + usize::from(number >= 10) + usize::from(number >= 100),
    ))
}

pub(super) fn write_int32(value: i32, mode: Mode, out: &mut Vec<u8>) {
    match mode {
        Mode::Relaxed => write_integer(value.into(), out),
        Mode::Canonical => write_typed(b"{\"$numberInt\":\"", value.into(), out),
    }
}

pub(super) fn write_int64(value: i64, mode: Mode, out: &mut Vec<u8>) {
    match mode {
        Mode::Relaxed => write_integer(value, out),
        Mode::Canonical => write_typed(b"{\"$numberLong\":\"", value, out),
    }
}

/// Most numbers are small, and copying a fixed number of bytes needs no call.
#[inline]
fn write_integer(value: i64, out: &mut Vec<u8>) {
    if let Some((digits, len)) = usize::try_from(value).ok().and_then(small_number) {
        let start = out.len();
        out.extend_from_slice(&digits);
        out.truncate(start + len);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

#[inline]
fn write_typed<const N: usize>(key: &[u8; N], value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    write_integer(value, out);
    out.extend_from_slice(b"\"}");
}

/// Writes the shortest text that reads back as the same double, always with a point or an exponent, so that no
/// double looks like an integer.
#[inline]
pub(super) fn write_double(value: f64, mode: Mode, out: &mut Vec<u8>) {
    let mut buffer = zmij::Buffer::new();
    let text = if value.is_finite() {
        buffer.format_finite(value)
    } else if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    };
    // JSON has no numbers for infinity and NaN.
    if mode == Mode::Relaxed && value.is_finite() {
        out.extend_from_slice(text.as_bytes());
    } else {
        out.extend_from_slice(b"{\"$numberDouble\":\"");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\"}");
    }
}

/// Whether the text stands for this double's bits and no others.
#[inline]
pub(super) fn is_exact_double(value: f64) -> bool {
    !value.is_nan() || value.to_bits() == NAN_BITS
}

/// A UTC date, in milliseconds since 1970.
pub(super) fn write_date(millis: i64, mode: Mode, out: &mut Vec<u8>) {
    match u64::try_from(millis) {
        Ok(millis) if mode == Mode::Relaxed && millis < YEAR_10000 => write_iso8601(millis, out),
        _ => {
            write_typed(b"{\"$date\":{\"$numberLong\":\"", millis, out);
            out.push(b'}');
        }
    }
}

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Milliseconds since 1970, before the year 10000.
fn write_iso8601(millis: u64, out: &mut Vec<u8>) {
    // Both fit: there are about three million days until the year 10000.
    #[allow(clippy::cast_possible_truncation, reason = "they fit into 32 bits")]
    let (day, of_day) = ((millis / DAY_MS) as u32, (millis % DAY_MS) as u32);
    let (year, month, day) = civil_date(day);
    let (second, millis) = (of_day / 1000, of_day % 1000);
    #[rustfmt::skip]
    let [[y1, y2], [y3, y4], [m1, m2], [d1, d2], [h1, h2], [n1, n2], [s1, s2], [_, f1], [f2, f3]] = [
        year / 100, year, month, day, second / 3600, second / 60 % 60, second % 60, millis / 100, millis,
    ]
    .map(two_digits);
    let start = out.len();
    #[rustfmt::skip]
    out.extend_from_slice(&[
        b'{', b'"', b'$', b'd', b'a', b't', b'e', b'"', b':', b'"',
        y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'.', f1, f2, f3,
        b'Z', b'"', b'}',
    ]);
    if millis == 0 {
        // The specification omits a fraction of zero.
        out.truncate(start + 29);
        out.extend_from_slice(b"Z\"}");
    }
}

/// Year, month and day of a day that is counted from 1970-01-01. The year begins in March here, so that a leap day is
/// the last of its year; every five months from March have 153 days
/// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
fn civil_date(day: u32) -> (u32, u32, u32) {
    const ERA_DAYS: u32 = 146_097; // 400 years
    let day = day + 719_468; // from 0000-03-01
    let (era, of_era) = (day / ERA_DAYS, day % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    (year, month, of_year - (153 * from_march + 2) / 5 + 1)
}

/// The last two digits of a number.
fn two_digits(number: u32) -> [u8; 2] {
    [b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]
}

pub(super) fn write_object_id(id: [u8; 12], out: &mut Vec<u8>) {
    let mut text = *b"{\"$oid\":\"000000000000000000000000\"}";
    let (_, digits) = text.split_at_mut(9);
    for (pair, byte) in digits.as_chunks_mut().0.iter_mut().zip(id) {
        *pair = hex(byte);
    }
    out.extend_from_slice(&text);
}

/// A timestamp has its seconds in the upper half of 64 bits and a counter in the lower half, both unsigned.
pub(super) fn write_timestamp(counter: [u8; 4], seconds: [u8; 4], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"$timestamp\":{\"t\":");
    write_integer(u32::from_le_bytes(seconds).into(), out);
    out.extend_from_slice(b",\"i\":");
    write_integer(u32::from_le_bytes(counter).into(), out);
    out.extend_from_slice(b"}}");
}

/// `offset` is that of `bytes` in the input.
pub(super) fn write_binary(
    bytes: &[u8],
    subtype: u8,
    offset: usize,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    out.extend_from_slice(b"{\"$binary\":{\"base64\":\"");
    let start = out.len();
    let end = base64::encoded_len(bytes.len(), true)
        .and_then(|len| start.checked_add(len))
        .ok_or(Error::BinaryTooLong { offset })?;
    out.resize(end, 0);
    STANDARD
        .encode_slice(bytes, out.get_mut(start..).unwrap_or_default())
        .map_err(|_| Error::BinaryTooLong { offset })?;
    out.extend_from_slice(b"\",\"subType\":\"");
    out.extend_from_slice(&hex(subtype));
    out.extend_from_slice(b"\"}}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::DateTime as BsonDateTime;
    use proptest::prelude::*;

    use super::*;

    const YEAR_10000: i64 = super::YEAR_10000.cast_signed();

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn double(value: f64) -> String {
        text(|out| write_double(value, Mode::Relaxed, out))
    }

    fn date(millis: i64) -> String {
        text(|out| write_date(millis, Mode::Relaxed, out))
    }

    #[test]
    fn integers_are_plain_or_typed() {
        let int32 = |value, mode| text(|out| write_int32(value, mode, out));
        assert_eq!(int32(i32::MIN, Mode::Relaxed), "-2147483648");
        assert_eq!(int32(0, Mode::Canonical), r#"{"$numberInt":"0"}"#);
        for value in (-1_001..=10_001).chain([i32::MAX]) {
            assert_eq!(int32(value, Mode::Relaxed), value.to_string());
        }
        let int64 = |value, mode| text(|out| write_int64(value, mode, out));
        assert_eq!(int64(i64::MIN, Mode::Relaxed), "-9223372036854775808");
        assert_eq!(
            int64(i64::MAX, Mode::Canonical),
            r#"{"$numberLong":"9223372036854775807"}"#
        );
    }

    #[test]
    fn doubles_never_look_like_integers() {
        for (value, expected) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (-1.5e300, "-1.5e+300"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(double(value), expected);
        }
        assert_eq!(
            text(|out| write_double(-1.0, Mode::Canonical, out)),
            r#"{"$numberDouble":"-1.0"}"#
        );
    }

    #[test]
    fn doubles_that_are_not_finite_are_typed_in_both_modes() {
        for (value, name) in [
            (f64::NAN, "NaN"),
            (-f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            for mode in [Mode::Relaxed, Mode::Canonical] {
                assert_eq!(
                    text(|out| write_double(value, mode, out)),
                    format!(r#"{{"$numberDouble":"{name}"}}"#)
                );
            }
        }
    }

    #[test]
    fn dates_are_iso8601_from_1970_to_9999() {
        for (millis, expected) in [
            (0, r#""1970-01-01T00:00:00Z""#),
            (1, r#""1970-01-01T00:00:00.001Z""#),
            (10, r#""1970-01-01T00:00:00.010Z""#),
            (951_827_696_789, r#""2000-02-29T12:34:56.789Z""#),
            (YEAR_10000 - 1, r#""9999-12-31T23:59:59.999Z""#),
            (YEAR_10000, r#"{"$numberLong":"253402300800000"}"#),
            (-1, r#"{"$numberLong":"-1"}"#),
            (i64::MIN, r#"{"$numberLong":"-9223372036854775808"}"#),
            (i64::MAX, r#"{"$numberLong":"9223372036854775807"}"#),
        ] {
            assert_eq!(date(millis), format!(r#"{{"$date":{expected}}}"#));
        }
        assert_eq!(
            text(|out| write_date(0, Mode::Canonical, out)),
            r#"{"$date":{"$numberLong":"0"}}"#
        );
    }

    #[test]
    fn object_ids_are_lower_case_hex() {
        let id = [
            0, 1, 0x0F, 0x10, 0x7F, 0x80, 0xAB, 0xCD, 0xEF, 0xFE, 0xF0, 0xFF,
        ];
        assert_eq!(
            text(|out| write_object_id(id, out)),
            r#"{"$oid":"00010f107f80abcdeffef0ff"}"#
        );
    }

    #[test]
    fn timestamps_are_unsigned() {
        assert_eq!(
            text(|out| write_timestamp([1, 0, 0, 0], [0xFF; 4], out)),
            r#"{"$timestamp":{"t":4294967295,"i":1}}"#
        );
    }

    #[test]
    fn binary_is_base64_with_padding() {
        for (bytes, subtype, expected) in [
            (&b""[..], 0x00, r#"{"base64":"","subType":"00"}"#),
            (&[0xFF][..], 0x0A, r#"{"base64":"/w==","subType":"0a"}"#),
            (
                &[0xFB, 0xEF][..],
                0xFF,
                r#"{"base64":"++8=","subType":"ff"}"#,
            ),
            (b"abc", 0x80, r#"{"base64":"YWJj","subType":"80"}"#),
        ] {
            assert_eq!(
                text(|out| write_binary(bytes, subtype, 0, out).unwrap()),
                format!(r#"{{"$binary":{expected}}}"#)
            );
        }
    }

    proptest! {
        #[test]
        fn doubles_round_trip(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let text = double(value);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
            prop_assert!(text.contains(['.', 'e']));
            prop_assert_eq!(text, serde_json::to_string(&value).unwrap());
        }

        #[test]
        fn dates_are_those_of_another_implementation(millis in 0..YEAR_10000) {
            let expected = BsonDateTime::from_millis(millis).try_to_rfc3339_string().unwrap();
            // Its text omits trailing zeros of the milliseconds.
            let seconds = expected.get(..19).unwrap();
            let fraction = match millis % 1000 {
                0 => String::new(),
                millis => format!(".{millis:03}"),
            };
            prop_assert_eq!(date(millis), format!(r#"{{"$date":"{seconds}{fraction}Z"}}"#));
        }
    }
}
