//! Takeovers between feeds of one collection and shared streams.

use super::*;
use crate::namespace::selection::{Matcher, NameSet, Selection};
use crate::position::{Departure, LastChange, Position, ResumeToken};

fn at(seconds: u32) -> ClusterTime {
    ClusterTime {
        seconds,
        increment: 1,
    }
}

fn all() -> NameSet {
    NameSet {
        includes: vec![Matcher::Pattern {
            written: "*".to_owned(),
            regex: regex::Regex::new("^(?s:.*)$").unwrap(),
        }],
        excludes: Vec::new(),
    }
}

fn selection(databases: NameSet, apart: &[&str]) -> Selection {
    let namespace = |name: &&str| ("mydb".to_owned(), (*name).to_owned());
    Selection {
        databases,
        collections: all(),
        apart: apart.iter().map(namespace).collect(),
    }
}

fn mydb(apart: &[&str]) -> Selection {
    selection(NameSet::of_names(&["mydb"]), apart)
}

fn stored(seconds: u32, selection: Option<Selection>) -> Stored {
    let mut checkpoint = Checkpoint::new(Position::At(at(seconds)), "hash");
    checkpoint.selection = selection.map(Box::new);
    Stored {
        checkpoint,
        revision: 1,
        lake: Some("file:///lake".to_owned()),
    }
}

fn other(feed: &str, stored: Stored) -> Other {
    (FeedId::parse(feed).unwrap(), stored)
}

fn taken(handover: Option<Handover>) -> Option<(u32, String)> {
    handover.map(|it| (it.at.seconds, it.from))
}

#[test]
fn a_collection_resumes_after_the_shared_stream_that_carried_it() {
    let users = Namespace::new("mydb", "users");
    let shared = [other("mydb.*", stored(70, Some(mydb(&[]))))];
    let from_shared = Some((70, "mydb.*".to_owned()));
    assert_eq!(
        taken(to_collection::handover(&shared, &users, None)),
        from_shared
    );
    let before = stored(50, None);
    assert_eq!(
        taken(to_collection::handover(&shared, &users, Some(&before))),
        from_shared
    );
    let later = stored(90, None);
    assert_eq!(to_collection::handover(&shared, &users, Some(&later)), None);
    let elsewhere = Stored {
        lake: Some("file:///other".to_owned()),
        ..before.clone()
    };
    assert_eq!(
        to_collection::handover(&shared, &users, Some(&elsewhere)),
        None,
        "other files"
    );
    let deep = Namespace::with_layout("mydb", "users", Layout::DatabaseAndCollection);
    assert_eq!(
        to_collection::handover(&shared, &deep, Some(&before)),
        None,
        "other folders"
    );
    assert_eq!(
        taken(to_collection::handover(&shared, &deep, None)),
        from_shared,
        "better than now"
    );
    let without = [other("mydb.*", stored(70, Some(mydb(&["users"]))))];
    assert_eq!(
        to_collection::handover(&without, &users, None),
        None,
        "it never had it"
    );
}

#[test]
fn a_collection_learns_which_changes_the_lake_should_have() {
    let users = Namespace::new("mydb", "users");
    let mut shared = stored(70, Some(mydb(&[])));
    let watermark = |collection: &str| Watermark {
        database: "mydb".to_owned(),
        collection: collection.to_owned(),
        last_change: LastChange {
            token: ResumeToken::from_canonical(r#"{"_data":"82AB"}"#),
            cluster_time: at(65),
        },
        is_after_position: false,
    };
    shared.checkpoint.collections = vec![watermark("orders"), watermark("users")];
    let others = [other("mydb.*", shared)];
    let watermarks = |namespace: &Namespace| {
        to_collection::handover(&others, namespace, None)
            .unwrap()
            .watermarks
    };
    assert_eq!(watermarks(&users), [watermark("users")]);
    let deep = Namespace::with_layout("mydb", "users", Layout::DatabaseAndCollection);
    assert_eq!(watermarks(&deep), [], "it is about other files");
}

fn to_shared_stream(
    all: &[Other],
    selection: &Selection,
    own: Option<&Stored>,
) -> Option<Handover> {
    let layout = match selection.only_database() {
        Some(_) => Layout::Collection,
        None => Layout::DatabaseAndCollection,
    };
    to_shared::handover(all.to_vec(), selection, layout, own)
}

#[test]
fn the_position_of_a_departed_collection_is_known() {
    let users = Namespace::new("mydb", "users");
    let mut shared = stored(90, Some(mydb(&["users"])));
    shared.checkpoint.departed.push(Departure {
        database: "mydb".to_owned(),
        collection: "users".to_owned(),
        until: at(70),
    });
    let from_shared = Some((70, "mydb.*".to_owned()));
    let others = [other("mydb.*", shared.clone())];
    assert_eq!(
        taken(to_collection::handover(&others, &users, None)),
        from_shared
    );
    // Its own feed never saved anything, and it comes back.
    let back = to_shared_stream(&others, &mydb(&[]), Some(&shared));
    assert_eq!(taken(back), Some((70, "mydb.users".to_owned())));
    let others = [
        other("mydb.*", shared.clone()),
        other("mydb.users", stored(80, None)),
    ];
    let back = to_shared_stream(&others, &mydb(&[]), Some(&shared));
    assert_eq!(taken(back), Some((80, "mydb.users".to_owned())));
}

#[test]
fn a_shared_stream_goes_back_to_the_earliest_collection_that_it_takes_over() {
    let singles = [
        other("mydb.users", stored(80, None)),
        other("mydb.orders", stored(60, None)),
        other("crm.users", stored(10, None)),
    ];
    let taken_over = |selection: &Selection, own: Option<&Stored>| {
        taken(to_shared_stream(&singles, selection, own))
    };
    let from_orders = Some((60, "mydb.orders".to_owned()));
    assert_eq!(taken_over(&mydb(&[]), None), from_orders);
    assert_eq!(
        taken_over(&mydb(&["orders"]), None),
        Some((80, "mydb.users".to_owned()))
    );
    let own = stored(90, Some(mydb(&["users"])));
    assert_eq!(
        taken_over(&mydb(&[]), Some(&own)),
        Some((80, "mydb.users".to_owned()))
    );
    let own = stored(70, Some(mydb(&["users"])));
    assert_eq!(
        taken_over(&mydb(&[]), Some(&own)),
        Some((70, "mydb.users".to_owned())),
        "they are further than it is, by other filters perhaps"
    );
    // An old one whose collection a shared stream has carried since.
    let mut with_shared = singles.to_vec();
    with_shared.push(other("mydb.*", stored(85, Some(mydb(&[])))));
    let several = selection(NameSet::of_names(&["mydb", "shop"]), &[]);
    let from_shared = Some(85);
    let handover = to_shared_stream(&with_shared, &several, None);
    assert_eq!(handover.map(|it| it.at.seconds), from_shared);
}

#[test]
fn a_stream_over_another_number_of_databases_resumes_at_the_others_position() {
    let both = selection(NameSet::of_names(&["mydb", "shop"]), &[]);
    let one = [other("mydb.*", stored(70, Some(mydb(&[]))))];
    assert_eq!(
        taken(to_shared_stream(&one, &both, None)),
        Some((70, "mydb.*".to_owned()))
    );
    let several = [other("*.*", stored(75, Some(both)))];
    assert_eq!(
        taken(to_shared_stream(&several, &mydb(&[]), None)),
        Some((75, "*.*".to_owned()))
    );
    let crm = selection(NameSet::of_names(&["crm"]), &[]);
    assert_eq!(
        to_shared_stream(&several, &crm, None),
        None,
        "it has none of it"
    );
}

#[test]
fn it_resumes_after_what_single_feeds_have_archived_since() {
    let names = Selection {
        collections: NameSet::of_names(&["users", "orders"]),
        ..mydb(&[])
    };
    let own = stored(10, Some(names.clone()));
    let single = |name: &str, seconds: u32| {
        let mut stored = stored(seconds, None);
        stored.checkpoint.folder = Some(name.to_owned());
        other(&format!("mydb.{name}"), stored)
    };
    let singles = [single("users", 40), single("orders", 30)];
    let later = to_shared_stream(&singles, &names, Some(&own)).unwrap();
    assert_eq!(later.at, at(30));
    let first = to_shared_stream(&singles, &names, None).unwrap();
    assert_eq!(first.at, at(30));
    let one = [single("users", 40)];
    let with_filters = taken(to_shared_stream(&one, &names, Some(&own)));
    assert_eq!(with_filters, Some((10, "mydb.users".to_owned())));
    let everything = stored(10, Some(mydb(&[])));
    let with_filters = to_shared_stream(&singles, &mydb(&[]), Some(&everything));
    assert_eq!(with_filters.map(|it| it.at), Some(at(10)), "who knows");
    let later = stored(50, Some(names.clone()));
    assert_eq!(to_shared_stream(&singles, &names, Some(&later)), None);
    for elsewhere in [Some("file:///other"), None] {
        let mut own = own.clone();
        own.lake = elsewhere.map(str::to_owned);
        assert_eq!(
            to_shared_stream(&singles, &names, Some(&own)),
            None,
            "other files"
        );
    }
}

#[test]
fn a_database_of_another_shared_stream_resumes_at_its_position() {
    let databases = |names: &[&str]| selection(NameSet::of_names(names), &[]);
    let own = stored(90, Some(databases(&["mydb", "shop"])));
    let crm = other("crm.*", stored(60, Some(databases(&["crm"]))));
    let three = databases(&["mydb", "shop", "crm"]);
    let back = to_shared_stream(std::slice::from_ref(&crm), &three, Some(&own));
    assert_eq!(taken(back), Some((60, "crm.*".to_owned())));
    let had_it = stored(90, Some(three.clone()));
    assert_eq!(to_shared_stream(&[crm], &three, Some(&had_it)), None);
}

#[test]
fn a_selection_survives_json() {
    let selection = selection(all(), &["users"]);
    let text = serde_json::to_string(&selection).unwrap();
    assert_eq!(serde_json::from_str::<Selection>(&text).unwrap(), selection);
}
