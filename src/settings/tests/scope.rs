//! What is watched, and by how many streams.

use super::*;
use silt_core::namespace::Namespace;
use silt_core::namespace::selection::Selection;

/// What each feed watches: `database.collection`, or for several in parentheses.
pub(super) fn watched(settings: &Settings) -> Vec<String> {
    let feeds = settings.feeds.iter();
    let watched = feeds.map(|feed| match &feed.watched {
        Watched::Collection(origin) => origin.to_string(),
        Watched::Many { selection, .. } => {
            format!("({}).({})", selection.databases, selection.collections)
        }
    });
    watched.collect()
}

/// The one feed's selection, and its layout.
fn shared(settings: &Settings) -> (Selection, Layout) {
    match &settings.feeds[..] {
        [feed] => match &feed.watched {
            Watched::Many { selection, layout } => (selection.clone(), *layout),
            other @ Watched::Collection(_) => panic!("{other:?}"),
        },
        feeds => panic!("{feeds:?}"),
    }
}

fn of(databases: &str, collections: &str) -> Given {
    Given::of(&LOCAL).and(&[
        ("MONGODB_DATABASE", databases),
        ("MONGODB_COLLECTIONS", collections),
    ])
}

#[test]
fn names_have_a_stream_each_and_patterns_share_one() {
    for (databases, collections, expected) in [
        ("shop", "users,orders", &["shop.users", "shop.orders"][..]),
        (
            "shop, crm",
            "users,orders",
            &["shop.users", "shop.orders", "crm.users", "crm.orders"],
        ),
        ("shop", "orders_*,users", &["(shop).(orders_*,users)"]),
        ("shop", "!*_tmp", &["(shop).(*,!*_tmp)"]),
        ("*", "users", &["(*).(users)"]),
        ("shop,crm_*", "*,!tmp", &["(shop,crm_*).(*,!tmp)"]),
        ("shop", "/a{1,2}/", &["(shop).(/a{1,2}/)"]),
    ] {
        let settings = of(databases, collections).settings();
        assert_eq!(watched(&settings), expected);
        let deep = databases != "shop";
        let layout = if deep {
            Layout::DatabaseAndCollection
        } else {
            Layout::Collection
        };
        assert_eq!(settings.source.layout, layout, "{databases}");
    }
    let given = of("shop", "users,orders").and(&[("STREAMS", "Shared")]);
    let (selection, layout) = shared(&given.settings());
    assert_eq!(selection.only_database(), Some("shop"));
    assert_eq!(layout, Layout::Collection);
    let given = of("a,b", "users").and(&[("STREAMS", "per-collection")]);
    let settings = given.settings();
    let Watched::Collection(origin) = &settings.feeds[1].watched else {
        panic!("{settings:?}");
    };
    assert_eq!(
        *origin,
        Namespace::with_layout("b", "users", Layout::DatabaseAndCollection)
    );
    assert_eq!(origin.folder(), "b/users");
}

#[test]
fn a_stream_for_each_match_of_a_pattern_is_refused() {
    let apart = [("STREAMS", "per-collection")];
    let problem = of("shop", "a*").and(&apart).problem();
    assert_eq!(
        problem,
        "STREAMS=per-collection: the patterns in MONGODB_COLLECTIONS also match collections that don't exist yet; \
         set STREAMS=shared, or only names in MONGODB_COLLECTIONS"
    );
    let problem = of("*", "a").and(&apart).problem();
    assert!(
        problem.contains("the patterns in MONGODB_DATABASE also match"),
        "{problem}"
    );
    let problem = of("*", "a").and(&[("STREAMS", "both")]).problem();
    assert!(
        problem.ends_with("set it to per-collection or shared"),
        "{problem}"
    );
}

#[test]
fn names_that_no_server_accepts_are_refused_in_lists() {
    for (databases, collections, what) in [
        (
            "admin",
            "a",
            "MONGODB_DATABASE=admin: `admin`: admin is the server's own database",
        ),
        (
            "shop,local",
            "a",
            "MONGODB_DATABASE=shop,local: `local`: local is the server's own",
        ),
        (
            "a.b",
            "a",
            "MONGODB_DATABASE=a.b: `a.b`: a database's name can't hold '.'; set it to names or patterns",
        ),
        (
            "shop",
            "*,system.views",
            "`system.views`: the server's own collections can't be watched",
        ),
        (
            "shop",
            "a,!b",
            "MONGODB_COLLECTIONS=a,!b: `!b` has no effect",
        ),
        (
            "shop",
            "/(?=a)/",
            "`/(?=a)/`: after `(?` it has a construct that silt and the server interpret differently",
        ),
    ] {
        let problem = of(databases, collections).problem();
        assert!(problem.contains(what), "{problem}");
    }
    let long = "x".repeat(240);
    let problem = of(&format!("shop,{}", "y".repeat(16)), &format!("a*,{long}")).problem();
    assert!(
        problem.contains("longer than 255 bytes together with its database"),
        "{problem}"
    );
    assert!(of("shop*", &long).load().is_ok());
}

#[test]
fn patterns_skip_the_checkpoints_and_names_do_not() {
    let (selection, _) = shared(&of("*", "*").settings());
    assert!(selection.matches("shop", "users") && selection.matches("metadata", "x"));
    assert!(!selection.matches("metadata", "change_stream_state"));
    assert!(
        !selection.matches("admin", "system.users") && !selection.matches("shop", "system.views")
    );
    let given = of("*", "*").and(&[("CHECKPOINT_STORE", "lake")]);
    let (selection, _) = shared(&given.settings());
    assert!(selection.matches("metadata", "change_stream_state"));
    for (databases, collections) in [
        ("*", "a*,change_stream_state"),
        ("shop,metadata", "change_stream_state"),
        ("metadata", "change_stream_state,b"),
    ] {
        let problem = of(databases, collections).problem();
        let start = "CHECKPOINT_COLLECTION=change_stream_state (the default): it is watched";
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn names_that_most_likely_mean_something_else_are_pointed_out() {
    for (collections, meant) in [
        ("shop.users", Some("without their database: users")),
        ("users;orders", Some("separated by commas: users,orders")),
        ("[\"users\"]", Some("separated by commas: users")),
        ("users,{orders}", Some("separated by commas: orders")),
        ("users,crm.users,shop", None),
        ("users,/a[0-9]/", None),
    ] {
        let warnings = of("shop", collections).load().unwrap().warnings;
        let found = warnings.iter().any(|warning| {
            warning.starts_with("MONGODB_COLLECTIONS: `")
                && meant.is_some_and(|meant| warning.ends_with(meant))
        });
        assert_eq!(
            (found, warnings.len()),
            (meant.is_some(), usize::from(found))
        );
    }
}

#[test]
fn a_database_in_the_uri_that_is_not_watched_is_pointed_out() {
    let warnings = |uri: &str, database: &str| {
        let given = Given::of(&LOCAL).and(&[("MONGODB_URI", uri), ("MONGODB_DATABASE", database)]);
        let mut given = given;
        if database.is_empty() {
            given.environment.remove("MONGODB_DATABASE");
        }
        given.load().unwrap().warnings
    };
    assert_eq!(
        warnings("mongodb://h/shop", ""),
        [
            "MONGODB_URI has the database shop in its path, but MONGODB_DATABASE isn't set, so its default \
             mydb is watched; set MONGODB_DATABASE=shop to watch that"
        ]
    );
    for (uri, database) in [
        ("mongodb://h/shop", "crm"),
        ("mongodb://h/mydb", ""),
        ("mongodb://h/admin", ""),
        ("mongodb://h/", ""),
    ] {
        assert_eq!(warnings(uri, database), [""; 0], "{uri}");
    }
}

#[test]
fn options_of_the_uri_that_are_ignored_are_warned_of() {
    let given = Given::of(&LOCAL).and(&[("MONGODB_URI", "mongodb://h/?readConcernLevel=local")]);
    assert_eq!(
        given.load().unwrap().warnings,
        [
            "MONGODB_URI: readConcernLevel is ignored: change streams and snapshots are always read with \
             majority"
        ]
    );
}
