use bson::doc;

use super::*;

/// The faults of a pipeline.
fn faults(text: &str, looks_up: bool) -> Vec<Fault> {
    let stages = parse(text).unwrap_or_else(|fault| panic!("{text}: {fault:?}"));
    check(&stages, looks_up).err().unwrap_or_default()
}

#[track_caller]
fn is_taken(text: &str, looks_up: bool) {
    let faults = faults(text, looks_up);
    assert!(faults.is_empty(), "{text}: {faults:?}");
}

#[track_caller]
fn is_refused(text: &str, what: &str, fix: &str) {
    let faults = faults(text, true);
    assert_eq!(faults.len(), 1, "{text}: {faults:?}");
    assert!(faults[0].what.contains(what), "{text}: {faults:?}");
    let has_fix = faults[0]
        .fix
        .as_deref()
        .is_some_and(|text| text.contains(fix));
    assert!(has_fix, "{text}: {faults:?}");
}

#[test]
fn stages_are_read_as_extended_json() {
    let text = r#"[{"$match": {"documentKey._id": {"$in": [{"$oid": "0123456789abcdef01234567"}, 7, 1.5]},
        "wallTime": {"$gt": {"$date": "2024-01-15T14:00:00Z"}}, "ns.coll": {"$regex": "^a", "$options": "i"}}},
        {"$unset": ["a", "b"]}]"#;
    let id = bson::oid::ObjectId::parse_str("0123456789abcdef01234567").unwrap();
    let date = bson::DateTime::from_millis(1_705_327_200_000);
    let expected = [
        doc! { "$match": {
            "documentKey._id": { "$in": [id, 7, 1.5] },
            "wallTime": { "$gt": date },
            "ns.coll": { "$regex": "^a", "$options": "i" },
        } },
        doc! { "$unset": ["a", "b"] },
    ];
    assert_eq!(parse(text).unwrap(), expected);
    assert!(parse(" [] ").unwrap().is_empty());
}

#[test]
fn invalid_pipelines_are_refused() {
    for (text, what) in [
        (
            "[{",
            "not JSON:  EOF while parsing an object, in line 1, column 2",
        ),
        ("$match", "not JSON:  expected value, in line 1, column 1"),
        ("{\"$match\": {}}", "not an array of stages"),
        (
            "[{}, 7]",
            "stage 2: it is not an object such as {\"$match\": …}",
        ),
        (
            "[{\"$oid\": \"0123456789abcdef01234567\"}]",
            "stage 1: it is not an object",
        ),
        (
            "[{\"$match\": {\"a\": {\"$oid\": \"x\"}}}]",
            "stage 1: not Extended JSON: ",
        ),
    ] {
        let fault = parse(text).unwrap_err();
        assert!(fault.what.starts_with(what), "{text}: {fault:?}");
    }
}

#[test]
fn other_stages_are_refused_each_with_its_reason() {
    for (stage, what, fix) in [
        (
            "{}",
            "stage 2: each object must contain one stage",
            "[{\"$match\"",
        ),
        (
            "{\"$match\": {}, \"$unset\": \"a\"}",
            "each object must contain one stage",
            "[{\"$match\"",
        ),
        (
            "{\"$replaceRoot\": {}}",
            "$replaceRoot: it replaces the event",
            "$addFields",
        ),
        (
            "{\"$replaceWith\": \"$a\"}",
            "$replaceWith: it replaces the event",
            "$unset",
        ),
        (
            "{\"$redact\": \"$$KEEP\"}",
            "$redact: it may remove fields",
            "$match",
        ),
        (
            "{\"$changeStream\": {}}",
            "silt adds this stage itself",
            "remove it",
        ),
        (
            "{\"$changeStreamSplitLargeEvent\": {}}",
            "silt adds this stage itself",
            "remove it",
        ),
        (
            "{\"$group\": {}}",
            "silt accepts only $match, $project, $addFields, $set, $unset",
            "remove it",
        ),
        (
            "{\"$addField\": {}}",
            "silt accepts only $match",
            "did you mean $addFields?",
        ),
        (
            "{\"$match\": []}",
            "$match: it takes an object",
            "{\"$match\": {…}}",
        ),
        (
            "{\"$unset\": 1}",
            "$unset: it takes a field's name",
            "\"fullDocument.password\"",
        ),
        (
            "{\"$unset\": [1]}",
            "$unset: it takes a field's name",
            "\"fullDocument.password\"",
        ),
    ] {
        is_refused(&format!("[{{\"$match\": {{}}}}, {stage}]"), what, fix);
    }
}

#[test]
fn all_faults_are_reported() {
    let faults = faults(
        r#"[{"$unset": "_id"}, {"$unset": "a"}, {"$group": {}}]"#,
        true,
    );
    assert!(
        faults[0]
            .what
            .starts_with("stage 1, $unset: it removes `_id`"),
        "{faults:?}"
    );
    assert!(
        faults[1].what.starts_with("stage 3, $group: "),
        "{faults:?}"
    );
    assert_eq!(faults.len(), 2);
}

#[test]
fn what_silt_needs_stays() {
    for text in [
        r#"[{"$unset": "fullDocument.password"}]"#,
        r#"[{"$unset": ["fullDocument", "nsx", "lsid", "_idx"]}]"#,
        r#"[{"$project": {"fullDocument": 0, "lsid": false, "txnNumber": 0.0}}]"#,
        r#"[{"$project": {"fullDocument": {"a": 0, "b": {"c": 0}}}}]"#,
        r#"[{"$project": {"_id": 1, "lsid": 0}}]"#,
        r#"[{"$project": {"operationType": 1, "clusterTime": true, "ns": 1, "documentKey": 1, "x": "$a.b"}}]"#,
        r#"[{"$project": {"_id": 1, "operationType": 1, "clusterTime": 1, "ns": 1, "a": {"b": 1, "c": {"$add": [1, 2]}}}}]"#,
        r#"[{"$addFields": {"fullDocument.full": {"$concat": ["$a", "$b"]}, "x": {"y": 1}}}, {"$set": {"z.siltRawEvent": 1}}]"#,
    ] {
        is_taken(text, false);
    }
}

#[test]
fn stages_that_remove_or_write_needed_fields_are_refused() {
    for (stage, what, fix) in [
        (
            r#"{"$unset": "_id"}"#,
            "it removes `_id`, by which a stream is resumed",
            "keep `_id`",
        ),
        (
            r#"{"$unset": ["a", "_id._data"]}"#,
            "it removes `_id._data`",
            "keep `_id._data`",
        ),
        (
            r#"{"$unset": "ns.coll"}"#,
            "it removes `ns.coll`, which silt needs",
            "keep `ns.coll`",
        ),
        (
            r#"{"$unset": "clusterTime"}"#,
            "it removes `clusterTime`",
            "",
        ),
        (r#"{"$project": {"_id": 0}}"#, "it removes `_id`", ""),
        (
            r#"{"$project": {"operationType": 0, "a": 0}}"#,
            "it removes `operationType`",
            "",
        ),
        (
            r#"{"$project": {"ns": {"db": 0}}}"#,
            "it removes `ns.db`",
            "",
        ),
        (
            r#"{"$project": {"_id": false, "operationType": 1, "clusterTime": 1, "ns": 1}}"#,
            "it removes `_id`",
            "keep `_id`",
        ),
        (
            r#"{"$project": {"fullDocument": 1, "ns": 1}}"#,
            "it keeps only the fields it names, and silt also needs operationType, clusterTime",
            r#"add "operationType": 1, "clusterTime": 1"#,
        ),
        (
            r#"{"$project": {"_id": 1}}"#,
            "it keeps only the fields it names",
            r#""ns": 1"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns.coll": 1}}"#,
            "it keeps only `ns.coll` of `ns`",
            r#"write "ns": 1"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "a": 0}}"#,
            "it keeps some fields and removes `a`",
            "$unset",
        ),
        (
            r#"{"$project": {}}"#,
            "it has no fields",
            "remove the stage",
        ),
        (
            r#"{"$project": {"_id": "$x"}}"#,
            "it writes `_id`",
            "another field name",
        ),
        (
            r#"{"$project": {"ns": "$x", "a": 1}}"#,
            "it writes `ns`, which silt needs unchanged",
            "another field name",
        ),
        (
            r#"{"$set": {"_id": 1}}"#,
            "it writes `_id`",
            "another field name",
        ),
        (
            r#"{"$set": {"_id.x": 1}}"#,
            "it writes `_id.x`",
            "another field name",
        ),
        (
            r#"{"$addFields": {"operationType": "x"}}"#,
            "it writes `operationType`",
            "another field name",
        ),
        (
            r#"{"$set": {"ns": {"coll": "x"}}}"#,
            "it writes `ns`",
            "another field name",
        ),
        (
            r#"{"$set": {"splitEvent": 1}}"#,
            "it writes `splitEvent`, by which",
            "another field name",
        ),
    ] {
        is_refused(&format!("[{stage}]"), what, fix);
    }
}

/// Readers take the bytes in it for the event.
#[test]
fn stages_that_write_the_raw_event_are_refused() {
    for stage in [
        r#"{"$addFields": {"siltRawEvent": "$fullDocument.raw"}}"#,
        r#"{"$set": {"siltRawEvent.x": 1}}"#,
        r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "siltRawEvent": "$x"}}"#,
    ] {
        let what = "which silt writes itself, for events that Extended JSON can't keep";
        is_refused(&format!("[{stage}]"), what, "another field name");
    }
}

#[test]
fn a_filter_on_looked_up_fields_is_refused() {
    for query in [
        r#"{"fullDocument": null}"#,
        r#"{"fullDocument.status": "paid"}"#,
        r#"{"$or": [{"operationType": "insert"}, {"$and": [{"a": 1}, {"fullDocument.a": 1}]}]}"#,
        r#"{"$nor": [{"fullDocument.a": {"$exists": true}}]}"#,
        r#"{"$expr": {"$eq": ["$fullDocument.a", 1]}}"#,
        r#"{"$and": [{"$expr": {"$gt": [{"$size": {"$ifNull": ["$fullDocument.list", []]}}, 1]}}]}"#,
        r#"{"$expr": {"$eq": ["$$ROOT.fullDocument.a", 1]}}"#,
        r#"{"$expr": {"$eq": ["$$CURRENT.fullDocument", null]}}"#,
        r#"{"$expr": {"$gt": [{"$bsonSize": "$$ROOT"}, 10]}}"#,
        r#"{"$expr": {"$let": {"vars": {"d": "$fullDocument"}, "in": {"$eq": ["$$d.a", 1]}}}}"#,
        r#"{"$expr": {"$getField": "fullDocument"}}"#,
        r#"{"$expr": {"$getField": {"$literal": "fullDocument"}}}"#,
        r#"{"$expr": {"$getField": {"field": "a", "input": "$fullDocument"}}}"#,
        r#"{"$expr": {"$getField": {"field": {"$concat": ["full", "Document"]}}}}"#,
        r#"{"$jsonSchema": {"required": ["fullDocument"]}}"#,
        r#"{"$jsonSchema": {"properties": {"fullDocument": {"bsonType": "object"}}}}"#,
    ] {
        let text = format!(r#"[{{"$match": {query}}}]"#);
        is_refused(
            &text,
            "which FULL_DOCUMENT=updateLookup looks up again",
            "whenAvailable",
        );
        is_taken(&text, false);
    }
}

#[test]
fn other_filters_are_taken() {
    for query in [
        "{}",
        r#"{"operationType": {"$in": ["insert", "delete"]}}"#,
        r#"{"fullDocumentBeforeChange.a": 1, "fullDocumentX": 1, "x.fullDocument": 1}"#,
        r#"{"updateDescription.updatedFields.fullDocument": {"$exists": true}}"#,
        r#"{"documentKey._id": {"$not": {"$gt": 5}}}"#,
        r#"{"$expr": {"$eq": ["$operationType", "fullDocument"]}}"#,
        r#"{"$expr": {"$eq": ["$operationType", {"$literal": "$fullDocument"}]}}"#,
        r#"{"$expr": {"$eq": ["$$ROOT.operationType", "$$REMOVE"]}}"#,
        r#"{"$expr": {"$getField": "operationType"}}"#,
        r#"{"$expr": {"$getField": {"field": "fullDocument", "input": "$updateDescription"}}}"#,
        r#"{"$jsonSchema": {"required": ["documentKey"]}}"#,
        r#"{"$comment": "fullDocument"}"#,
    ] {
        is_taken(&format!(r#"[{{"$match": {query}}}]"#), true);
    }
}

#[test]
fn looked_up_fields_are_followed_through_the_stages() {
    let filter = |before: &str, query: &str| format!(r#"[{before}, {{"$match": {query}}}]"#);
    for (before, query) in [
        (
            r#"{"$addFields": {"status": "$fullDocument.status"}}"#,
            r#"{"status": 1}"#,
        ),
        (
            r#"{"$set": {"a": {"b": {"$toLower": "$fullDocument.x"}}}}"#,
            r#"{"a.b": 1}"#,
        ),
        (
            r#"{"$set": {"a": {"b": "$fullDocument.x"}}}"#,
            r#"{"a": 1}"#,
        ),
        (r#"{"$set": {"a": "$fullDocument"}}"#, r#"{"a.b.c": 1}"#),
        (r#"{"$set": {"all": "$$ROOT"}}"#, r#"{"all.x": 1}"#),
        (
            r#"{"$set": {"a": "$fullDocument"}}, {"$set": {"b": "$a.x"}}, {"$unset": "a"}"#,
            r#"{"b": 1}"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "fullDocument": 1}}"#,
            r#"{"fullDocument.a": 1}"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "fullDocument": {"a": 1}}}"#,
            r#"{"fullDocument.a": 1}"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "x": "$fullDocument.a"}}"#,
            r#"{"x": 1}"#,
        ),
        (
            r#"{"$project": {"fullDocument.secret": 0}}"#,
            r#"{"fullDocument.a": 1}"#,
        ),
        (
            r#"{"$unset": "fullDocument.secret"}"#,
            r#"{"fullDocument": 1}"#,
        ),
    ] {
        is_refused(&filter(before, query), "looks up again", "FULL_DOCUMENT");
        is_taken(&filter(before, query), false);
    }
    for (before, query) in [
        (
            r#"{"$addFields": {"status": "$operationType"}}"#,
            r#"{"status": 1}"#,
        ),
        (
            r#"{"$set": {"a": {"b": "$fullDocument.x", "c": 1}}}"#,
            r#"{"a.c": 1}"#,
        ),
        (
            r#"{"$set": {"a": "$fullDocument"}}, {"$set": {"a": 1}}"#,
            r#"{"a.b": 1}"#,
        ),
        (r#"{"$unset": "fullDocument"}"#, r#"{"fullDocument": null}"#),
        (
            r#"{"$set": {"fullDocument": null}}"#,
            r#"{"fullDocument.a": 1}"#,
        ),
        (
            r#"{"$project": {"fullDocument": 0}}"#,
            r#"{"$expr": {"$bsonSize": "$$ROOT"}}"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1}}"#,
            r#"{"fullDocument": null}"#,
        ),
        (
            r#"{"$project": {"operationType": 1, "clusterTime": 1, "ns": 1, "fullDocument": "x"}}"#,
            r#"{"fullDocument": 1}"#,
        ),
    ] {
        is_taken(&filter(before, query), true);
    }
}

#[test]
fn a_filter_on_generated_values_is_refused() {
    for (query, what) in [
        (
            r#"{"$sampleRate": 0.5}"#,
            "`$sampleRate`, which can change on resume",
        ),
        (r#"{"$or": [{"$sampleRate": 0.5}]}"#, "`$sampleRate`"),
        (r#"{"$expr": {"$lt": [{"$rand": {}}, 0.5]}}"#, "`$rand`"),
        (r#"{"$expr": {"$gt": ["$$NOW", "$wallTime"]}}"#, "`$$NOW`"),
        (
            r#"{"$expr": {"$gt": ["$$CLUSTER_TIME", "$clusterTime"]}}"#,
            "`$$CLUSTER_TIME`",
        ),
        (
            r#"{"$where": "true"}"#,
            "silt can't analyze what `$where` depends on",
        ),
        (
            r#"{"$expr": {"$function": {"body": "x", "args": [], "lang": "js"}}}"#,
            "silt can't analyze what `$function` depends on",
        ),
    ] {
        let text = format!(r#"[{{"$match": {query}}}]"#);
        is_refused(&text, what, "");
        assert_eq!(faults(&text, false).len(), 1, "{text}");
    }
    let text = r#"[{"$set": {"at": "$$NOW"}}, {"$match": {"at": 1}}]"#;
    is_refused(
        text,
        "`at`, which can change on resume",
        "fields of the change itself",
    );
    is_taken(r#"[{"$set": {"at": "$$NOW"}}]"#, true);
}
