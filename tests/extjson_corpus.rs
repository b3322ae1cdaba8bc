//! Runs the BSON corpus of the MongoDB driver specifications.
//!
//! The environment variable `SILT_TEST_BSON_CORPUS` names the folder with the corpus, files such as
//! `double.json` and `top.json`. It is in the [specifications] under `source/bson-corpus/tests`, and
//! in the source archives of drivers, for one in that of pymongo under `test/bson_corpus`.
//!
//! [specifications]: https://github.com/mongodb/specifications/tree/master/source/bson-corpus
#![warn(clippy::pedantic)]
#![allow(clippy::expect_used, reason = "what is not as expected fails the test")]

use std::path::PathBuf;

use bson::Bson;
use serde_json::Value;
use silt_core::extjson::{Error, Fidelity, Mode, write_document};

const FOLDER: &str = "SILT_TEST_BSON_CORPUS";

/// The corpus only grows; fewer cases than these mean that some were not found.
const MIN_CANONICAL: usize = 728;
const MIN_RELAXED: usize = 27;
const MIN_DEGENERATE: usize = 4;
const MIN_CONVERTED: usize = 11;
const MIN_DECODE_ERRORS: usize = 75;

/// The case whose degenerate BSON is not written in the canonical form: the options of a regular
/// expression that are out of order are kept as they are stored, and that is its degenerate form.
const KEPT_AS_STORED: &str = "regex: flags not alphabetized";

/// What Extended JSON doesn't keep.
const LOSSY: [&str; 21] = [
    "array: Multi Element Array with duplicate indexes degenerate_bson",
    "array: Single Element Array with index set incorrectly to ab degenerate_bson",
    "array: Single Element Array with index set incorrectly to empty string degenerate_bson",
    "dbref: DBRef with additional dollar-prefixed and dotted fields canonical_bson",
    "dbref: DBRef with additional fields canonical_bson",
    "dbref: DBRef with database and additional fields canonical_bson",
    "dbref: Document with key names similar to those of a DBRef canonical_bson",
    "dbref: Sub-document resembles DBRef but $db is not a string canonical_bson",
    "dbref: Sub-document resembles DBRef but $ref is not a string canonical_bson",
    "decimal128-1: Special - Canonical SNaN canonical_bson",
    "decimal128-1: Special - Invalid representation treated as -0 canonical_bson",
    "decimal128-1: Special - Invalid representation treated as 0 canonical_bson",
    "decimal128-1: Special - Invalid representation treated as 0E3 canonical_bson",
    "decimal128-1: Special - NaN with a payload canonical_bson",
    "decimal128-1: Special - Negative NaN canonical_bson",
    "decimal128-1: Special - Negative NaN canonical_bson",
    "decimal128-1: Special - Negative SNaN canonical_bson",
    "double: NaN with payload canonical_bson",
    "regex: Regular expression as value of $regex query operator canonical_bson",
    "regex: Regular expression as value of $regex query operator with $options canonical_bson",
    "regex: flags not alphabetized degenerate_bson",
];

/// A test case, with the file it is from and what it says of itself.
struct Case {
    name: String,
    fields: Value,
}

impl Case {
    fn text(&self, key: &str) -> Option<&str> {
        self.fields.get(key).and_then(Value::as_str)
    }

    fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        self.text(key).map(|digits| {
            let digit = |digit| char::from(digit).to_digit(16).expect("a hex digit");
            let pairs = digits.as_bytes().chunks(2);
            let bytes = pairs.map(|pair| digit(pair[0]) << 4 | digit(pair[1]));
            bytes
                .map(|byte| u8::try_from(byte).expect("two hex digits"))
                .collect()
        })
    }
}

fn cases(kind: &str) -> Vec<Case> {
    let folder = std::env::var_os(FOLDER)
        .unwrap_or_else(|| panic!("set {FOLDER} to the folder with the BSON corpus"));
    let folder = PathBuf::from(folder);
    let files = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{FOLDER} is {}: {error}", folder.display()));
    let mut cases = Vec::new();
    for file in files {
        let path = file.expect("a file of the corpus").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let content = std::fs::read(&path).expect("a readable file");
        let content: Value = serde_json::from_slice(&content)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let file = path.file_stem().unwrap_or_default().display().to_string();
        for fields in content
            .get(kind)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let description = fields.get("description").and_then(Value::as_str);
            cases.push(Case {
                name: format!("{file}: {}", description.unwrap_or_default()),
                fields: fields.clone(),
            });
        }
    }
    assert!(
        !cases.is_empty(),
        "{FOLDER} is {}, where no file of the BSON corpus has a case",
        folder.display()
    );
    cases
}

fn write(raw: &[u8], mode: Mode) -> Result<String, Error> {
    let mut out = Vec::new();
    write_document(raw, mode, &mut out)?;
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// Whether two texts have the same values under the same names in the same order. Only doubles may
/// be spelled in different ways.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            let mut fields = left.iter().zip(right);
            left.len() == right.len()
                && fields.all(|((name, left), (other_name, right))| {
                    name == other_name
                        && (same(left, right)
                            || name == "$numberDouble" && same_double(left, right))
                })
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| same(left, right))
        }
        (Value::Number(left), Value::Number(right)) if left.is_f64() && right.is_f64() => {
            left.as_f64().map(f64::to_bits) == right.as_f64().map(f64::to_bits)
        }
        _ => left == right,
    }
}

/// Whether two strings are text of the same finite double.
fn same_double(left: &Value, right: &Value) -> bool {
    let bits = |value: &Value| {
        let double: f64 = value.as_str()?.parse().ok()?;
        double.is_finite().then(|| double.to_bits())
    };
    bits(left).is_some_and(|left| Some(left) == bits(right))
}

#[track_caller]
fn assert_written(case: &Case, raw: &[u8], mode: Mode, expected: &str) {
    let name = &case.name;
    let text = write(raw, mode).unwrap_or_else(|error| panic!("{name}: {error}"));
    let value: Value = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{name}: {text} is no JSON: {error}"));
    assert_eq!(text, value.to_string(), "{name}: not compact");
    let expected: Value = serde_json::from_str(expected).expect("JSON in the corpus");
    assert!(same(&value, &expected), "{name}: {text} is not {expected}");
}

/// Writes the document under `key` of every case that has one and `expected` text, and returns how
/// many there were.
fn run(key: &str, mode: Mode, expected: impl Fn(&Case) -> Option<&str>) -> usize {
    let mut count = 0;
    for case in cases("valid") {
        if let (Some(raw), Some(expected)) = (case.bytes(key), expected(&case)) {
            assert_written(&case, &raw, mode, expected);
            count += 1;
        }
    }
    count
}

#[test]
fn canonical_form() {
    let count = run("canonical_bson", Mode::Canonical, |case| {
        case.text("canonical_extjson")
    });
    assert!(count >= MIN_CANONICAL, "only {count} cases");
}

#[test]
fn relaxed_form() {
    let count = run("canonical_bson", Mode::Relaxed, |case| {
        case.text("relaxed_extjson")
    });
    assert!(count >= MIN_RELAXED, "only {count} cases");
}

/// Types that have no relaxed form of their own are written the same in both modes.
#[test]
fn relaxed_form_of_other_types() {
    let relaxed_types = ["$numberInt", "$numberLong", "$numberDouble", "$date"];
    let count = run("canonical_bson", Mode::Relaxed, |case| {
        let canonical = case.text("canonical_extjson")?;
        let differs = relaxed_types.iter().any(|name| canonical.contains(name));
        (!differs).then_some(canonical)
    });
    assert!(count >= MIN_CANONICAL - 60, "only {count} cases");
}

/// BSON that no driver should write but every driver must read.
#[test]
fn degenerate_bson() {
    let count = run("degenerate_bson", Mode::Canonical, |case| {
        if case.name == KEPT_AS_STORED {
            case.text("degenerate_extjson")
        } else {
            case.text("canonical_extjson")
        }
    });
    assert!(count >= MIN_DEGENERATE, "only {count} cases");
}

/// Deprecated types, in the form of the types that have taken their place.
#[test]
fn converted_bson() {
    let count = run("converted_bson", Mode::Canonical, |case| {
        case.text("converted_extjson")
    });
    assert!(count >= MIN_CONVERTED, "only {count} cases");
}

/// All documents of the corpus that MongoDB stores.
pub(crate) fn stored_documents() -> Vec<Vec<u8>> {
    let cases = cases("valid");
    let keys = ["canonical_bson", "degenerate_bson", "converted_bson"];
    let documents = cases
        .iter()
        .flat_map(|case| keys.iter().filter_map(|key| case.bytes(key)));
    documents.collect()
}

/// Text that is said to be exact reads back byte for byte with the bson crate, and hardly any isn't.
#[test]
fn what_reads_back_is_known() {
    let mut lossy = Vec::new();
    for case in cases("valid") {
        for key in ["canonical_bson", "degenerate_bson", "converted_bson"] {
            let Some(raw) = case.bytes(key) else { continue };
            let mut out = Vec::new();
            match write_document(&raw, Mode::Canonical, &mut out) {
                Ok(Fidelity::Exact) => {
                    let json: Value = serde_json::from_slice(&out).expect("JSON");
                    let read = Bson::try_from(json).expect("Extended JSON");
                    let read = read.as_document().map(|it| it.to_vec().expect("BSON"));
                    assert_eq!(read.as_deref(), Some(&raw[..]), "{} {key}", case.name);
                }
                Ok(Fidelity::Lossy) => lossy.push(format!("{} {key}", case.name)),
                Err(error) => panic!("{}: {error}", case.name),
            }
        }
    }
    lossy.sort();
    assert_eq!(lossy, LOSSY);
}

#[test]
fn decode_errors() {
    let cases = cases("decodeErrors");
    for case in &cases {
        let raw = case.bytes("bson").expect("BSON in the corpus");
        for mode in [Mode::Relaxed, Mode::Canonical] {
            let result = write(&raw, mode);
            assert!(result.is_err(), "{}: written as {result:?}", case.name);
        }
    }
    assert!(
        cases.len() >= MIN_DECODE_ERRORS,
        "only {} cases",
        cases.len()
    );
}
