//! What happens is seen as it happens.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bson::doc;

use crate::harness::replica_set::QUICK;
use crate::harness::scene::insert;
use crate::harness::silt::{Signal, Silt};
use crate::harness::tcp_proxy::{Fault, TcpProxy};
use crate::harness::variable;

use super::{Visit, part, scene, text};

/// A name that would be an element, if it weren't text.
const NASTY: &str = "<img src=x onerror=alert(1)>";
const LOAD_PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn a_live_load_is_shown_and_counted() {
    let scene = scene(&format!("users,orders,{NASTY}"))
        .await
        .with("BATCH_SIZE", "50");
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("All 3 collections are watched");

    let done = Arc::new(AtomicBool::new(false));
    let load = tokio::spawn({
        let (done, users) = (Arc::clone(&done), scene.users());
        async move {
            let mut written = 0;
            while !done.load(Ordering::Relaxed) {
                insert(&users, written..written + 1).await;
                written += 1;
                tokio::time::sleep(LOAD_PAUSE).await;
            }
            written
        }
    });
    let browser = &mut visit.browser;
    browser.wait_for("parseFloat(document.getElementById('rate').textContent) > 0");
    let rate = text("users", ".now");
    browser.wait_for(&format!("parseFloat({rate}) > 0"));
    // A line of several points, which isn't flat.
    let heights = |chart: &str| {
        format!(
            "(points => points.length >= 4 && new Set(points).size > 1)(
                ({chart}.getAttribute('d') ?? '').split(/[ML]/).slice(1).map(point => point.split(' ')[1]))"
        )
    };
    browser.wait_for(&heights("document.querySelector('#chart .edge')"));
    browser.wait_for(&heights(&part("users", ".edge")));
    browser.wait_for(&format!(
        "{}.includes('by count')",
        text("users", ".flushed")
    ));
    done.store(true, Ordering::Relaxed);
    let written = load.await.unwrap();

    scene
        .flush_until(&mut visit.silt, "users", written as usize)
        .await;
    let browser = &mut visit.browser;
    let is_written = format!(".title.replaceAll(',', '').startsWith('{written} changes')");
    browser.wait_for(&format!("document.getElementById('archived'){is_written}"));
    browser.wait_for(&format!("{}{is_written}", part("users", ".archived")));
    let files = scene.files("users");
    let file = files.last().unwrap().strip_prefix(scene.lake()).unwrap();
    let shown = format!(
        "{} === {:?}",
        text("users", ".file"),
        file.to_str().unwrap()
    );
    browser.wait_for(&shown);
    browser.wait_for("document.getElementById('rate').textContent === '0/s'");
    browser.wait_for(&format!("{rate} === '0/s'"));

    let mongodb = browser.value("document.getElementById('mongodb').textContent");
    let host = scene
        .direct_uri
        .trim_start_matches("mongodb://")
        .split('/')
        .next();
    assert!(
        mongodb.as_str().unwrap().contains(host.unwrap()),
        "{mongodb}"
    );
    assert_eq!(browser.value(&text(NASTY, ".badge")), "watching");
    assert_eq!(browser.value("document.images.length"), 0);
    assert_eq!(
        browser.value("document.getElementById('flush-all').hidden"),
        true
    );
    visit.assert_is_clean(&[]);
    visit.silt.drain();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_halted_collection_stands_first_with_its_remedy_and_the_others_run_on() {
    let scene = scene("orders,users").await.with("BATCH_SIZE", "5");
    let folder = scene.lake().join("users");
    fs::create_dir_all(&folder).unwrap();
    let foreign = folder.join("2024-01-15-14.json");
    fs::write(&foreign, "not of silt").unwrap();
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("1 of 2 collections is halted");
    let browser = &mut visit.browser;
    let first = "document.querySelector('.row .collection').textContent";
    browser.wait_for(&format!("{first} === 'users'"));
    let trouble = text("users", ".trouble");
    let trouble = browser.wait_for(&format!(
        "({}).hidden === false && {trouble}",
        part("users", ".trouble")
    ));
    let trouble = trouble.as_str().unwrap();
    assert!(trouble.contains("Needs a person"), "{trouble}");
    assert!(trouble.contains("2024-01-15-14.json"), "{trouble}");
    assert!(trouble.contains("move"), "the remedy: {trouble}");
    assert_eq!(browser.value("document.title"), "1 halted · silt");

    insert(&scene.database.collection("orders"), 0..5).await;
    browser.wait_for(&format!("{} === '5'", text("orders", ".archived")));
    assert_eq!(
        browser
            .value(&text("orders", ".badge"))
            .as_str()
            .unwrap()
            .trim(),
        "watching"
    );

    // The other's lag is known, but it needn't be the worst.
    insert(&scene.database.collection("orders"), 5..7).await;
    browser.wait_for(&format!("{} === '2'", text("orders", ".buffered")));
    let lagging = "document.getElementById('lagging').textContent";
    assert_eq!(browser.value(lagging), "not known of all");

    fs::remove_file(&foreign).unwrap();
    visit.silt.signal(Signal::USR1);
    visit.wait_for_headline("All 2 collections are watched");
    let browser = &mut visit.browser;
    browser.wait_for(&format!("{first} === 'orders'"));
    browser.wait_for(&format!("({}).hidden", part("users", ".trouble")));
    assert_eq!(browser.value("document.title"), "silt");
    visit.assert_is_clean(&[]);
    visit.silt.drain();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_mongodb_of_the_lake_and_of_silt_is_told_and_so_is_its_end() {
    let direct = variable("SILT_TEST_MONGODB_URI");
    let options = mongodb::options::ClientOptions::parse(&direct)
        .await
        .unwrap();
    let server = tokio::net::lookup_host(options.hosts[0].to_string()).await;
    let proxy = TcpProxy::before(server.unwrap().next().unwrap()).await;
    let uri = format!(
        "mongodb://{}/?directConnection=true&{QUICK}",
        proxy.address()
    );
    let mut scene = scene("users")
        .await
        .with("MONGODB_URI", &uri)
        .with("MONGODB_TIMEOUT_SECONDS", "2")
        .with("BATCH_SIZE", "5");
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("The collection is watched");

    proxy.refuse();
    proxy.strike(Fault::Cut);
    visit.wait_for_headline("The collection is reconnecting");
    let trouble = text("users", ".trouble");
    let browser = &mut visit.browser;
    browser.wait_for(&format!("{trouble}.includes('MongoDB: ')"));
    proxy.mend();
    visit.wait_for_headline("The collection is watched");

    let in_the_way = scene.lake().join("users");
    fs::write(&in_the_way, "a file where the folder should be").unwrap();
    insert(&scene.users(), 0..5).await;
    visit.wait_for_headline("The collection is failing");
    let browser = &mut visit.browser;
    browser.wait_for(&format!("{trouble}.includes('lake: ')"));
    browser.wait_for(&format!("{} === '5'", text("users", ".buffered")));
    fs::remove_file(&in_the_way).unwrap();
    visit.wait_for_headline("The collection is watched");
    let browser = &mut visit.browser;
    browser.wait_for(&format!("{} === '5'", text("users", ".archived")));

    visit.silt.kill();
    let unanswered = format!(
        "{}.startsWith('silt has not answered since ')",
        super::HEADLINE
    );
    browser.wait_for(&unanswered);
    assert_eq!(
        browser.value("document.body.classList.contains('old')"),
        true
    );
    let known = browser.value("document.getElementById('since').textContent");
    assert!(
        known.as_str().unwrap().starts_with("Last answer "),
        "{known}"
    );
    assert_eq!(
        browser.value(&text("users", ".archived")),
        "5",
        "the last figures stay"
    );

    scene.set("HTTP_ADDR", &visit.address);
    visit.silt = Silt::start(&scene.settings);
    visit.wait_for_headline("The collection is watched");
    assert_eq!(
        visit
            .browser
            .value("document.body.classList.contains('old')"),
        false
    );
    visit.assert_is_clean(&["status"]);
    visit.silt.drain();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_shows_how_far_it_is_and_a_shared_stream_what_it_carries() {
    let mut scene = scene("*")
        .await
        .with("SNAPSHOT", "initial")
        .with("SNAPSHOT_RATE_LIMIT", "64KiB")
        .with("BATCH_BYTES", "64KiB");
    for name in ["users", "orders"] {
        let documents = (0..6_000).map(|number| doc! { "_id": number, "text": "x".repeat(1_000) });
        let collection = scene.database.collection(name);
        collection.insert_many(documents).await.unwrap();
    }
    let mut visit = Visit::to(&scene.settings);
    let browser = &mut visit.browser;
    // Six megabytes each: it takes minutes.
    browser.wait_for(
        "[...document.querySelectorAll('#snapshot-list progress')].some(bar => bar.value > 0 && bar.value < 1)",
    );
    browser.wait_for(
        "document.getElementById('snapshot-list').textContent.includes('of 6,000 documents')",
    );
    visit.silt.kill();
    scene.set("HTTP_ADDR", &visit.address);
    scene.set("SNAPSHOT_RATE_LIMIT", "100MiB");
    visit.silt = Silt::start(&scene.settings);
    browser.wait_for("document.getElementById('snapshots-done').textContent === '2 of 2 done'");
    browser.wait_for("document.querySelectorAll('#snapshot-list li').length === 0");
    insert(&scene.users(), 0..1).await;
    visit.silt.signal(Signal::USR1);
    let carries = text("*", ".carries");
    let has_one = format!("{carries}.includes('1 collection with changes so far')");
    visit.browser.wait_for(&has_one);
    visit.assert_is_clean(&["status"]);
}
