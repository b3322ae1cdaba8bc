//! The page on any screen, in light and dark, with many collections, and asking nobody but silt.

use crate::harness::browser::{DESKTOP, PHONE};

use super::{Visit, scene};

/// A long name without a place to break it.
const LONG: &str =
    "a_collection_with_a_name_that_is_longer_than_any_phone_is_wide_and_has_no_space_in_it";

#[tokio::test(flavor = "multi_thread")]
async fn every_screen_shows_it_whole_and_with_contrast() {
    let scene = scene(&format!("users,{LONG}"))
        .await
        .with("HTTP_TOKEN", "token-of-the-tests-own");
    let folder = scene.lake().join("users");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("2024-01-15-14.json"), "not of silt").unwrap();
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("1 of 2 collections is halted");
    let mut papers = Vec::new();
    for size in [DESKTOP, (720, 1000), PHONE] {
        for scheme in ["light", "dark"] {
            visit.browser.show_as(size, scheme);
            // Not `innerWidth`: a phone shows a page that is too wide smaller.
            let width = visit.browser.value("document.scrollingElement.scrollWidth");
            assert!(
                width.as_u64().unwrap() <= u64::from(size.0),
                "{size:?} {scheme}: {width} px wide"
            );
            let pale = visit.browser.value(PALE);
            assert_eq!(
                pale,
                serde_json::json!([]),
                "{size:?} {scheme}: contrast below 4.5"
            );
            papers.push(
                visit
                    .browser
                    .value("getComputedStyle(document.body).backgroundColor"),
            );
        }
    }
    assert_ne!(papers[0], papers[1], "dark is dark");
    visit.browser.value("document.body.classList.add('old')");
    for scheme in ["light", "dark"] {
        visit.browser.show_as(DESKTOP, scheme);
        assert_eq!(
            visit.browser.value(PALE),
            serde_json::json!([]),
            "old and {scheme}"
        );
    }
    visit.assert_is_clean(&[]);
    visit.silt.drain();
}

/// Texts whose contrast with what is behind them is below 4.5 (WCAG AA), with that contrast.
const PALE: &str = "(() => {
    const colour = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
    const light = colour => colour.slice(0, 3).map(part => part / 255)
        .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
        .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
    const behind = element => {
        for (; element; element = element.parentElement) {
            const paper = colour(getComputedStyle(element).backgroundColor);
            if (paper.length === 3 || paper[3] === 1) return paper;
        }
    };
    const pale = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const element = texts.currentNode.parentElement;
        if (!texts.currentNode.data.trim() || !element.checkVisibility()) continue;
        const [less, more] = [light(colour(getComputedStyle(element).color)), light(behind(element))].sort((a, b) => a - b);
        const contrast = (more + 0.05) / (less + 0.05);
        if (contrast < 4.5) pale.push(texts.currentNode.data + ' ' + contrast);
    }
    return pale;
})()";

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_collections_are_filtered_and_only_the_seen_ones_are_drawn() {
    let scene = scene("users").await;
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("The collection is watched");
    let browser = &mut visit.browser;
    // The status of one collection, as five hundred would have it; the page asks no more by itself.
    browser.value(
        "(async () => {
            ask = () => {};
            clearTimeout(timer);
            const one = await (await fetch('/status')).json();
            window.many = seconds => {
                const status = structuredClone(one);
                status.now = new Date(Date.parse(one.now) + seconds * 1000).toISOString();
                status.collections = Array.from({ length: 500 }, (_, number) => ({
                    ...one.collections[0], collection: 'tenant_' + String(number).padStart(3, '0'),
                    changes_read: seconds * number,
                }));
                return status;
            };
            for (let second = 0; second < 5; second++) render(many(second));
        })()",
    );
    browser.wait_for("document.querySelectorAll('.row').length === 500");
    browser.wait_for("document.querySelector('.row .edge').getAttribute('d')?.includes('L')");
    let drawn = "[...document.querySelectorAll('.row .edge')].filter(edge => edge.getAttribute('d')).length";
    let drawn = browser.value(drawn).as_u64().unwrap();
    assert!(drawn < 50, "{drawn} charts are drawn, and few are seen");

    // What didn't change isn't touched, and one that halts is the only one that moves.
    let moved = "(async () => {
        const moved = [];
        const observer = new MutationObserver(changes => moved.push(...changes.flatMap(change => [...change.addedNodes])));
        observer.observe(document.getElementById('rows'), { childList: true });
        const status = many(5);
        render(status);
        status.collections[321].state = 'halted';
        render(status);
        await new Promise(done => setTimeout(done));
        return moved.map(row => row.querySelector('.collection').textContent);
    })()";
    assert_eq!(browser.value(moved), serde_json::json!(["tenant_321"]));
    let first = "document.querySelector('.row .collection').textContent";
    assert_eq!(browser.value(first), "tenant_321");

    let filter = |text: &str| {
        format!(
            "(() => {{
                const filter = document.getElementById('filter');
                filter.value = {text:?};
                filter.dispatchEvent(new Event('input'));
                return [...document.querySelectorAll('.row')].filter(row => row.checkVisibility())
                    .map(row => row.querySelector('.collection').textContent);
            }})()"
        )
    };
    let found = browser.value(&filter("TENANT_07"));
    assert_eq!(found.as_array().unwrap().len(), 10, "{found}");
    assert_eq!(
        browser.value(&filter("halted")),
        serde_json::json!(["tenant_321"])
    );
    assert_eq!(
        browser.value(&filter("no such name")),
        serde_json::json!([])
    );
    assert_eq!(
        browser.value("document.getElementById('empty').checkVisibility()"),
        true
    );
    visit.assert_is_clean(&[]);
    visit.silt.drain();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_lets_the_page_ask_nobody_but_silt_and_run_nothing_else() {
    let scene = scene("users").await;
    let mut visit = Visit::to(&scene.settings);
    visit.wait_for_headline("The collection is watched");
    visit.assert_is_clean(&[]);
    let violated = visit.browser.value(
        "(async () => {
            const violated = [];
            document.addEventListener('securitypolicyviolation', event => violated.push(event.effectiveDirective));
            const elsewhere = await fetch('http://127.0.0.1:9/').catch(() => 'refused');
            const element = document.createElement('div');
            element.setAttribute('onclick', 'window.wasRun = true');
            element.setAttribute('style', 'color: red');
            document.body.append(element, Object.assign(document.createElement('script'), { text: 'window.wasRun = true' }));
            element.click();
            const image = Object.assign(new Image(), { src: 'http://127.0.0.1:9/' });
            await new Promise(done => { image.onerror = done; });
            const audio = new Audio('http://127.0.0.1:9/');
            await new Promise(done => { audio.onerror = done; });
            return { elsewhere, wasRun: window.wasRun ?? false, violated: [...new Set(violated)].sort() };
        })()",
    );
    let expected = serde_json::json!({
        "elsewhere": "refused",
        "wasRun": false,
        "violated": [
            "connect-src", "img-src", "media-src", "script-src-attr", "script-src-elem", "style-src-attr",
        ],
    });
    assert_eq!(violated, expected);
    assert!(
        !visit.browser.events("Audits.issueAdded").is_empty(),
        "what is_clean looks at is seen"
    );
    visit.silt.drain();
}
