//! Documents, and what is wrong with them.

use bson::{Bson, JavaScriptCodeWithScope, RawBson, doc, rawdoc};

use super::*;

fn text(raw: &[u8], mode: Mode) -> Result<String, Error> {
    let mut out = b"before".to_vec();
    let result = write_document(raw, mode, &mut out);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("before").unwrap().to_owned();
    if result.is_err() {
        assert_eq!(text, "", "output is left over from a failure");
    }
    result.map(|_| text)
}

fn relaxed(raw: &[u8]) -> Result<String, Error> {
    assert_eq!(
        text(raw, Mode::Canonical).err(),
        text(raw, Mode::Relaxed).err()
    );
    text(raw, Mode::Relaxed)
}

/// A document of these elements.
fn document(elements: &[u8]) -> Vec<u8> {
    let length = i32::try_from(elements.len() + 5).unwrap().to_le_bytes();
    [&length, elements, b"\0"].concat()
}

/// Documents of an only field "a", one in the other.
fn nested(levels: usize, element_type: u8) -> Vec<u8> {
    let mut raw = document(b"");
    for _ in 1..levels {
        raw = document(&[&[element_type], &b"a\0"[..], &raw].concat());
    }
    raw
}

#[test]
fn order_and_repeated_names_are_kept() {
    let raw = rawdoc! { "b": 1, "a": "x", "b": [true, RawBson::Null, {}], "": [] };
    assert_eq!(
        relaxed(raw.as_bytes()).unwrap(),
        r#"{"b":1,"a":"x","b":[true,null,{}],"":[]}"#
    );
}

#[test]
fn names_that_look_like_types_are_written_as_they_stand() {
    let raw = doc! { "$date": { "$numberLong": "1" }, "$oid": 1 }
        .to_vec()
        .unwrap();
    assert_eq!(
        relaxed(&raw).unwrap(),
        r#"{"$date":{"$numberLong":"1"},"$oid":1}"#
    );
}

#[test]
fn the_keys_of_an_array_do_not_count() {
    let raw = document(b"\x04a\0\x0f\0\0\0\x085\0\x01\x08x\0\0\x0a\0\0");
    assert_eq!(relaxed(&raw).unwrap(), r#"{"a":[true,false,null]}"#);
}

#[test]
fn the_old_binary_subtype_loses_its_inner_length() {
    let raw = document(b"\x05a\0\x07\0\0\0\x02\x03\0\0\0abc");
    assert_eq!(
        relaxed(&raw).unwrap(),
        r#"{"a":{"$binary":{"base64":"YWJj","subType":"02"}}}"#
    );
    for (inner, error) in [
        (2, Error::TrailingBytes { offset: 18 }),
        (
            4,
            Error::Truncated {
                offset: 16,
                needed: 4,
                left: 3,
            },
        ),
    ] {
        let mut raw = raw.clone();
        raw[12] = inner;
        assert_eq!(relaxed(&raw), Err(error));
    }
}

#[test]
fn scopes_follow_the_mode() {
    let scope = doc! { "x": 1_i64 };
    let code = JavaScriptCodeWithScope {
        code: "f(\"x\")".into(),
        scope,
    };
    let raw = doc! { "a": code, "b": 1 }.to_vec().unwrap();
    assert_eq!(
        text(&raw, Mode::Relaxed).unwrap(),
        r#"{"a":{"$code":"f(\"x\")","$scope":{"x":1}},"b":1}"#
    );
    assert_eq!(
        text(&raw, Mode::Canonical).unwrap(),
        r#"{"a":{"$code":"f(\"x\")","$scope":{"x":{"$numberLong":"1"}}},"b":{"$numberInt":"1"}}"#
    );
}

#[test]
fn code_with_scope_is_as_long_as_its_parts() {
    // In front of the code there are the type, the name, the length of all and that of the code.
    let raw = document(b"\x0fa\0\x0f\0\0\0\x02\0\0\0x\0\x05\0\0\0\0\x0ab\0");
    assert_eq!(
        relaxed(&raw).unwrap(),
        r#"{"a":{"$code":"x","$scope":{}},"b":null}"#
    );
    for (length, error) in [
        (18, Error::TrailingBytes { offset: 22 }),
        (
            14,
            Error::Truncated {
                offset: 21,
                needed: 1,
                left: 0,
            },
        ),
        (
            13,
            Error::Length {
                offset: 7,
                length: 13,
            },
        ),
    ] {
        let mut raw = raw.clone();
        raw[7] = length;
        assert_eq!(relaxed(&raw), Err(error));
    }
}

#[test]
fn regular_expressions_keep_their_options_as_they_stand() {
    let raw = document(b"\x0ba\0a/\"b\0xi\0");
    assert_eq!(
        relaxed(&raw).unwrap(),
        r#"{"a":{"$regularExpression":{"pattern":"a/\"b","options":"xi"}}}"#
    );
}

#[test]
fn values_are_written_as_in_documents() {
    let value = |element_type, raw: &[u8]| {
        let mut out = b"[".to_vec();
        write_value(element_type, raw, Mode::Relaxed, &mut out)
            .map(|_| String::from_utf8(out).unwrap())
    };
    assert_eq!(value(0x10, &[1, 0, 0, 0]).unwrap(), "[1");
    assert_eq!(value(0x02, b"\x02\0\0\0a\0").unwrap(), "[\"a\"");
    assert_eq!(
        value(0x03, rawdoc! { "a": 1 }.as_bytes()).unwrap(),
        r#"[{"a":1}"#
    );
    assert_eq!(value(0x0A, b"").unwrap(), "[null");
    assert_eq!(value(0x0A, b"x"), Err(Error::TrailingBytes { offset: 0 }));
    assert_eq!(
        value(0x14, b""),
        Err(Error::UnknownType {
            offset: 0,
            element_type: 0x14
        })
    );
}

#[test]
fn nesting_has_a_limit() {
    for (element_type, open, close) in [(0x03, "{\"a\":", "}"), (0x04, "[", "]")] {
        // The outermost level is a document always.
        let inner = MAX_DEPTH - 2;
        let (empty_open, empty_close) = (open.get(..1).unwrap(), close);
        assert_eq!(
            relaxed(&nested(MAX_DEPTH, element_type)).unwrap(),
            format!(
                "{{\"a\":{}{empty_open}{empty_close}{}}}",
                open.repeat(inner),
                close.repeat(inner)
            )
        );
        assert_eq!(
            relaxed(&nested(MAX_DEPTH + 1, element_type)),
            Err(Error::TooDeep {
                offset: MAX_DEPTH * 7
            })
        );
        assert!(relaxed(&nested(5_000, element_type)).is_err());
    }
}

#[test]
fn depth_is_not_length() {
    let many = Bson::Array(vec![Bson::Document(doc! { "a": [] }); MAX_DEPTH * 2]);
    assert!(relaxed(&doc! { "a": many }.to_vec().unwrap()).is_ok());
}

#[test]
fn scopes_count_as_levels() {
    let scopes = |levels| {
        let mut scope = document(b"");
        for _ in 1..levels {
            let length = i32::try_from(scope.len() + 9).unwrap().to_le_bytes();
            scope = document(&[b"\x0f\0", &length[..], b"\x01\0\0\0\0", &scope].concat());
        }
        relaxed(&scope)
    };
    assert!(scopes(MAX_DEPTH).is_ok());
    assert!(matches!(scopes(MAX_DEPTH + 1), Err(Error::TooDeep { .. })));
}

#[test]
fn faults_are_reported_where_they_are() {
    let cases: [(&[u8], Error); 9] = [
        (
            b"\x08b\0\x02",
            Error::Boolean {
                offset: 7,
                value: 2,
            },
        ),
        (
            b"\x0aa\0\x14b\0",
            Error::UnknownType {
                offset: 7,
                element_type: 0x14,
            },
        ),
        (b"\x0aa\0\0", Error::TrailingBytes { offset: 8 }),
        (b"\x0aabc", Error::UnterminatedName { offset: 5 }),
        (b"\x0bab\0abc", Error::UnterminatedName { offset: 8 }),
        (b"\x02b\0\x02\0\0\0ab", Error::Unterminated { offset: 12 }),
        (b"\x02b\0\x03\0\0\0a\xff\0", Error::Utf8 { offset: 12 }),
        (
            b"\x02b\0\0\0\0\0",
            Error::Length {
                offset: 7,
                length: 0,
            },
        ),
        (
            b"\x12b\0\0\0\0\0",
            Error::Truncated {
                offset: 7,
                needed: 8,
                left: 4,
            },
        ),
    ];
    for (elements, error) in cases {
        assert_eq!(relaxed(&document(elements)), Err(error), "{elements:?}");
    }
}

#[test]
fn faults_deep_inside_count_from_the_outermost_start() {
    let inner = document(b"\x08b\0\x07");
    let raw = document(&[b"\x0ax\0\x04a\0", &inner[..]].concat());
    let error = relaxed(&raw).unwrap_err();
    assert_eq!(
        error,
        Error::Boolean {
            offset: 17,
            value: 7
        }
    );
    assert_eq!(raw.get(17), Some(&7));
    assert_eq!(
        error.to_string(),
        "malformed BSON: the boolean at byte 17 is 0x07, not 0 or 1"
    );
}

#[test]
fn the_outermost_document_is_all_of_the_input() {
    let raw = rawdoc! { "a": 1 }.into_bytes();
    for length in 0..raw.len() {
        assert!(relaxed(raw.get(..length).unwrap()).is_err());
    }
    let longer = [&raw[..], b"\0"].concat();
    assert_eq!(
        relaxed(&longer),
        Err(Error::TrailingBytes { offset: raw.len() })
    );
}
