//! Property tests of the encoder: documents read back unchanged, anything else is refused without side effects, and
//! all output is one line of JSON.

use bson::{
    Binary, Bson, DateTime, Decimal128, Document, JavaScriptCodeWithScope, Regex, Timestamp,
    oid::ObjectId, spec::BinarySubtype,
};
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Fidelity, Mode, write_document};

/// Field names that the parser of the bson crate takes for a type wherever they stand. Documents
/// that have them do not read back as they were; no Extended JSON can make them.
const TYPE_NAMES: [&str; 16] = [
    "$oid",
    "$symbol",
    "$regularExpression",
    "$numberInt",
    "$numberLong",
    "$numberDouble",
    "$numberDecimal",
    "$binary",
    "$uuid",
    "$code",
    "$timestamp",
    "$date",
    "$minKey",
    "$maxKey",
    "$dbPointer",
    "$undefined",
];

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-zA-Z0-9 _.-]{0,24}",
        2 => any::<String>(),
        1 => r#"["\\\x00-\x20äß€😀]{0,12}"#,
    ]
}

/// Text without zero bytes, which a C string cannot have.
fn c_text() -> impl Strategy<Value = String> {
    text().prop_map(|text| text.replace('\0', ""))
}

fn name() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => c_text(),
        1 => "[$][a-z]{0,6}",
        1 => prop::sample::select(vec!["$ref", "$id", "$db", "$scope", "$type", "$regex", "$uuids"])
            .prop_map(str::to_owned),
    ];
    name.prop_filter("the name of a type", |name| {
        !TYPE_NAMES.contains(&name.as_str())
    })
}

/// Of the NaNs only one, because their payload is not written.
fn double() -> impl Strategy<Value = f64> {
    use prop::num::f64;
    let any = f64::NORMAL | f64::SUBNORMAL | f64::ZERO | f64::INFINITE;
    prop_oneof![
        8 => any,
        1 => Just(f64::NAN),
        4 => (-1_000_000_i32..1_000_000).prop_map(|cents| f64::from(cents) / 100.0),
    ]
}

/// Decimals that have text of their own: no NaN but one and no coefficient over 34 digits.
fn decimal() -> impl Strategy<Value = Decimal128> {
    let finite = (any::<bool>(), 0..10_u128.pow(34), 0_u32..34, 0_u128..12288);
    let finite = finite.prop_map(|(sign, coefficient, drop, exponent)| {
        let coefficient = coefficient / 10_u128.pow(drop);
        let bits = (u128::from(sign) << 127) | (exponent << 113) | coefficient;
        Decimal128::from_bytes(bits.to_le_bytes())
    });
    let special = prop::sample::select(vec!["NaN", "Infinity", "-Infinity"]);
    prop_oneof![8 => finite, 1 => special.prop_map(|text| text.parse().unwrap())]
}

fn date() -> impl Strategy<Value = i64> {
    const YEAR_10000: i64 = 253_402_300_800_000;
    prop_oneof![
        any::<i64>(),
        0..YEAR_10000,
        (0..YEAR_10000 / 1000).prop_map(|seconds| seconds * 1000),
        -5_i64..5,
        YEAR_10000 - 5..YEAR_10000 + 5,
    ]
}

fn binary() -> impl Strategy<Value = Binary> {
    // The old subtype is laid out in another way than the others.
    let subtype = prop_oneof![4 => any::<u8>(), 1 => Just(2)];
    (subtype, vec(any::<u8>(), 0..40)).prop_map(|(subtype, bytes)| Binary {
        subtype: BinarySubtype::from(subtype),
        bytes,
    })
}

/// The fields of a `DBPointer` are not open, so it is made from its text.
fn db_pointer() -> impl Strategy<Value = Bson> {
    (text(), any::<[u8; 12]>()).prop_map(|(namespace, id)| {
        let id = ObjectId::from_bytes(id).to_hex();
        let pointer =
            serde_json::json!({ "$dbPointer": { "$ref": namespace, "$id": { "$oid": id } } });
        Bson::try_from(pointer).unwrap()
    })
}

/// The parser of the bson crate puts options in order, so they are in order from the start.
fn regex() -> impl Strategy<Value = Bson> {
    let options = prop::sample::subsequence(vec!["i", "l", "m", "s", "u", "x"], 0..=6);
    (c_text(), options).prop_map(|(pattern, options)| {
        Bson::RegularExpression(Regex {
            pattern: pattern.try_into().unwrap(),
            options: options.concat().try_into().unwrap(),
        })
    })
}

fn leaf() -> impl Strategy<Value = Bson> {
    let constant = prop::sample::select(vec![
        Bson::Null,
        Bson::Undefined,
        Bson::MinKey,
        Bson::MaxKey,
    ]);
    let number = prop_oneof![
        any::<i32>().prop_map(Bson::Int32),
        any::<i64>().prop_map(Bson::Int64),
        (-100_i64..100).prop_map(Bson::Int64),
        double().prop_map(Bson::Double),
        decimal().prop_map(Bson::Decimal128),
    ];
    let string = prop_oneof![
        4 => text().prop_map(Bson::String),
        1 => text().prop_map(Bson::JavaScriptCode),
        1 => text().prop_map(Bson::Symbol),
        1 => regex(),
    ];
    prop_oneof![
        1 => constant,
        1 => any::<bool>().prop_map(Bson::Boolean),
        4 => number,
        4 => string,
        1 => date().prop_map(|millis| Bson::DateTime(DateTime::from_millis(millis))),
        1 => any::<[u8; 12]>().prop_map(|id| Bson::ObjectId(ObjectId::from_bytes(id))),
        1 => any::<(u32, u32)>().prop_map(|(time, increment)| {
            Bson::Timestamp(Timestamp { time, increment })
        }),
        1 => binary().prop_map(Bson::Binary),
        1 => db_pointer(),
    ]
}

fn document() -> impl Strategy<Value = Document> {
    let fields = |value| vec((name(), value), 0..8).prop_map(Document::from_iter);
    let value = leaf().prop_recursive(4, 64, 8, move |value| {
        prop_oneof![
            fields(value.clone()).prop_map(Bson::Document),
            vec(value.clone(), 0..8).prop_map(Bson::Array),
            (text(), fields(value)).prop_map(|(code, scope)| {
                Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code, scope })
            }),
        ]
    });
    fields(value.boxed())
}

fn write(raw: &[u8], mode: Mode) -> String {
    let mut out = Vec::new();
    write_document(raw, mode, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn read_back(text: &str) -> Bson {
    let value: Value = serde_json::from_str(text).unwrap();
    Bson::try_from(value).unwrap()
}

/// What the bson crate must read from a value's relaxed form. It takes every integer for the
/// smallest type that holds it, and `serde_json` reads some doubles a little off.
fn relaxed(value: Bson) -> Bson {
    match value {
        Bson::Int64(value) => i32::try_from(value).map_or(Bson::Int64(value), Bson::Int32),
        Bson::Double(value) if value.is_finite() => {
            let text = serde_json::to_string(&value).unwrap();
            Bson::Double(serde_json::from_str(&text).unwrap())
        }
        Bson::Document(document) => Bson::Document(relaxed_document(document)),
        Bson::Array(array) => Bson::Array(array.into_iter().map(relaxed).collect()),
        Bson::JavaScriptCodeWithScope(code) => JavaScriptCodeWithScope {
            code: code.code,
            scope: relaxed_document(code.scope),
        }
        .into(),
        value => value,
    }
}

fn relaxed_document(document: Document) -> Document {
    let fields = document.into_iter();
    fields.map(|(name, value)| (name, relaxed(value))).collect()
}

/// Writes any bytes in both modes, of which none may panic, both must agree on what is a
/// document, and what they write must be one line of JSON or nothing.
fn try_to_write(raw: &[u8]) -> Result<(), TestCaseError> {
    let mut results = Vec::new();
    for mode in [Mode::Relaxed, Mode::Canonical] {
        let mut out = b"before".to_vec();
        let result = write_document(raw, mode, &mut out);
        let written = out.strip_prefix(b"before").unwrap();
        if result.is_err() {
            prop_assert_eq!(written, b"");
        } else {
            check_line(std::str::from_utf8(written).unwrap())?;
        }
        results.push(result);
    }
    prop_assert_eq!(results.first(), results.last());
    Ok(())
}

fn check_line(text: &str) -> Result<(), TestCaseError> {
    // Reading into raw text checks the grammar at any depth.
    let json: Box<RawValue> = serde_json::from_str(text).unwrap();
    prop_assert_eq!(json.get(), text);
    let in_braces = text.starts_with('{') && text.ends_with('}');
    prop_assert!(in_braces);
    prop_assert!(!text.contains(|character| character < ' '));
    Ok(())
}

/// Bytes with the length of a document in front and its end behind.
fn framed(elements: &[u8]) -> Vec<u8> {
    let length = i32::try_from(elements.len() + 5).unwrap().to_le_bytes();
    [&length, elements, &[0]].concat()
}

/// An element of a type there is and any bytes, some of them like lengths.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let element_type = prop_oneof![0_u8..0x15, Just(0x7F), Just(0xFF)];
    let byte = prop_oneof![2 => 0_u8..20, 1 => any::<u8>(), 2 => Just(0)];
    (element_type, vec(byte, 0..30))
        .prop_map(|(element_type, bytes)| [&[element_type, b'a', 0], &bytes[..]].concat())
}

/// Where to change a document, what to do there and with which byte.
fn change() -> impl Strategy<Value = (prop::sample::Index, u8, u8)> {
    let byte = prop_oneof![any::<u8>(), 0_u8..20, Just(0xFF)];
    (any::<prop::sample::Index>(), 0_u8..4, byte)
}

fn changed(mut raw: Vec<u8>, changes: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    for (index, what, byte) in changes {
        let at = index.index(raw.len() + 1);
        match what {
            0 => raw.insert(at, *byte),
            1 if at < raw.len() => drop(raw.remove(at)),
            _ => {
                if let Some(old) = raw.get_mut(at) {
                    *old = *byte;
                }
            }
        }
    }
    raw
}

/// Names of which some make a document look like a value, and some occur twice.
fn ambiguous_name() -> impl Strategy<Value = String> {
    let special = TYPE_NAMES
        .into_iter()
        .chain(["$regex", "$ref", "$id", "$db", "a", "b"]);
    prop_oneof![
        1 => name(),
        2 => prop::sample::select(special.collect::<Vec<_>>()).prop_map(str::to_owned),
    ]
}

/// The bytes of an element.
fn named(element_type: u8, name: &str, value: &[u8]) -> Vec<u8> {
    [&[element_type], name.as_bytes(), &[0], value].concat()
}

/// Elements that a document of the bson crate can't have: repeated names, array keys of any kind, any NaN.
fn ambiguous_element() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        any::<i32>().prop_map(|value| (0x10, value.to_le_bytes().to_vec())),
        prop::sample::select(vec![0x7FF8_u64 << 48, 0xFFF8 << 48, (0x7FF8 << 48) | 1])
            .prop_map(|bits| (0x01, bits.to_le_bytes().to_vec())),
        any::<u128>().prop_map(|bits| (0x13, bits.to_le_bytes().to_vec())),
        "[imxusl]{0,3}".prop_map(|options| (0x0B, [b"x\0", options.as_bytes(), b"\0"].concat())),
        Just((0x02, b"\x02\0\0\x005\0".to_vec())),
        vec(prop::sample::select(vec!["0", "1", "2", "x"]), 0..4).prop_map(|keys| {
            let elements = keys.iter().map(|key| named(0x0A, key, b""));
            (0x04, framed(&elements.collect::<Vec<_>>().concat()))
        }),
    ];
    let element = (ambiguous_name(), value)
        .prop_map(|(name, (element_type, value))| named(element_type, &name, &value));
    element.prop_recursive(3, 24, 4, |inner| {
        (ambiguous_name(), vec(inner, 0..4))
            .prop_map(|(name, elements)| named(0x03, &name, &framed(&elements.concat())))
    })
}

/// Whether a name at any depth begins with a dollar.
fn has_dollar_names(document: &Document) -> bool {
    document
        .iter()
        .any(|(name, value)| name.starts_with('$') || value_has_dollar_names(value))
}

fn value_has_dollar_names(value: &Bson) -> bool {
    match value {
        Bson::Document(document) => has_dollar_names(document),
        Bson::Array(array) => array.iter().any(value_has_dollar_names),
        Bson::JavaScriptCodeWithScope(code) => has_dollar_names(&code.scope),
        _ => false,
    }
}

/// Text that is said to be exact reads back byte for byte. The decoder is the bson crate's.
fn check_fidelity(raw: &[u8]) -> Result<(), TestCaseError> {
    let mut out = Vec::new();
    if write_document(raw, Mode::Canonical, &mut out) == Ok(Fidelity::Exact) {
        let json: Value = serde_json::from_slice(&out).unwrap();
        let read = Bson::try_from(json).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let read = read
            .as_document()
            .map(|document| document.to_vec().unwrap());
        prop_assert_eq!(
            read.as_deref(),
            Some(raw),
            "{}",
            String::from_utf8_lossy(&out)
        );
    }
    Ok(())
}

proptest! {
    #[test]
    fn text_that_is_said_to_be_exact_reads_back_byte_for_byte(
        elements in vec(ambiguous_element(), 0..6),
        document in document(),
        changes in vec(change(), 0..3),
    ) {
        check_fidelity(&framed(&elements.concat()))?;
        let raw = document.to_vec().unwrap();
        let elements = raw.get(4..raw.len() - 1).unwrap().to_vec();
        check_fidelity(&framed(&changed(elements, &changes)))?;
    }

    #[test]
    fn ordinary_documents_are_exact(document in document()) {
        prop_assume!(!has_dollar_names(&document));
        let raw = document.to_vec().unwrap();
        let fidelity = write_document(&raw, Mode::Canonical, &mut Vec::new());
        prop_assert_eq!(fidelity, Ok(Fidelity::Exact));
    }

    #[test]
    fn canonical_text_reads_back_as_the_same_document(document in document()) {
        let raw = document.to_vec().unwrap();
        let read = read_back(&write(&raw, Mode::Canonical));
        prop_assert_eq!(read.as_document().unwrap().to_vec().unwrap(), raw);
    }

    #[test]
    fn relaxed_text_reads_back_but_for_the_width_of_integers(document in document()) {
        let read = read_back(&write(&document.to_vec().unwrap(), Mode::Relaxed));
        let expected = relaxed_document(document).to_vec().unwrap();
        prop_assert_eq!(read.as_document().unwrap().to_vec().unwrap(), expected);
    }

    #[test]
    fn documents_are_one_line(document in document()) {
        let raw = document.to_vec().unwrap();
        try_to_write(&raw)?;
        check_line(&write(&raw, Mode::Relaxed))?;
    }

    #[test]
    fn any_bytes_are_written_or_refused(bytes: Vec<u8>, elements in vec(element(), 0..4)) {
        try_to_write(&bytes)?;
        try_to_write(&framed(&bytes))?;
        try_to_write(&framed(&elements.concat()))?;
    }

    #[test]
    fn changed_documents_are_written_or_refused(
        document in document(),
        changes in vec(change(), 1..6),
    ) {
        let raw = document.to_vec().unwrap();
        try_to_write(&changed(raw.clone(), &changes))?;
        // With its own length made right, the change is found deeper inside.
        let elements = raw.get(4..raw.len() - 1).unwrap().to_vec();
        try_to_write(&framed(&changed(elements, &changes)))?;
    }

    #[test]
    fn cut_documents_are_refused(document in document(), index: prop::sample::Index) {
        let raw = document.to_vec().unwrap();
        let cut = raw.get(..index.index(raw.len())).unwrap();
        try_to_write(cut)?;
        prop_assert!(write_document(cut, Mode::Relaxed, &mut Vec::new()).is_err());
    }
}
