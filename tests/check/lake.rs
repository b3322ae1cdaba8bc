//! What `silt check` says of the lake.

use silt::lake::Lake as _;

use super::{checks, expect, row};
use crate::harness::http::Kind;
use crate::harness::http_proxy::{Fault, HttpProxy, Which};
use crate::harness::scene::Scene;
use crate::harness::servers::{AZURITE_ACCOUNT, AZURITE_KEY, azurite_at};
use crate::harness::silt::{Signal, Silt, run, run_bound_by_modes};
use crate::harness::{python, unique};

/// A signature for a container of Azurite.
fn signature(filesystem: &str, rights: &str, hours: i64) -> String {
    const SCRIPT: &str = "import sys\n\
        from datetime import datetime, timedelta, timezone\n\
        from azure.storage.blob import generate_container_sas\n\
        account, key, container, rights, hours = sys.argv[1:]\n\
        end = datetime.now(timezone.utc) + timedelta(hours=int(hours))\n\
        begin = end - timedelta(days=30)\n\
        print(generate_container_sas(account, container, key, permission=rights, start=begin, expiry=end), end='')";
    let hours = hours.to_string();
    python(
        SCRIPT,
        &[AZURITE_ACCOUNT, AZURITE_KEY, filesystem, rights, &hours],
    )
}

#[tokio::test]
async fn trouble_with_azure_is_told_apart() {
    let scene = Scene::new().await.on_azurite();
    let output = checks(&scene, 0, &["as far as could be checked"]);
    expect(
        &row(&output, "file system"),
        &["warn", "is not there yet", "account key may"],
    );
    expect(&row(&output, "commits"), &["skip"]);
    let missing = azurite_at(&scene.direct_lake, scene.filesystem(), "")
        .list("")
        .await;
    assert!(missing.is_err(), "a check creates none");

    scene.azurite().prepare().await.unwrap();
    let container = scene.filesystem().to_owned();
    let sas = |rights, hours| {
        (
            "AZURE_STORAGE_SAS_TOKEN",
            signature(&container, rights, hours),
        )
    };
    let wrong_key = ("AZURE_STORAGE_ACCOUNT_KEY", "Y2FuYXJ5LTVlMWY=".to_owned());
    for ((name, value), status, what, words) in [
        (
            wrong_key,
            1,
            "credential",
            ["FAIL", "account key", "check AZURE_STORAGE_ACCOUNT_KEY"],
        ),
        (
            sas("rwdl", -1),
            1,
            "credential",
            ["FAIL", "which expired at", "its expiry"],
        ),
        (
            sas("l", 500),
            1,
            "commits",
            ["FAIL", "the first commit fails", "SAS permissions rwl"],
        ),
        (
            sas("wdl", 500),
            1,
            "commits",
            ["FAIL", "a stale write fails", "SAS permissions rwl"],
        ),
        (
            sas("rwdl", 500),
            0,
            "commits",
            ["ok", "refused a stale write", "removed"],
        ),
        (
            sas("rwdl", 5),
            0,
            "credential",
            ["warn", "valid until", "renew it"],
        ),
    ] {
        let mut settings = scene.settings.clone();
        settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
        settings.insert(name.into(), value.clone());
        let (code, output) = run(&settings, &["check"]);
        expect(&row(&output, what), &words);
        assert_eq!(code, status, "{output}");
        let secret = value
            .rsplit_once("sig=")
            .map_or(value.as_str(), |(_, rest)| rest);
        let secret = secret.split('&').next().unwrap();
        assert!(!output.contains(secret), "{output}");
    }
    assert_eq!(
        scene.azurite().list("_silt/check").await.unwrap(),
        [],
        "also what failed is cleared away"
    );
    let mut settings = scene.settings.clone();
    settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
    settings.insert(
        "AZURE_STORAGE_SAS_TOKEN".into(),
        signature(&container, "rwl", 500),
    );
    let (code, output) = run(&settings, &["check"]);
    assert_eq!(code, 0, "{output}");
    expect(&row(&output, "commits"), &["warn", "stays: _silt/check/"]);
    settings.insert(
        "AZURE_STORAGE_SAS_TOKEN".into(),
        signature(&container, "wl", 500),
    );
    let (code, output) = run(&settings, &["check"]);
    assert_eq!(code, 1, "{output}");
    expect(
        &row(&output, "commits"),
        &["FAIL", "a stale write fails", "stays: _silt/check/"],
    );
    settings.insert(
        "AZURE_STORAGE_SAS_TOKEN".into(),
        signature(&container, "rwl", 500),
    );

    settings.insert("AZURE_ADLS_FILESYSTEM".into(), unique("none"));
    let (code, output) = run(&settings, &["check"]);
    assert_eq!(code, 1, "{output}");

    let endpoint = "http://127.0.0.1:1/devstoreaccount1";
    let scene = scene.with("AZURE_STORAGE_ENDPOINT", endpoint);
    let output = checks(&scene, 1, &[]);
    expect(&row(&output, "TCP"), &["ok"]);
    let of_lake = output.split_once("Lake\n").unwrap().1;
    expect(&row(of_lake, "TCP"), &["FAIL", "Connection refused"]);
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let scene = Scene::new().await;
    let output = checks(&scene, 0, &[]);
    expect(&row(&output, "folder"), &["warn", "silt creates it"]);
    assert!(!scene.lake().exists(), "a check creates none");
    let set = |path: &std::path::Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(scene.folder.path(), 0o555);
    let (code, output) = run_bound_by_modes(&scene.settings, &["check"]);
    set(scene.folder.path(), 0o755);
    assert_eq!(code, 1, "{output}");
    expect(&row(&output, "folder"), &["FAIL", "may not create it in"]);
    std::fs::create_dir(scene.lake()).unwrap();
    set(&scene.lake(), 0o555);
    let (code, output) = run_bound_by_modes(&scene.settings, &["check"]);
    set(&scene.lake(), 0o755);
    assert_eq!(code, 1, "{output}");
    expect(&row(&output, "folder"), &["ok"]);
    expect(
        &row(&output, "commits"),
        &["FAIL", "Permission denied", "permission to write there"],
    );
}

#[tokio::test]
async fn a_probe_whose_outcome_is_unknown_is_cleared_away() {
    let scene = Scene::new().await.on_azurite();
    scene.azurite().prepare().await.unwrap();
    let proxy = HttpProxy::new(&scene.direct_lake);
    for nth in [1, 2] {
        proxy.fail(Which::nth(Kind::Commit, nth), Fault::LoseReply);
        let (code, output) = run(&scene.settings_behind(&proxy), &["check"]);
        assert_eq!(code, 1, "{output}");
        let row = row(&output, "commits");
        expect(&row, &["FAIL", "commit", "fails"]);
        assert!(!row.contains("stays"), "{row}");
        assert_eq!(scene.azurite().list("_silt/check").await.unwrap(), []);
    }
}

#[tokio::test]
async fn trouble_with_entra_id_is_not_taken_for_an_answer_of_the_lake() {
    let scene = Scene::new().await;
    let mut settings = scene.settings.clone();
    settings.remove("LAKE_URL");
    let identity = "00000000-0000-0000-0000-000000000001";
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let reached = format!("https://{}/account", listener.local_addr().unwrap());
    for (name, value) in [
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1/"),
        ("AZURE_TENANT_ID", identity),
        ("AZURE_CLIENT_ID", identity),
        ("AZURE_CLIENT_SECRET", "canary-5e1f"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    for (endpoint, what, mark) in [
        ("https://nowhere.invalid/", "DNS", "FAIL"),
        ("https://127.0.0.1:1/account", "TCP", "FAIL"),
        (reached.as_str(), "TCP", "ok"),
    ] {
        settings.insert("AZURE_STORAGE_ENDPOINT".into(), endpoint.to_owned());
        let (code, output) = run(&settings, &["check"]);
        assert_eq!(code, 1, "{output}");
        let of_lake = output.split_once("Lake\n").unwrap().1;
        expect(&row(of_lake, what), &[mark]);
        expect(&row(of_lake, "TLS"), &["skip"]);
        expect(
            &row(of_lake, "credential"),
            &[
                "FAIL",
                "no token",
                "Connection refused",
                "the network to Entra ID",
            ],
        );
        assert!(!of_lake.contains("by a proxy"), "{of_lake}");
    }
    // It passes, so a start waits for it.
    let mut silt = Silt::start(&settings);
    let told = silt.wait_for("can't start yet, retrying");
    expect(told["error"].as_str().unwrap(), &["no token"]);
    silt.signal(Signal::TERM);
    silt.wait();
}

/// The HTTP client takes the proxy from the environment, so a user may not know of it.
#[tokio::test]
async fn a_proxy_that_refuses_the_connection_is_named() {
    // Nothing listens at port 1.
    let proxy = "http://user:secret-canary@127.0.0.1:1";
    let scene = Scene::new().await.on_azurite().with("HTTP_PROXY", proxy);
    let output = checks(
        &scene,
        1,
        &["requests go through the proxy http://127.0.0.1:1: check HTTP_PROXY and HTTPS_PROXY"],
    );
    assert!(!output.contains("secret-canary"), "{output}");
}
