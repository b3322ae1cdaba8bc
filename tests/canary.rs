//! Secrets are planted in every setting that takes one, and looked for in everything that silt lets out.

use std::collections::BTreeMap;
use std::path::Path;

use bson::doc;
use serde_json::Value;

use crate::harness::asks::{address, ask, get, status_when};
use crate::harness::scene::{Scene, insert};
use crate::harness::servers::{AZURITE_ACCOUNT, AZURITE_KEY};
use crate::harness::silt::{Settings, Signal, Silt, run};
use crate::harness::{python, unique, variable};

const PASSWORD: &str = "canary-Pa55/w:rd@";
const TOKEN: &str = "canary-http-token-0123456789";
/// Of the changes, which are nobody's business either.
const CONTENT: &str = "canary-of-the-content";

/// Everything that was let out, by where.
#[derive(Default)]
struct Outside(BTreeMap<String, String>);

impl Outside {
    fn add(&mut self, place: &str, text: String) {
        assert!(!text.trim().is_empty(), "{place} says nothing at all");
        self.0.entry(place.to_owned()).or_default().push_str(&text);
    }

    /// None of these is there, as it is or escaped, or a good part of it.
    fn holds_none_of(&self, secrets: &[&str]) {
        for (place, text) in &self.0 {
            for secret in secrets {
                for form in forms(secret) {
                    assert!(!text.contains(&form), "{form} is in {place}:\n{text}");
                }
            }
            assert!(!text.to_lowercase().contains("canary"), "{place}:\n{text}");
        }
    }
}

/// How a secret may look.
fn forms(secret: &str) -> Vec<String> {
    let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let half = secret.len() / 2;
    let halves = [&secret[..half], &secret[half..]].map(str::to_owned);
    let mut forms = vec![secret.to_owned(), escaped];
    if half >= 10 {
        forms.extend(halves);
    }
    forms
}

/// A scene whose silt needs a password, and a lake in Azurite that needs a key.
async fn guarded_scene() -> Scene {
    let scene = Scene::new().await.on_azurite();
    // Its name may be seen, so that who reads a refusal knows whose it is.
    let user = unique("guarded");
    let roles =
        ["readWriteAnyDatabase", "clusterMonitor"].map(|role| doc! { "role": role, "db": "admin" });
    let create = doc! { "createUser": &user, "pwd": PASSWORD, "roles": roles.to_vec() };
    scene
        .client
        .database("admin")
        .run_command(create)
        .await
        .unwrap();
    let password: String = url::form_urlencoded::byte_serialize(PASSWORD.as_bytes()).collect();
    let with_user = format!("mongodb://{user}:{password}@");
    let uri = scene.direct_uri.replacen("mongodb://", &with_user, 1);
    let separator = if uri.contains('?') { "&" } else { "/?" };
    let uri = format!("{uri}{separator}authSource=admin");
    scene.with("MONGODB_URI", &uri)
}

/// What `ps` shows of a process.
fn command_line(silt: &Silt) -> String {
    let path = format!("/proc/{}/cmdline", silt.pid().as_raw_nonzero());
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}

fn log(silt: &Silt) -> String {
    silt.log.iter().map(Value::to_string).collect()
}

#[tokio::test]
async fn a_working_silt_lets_nothing_out() {
    let scene = guarded_scene().await;
    let scene = scene
        .with("HTTP_ADDR", "127.0.0.1:0")
        .with("HTTP_TOKEN", TOKEN)
        .with("LOG_LEVEL", "trace");
    let mut outside = Outside::default();
    let mut silt = Silt::watching(&scene.settings, &["users"]);
    let document = doc! { "text": CONTENT };
    scene.users().insert_one(document).await.unwrap();
    status_when(&mut silt, |status| {
        status["totals"]["buffered_changes"] == 1
    });
    let mut settings = scene.settings.clone();
    settings.insert("HTTP_ADDR".to_owned(), address(&mut silt));
    for command in ["flush", "healthcheck", "check", "ls"] {
        let (_, output) = run(&settings, &[command]);
        outside.add(command, output);
    }
    for target in ["/", "/status", "/metrics", "/readyz", "/livez", "/nowhere"] {
        let answer = get(&mut silt, target);
        outside.add(target, answer.head + &answer.body);
    }
    let wrong = format!("Authorization: Bearer {TOKEN}x");
    let answer = ask(&address(&mut silt), "POST", "/flush", &[&wrong]);
    assert_eq!(answer.status, 401);
    outside.add("a refusal", answer.head + &answer.body);
    outside.add("ps", command_line(&silt));
    silt.signal(Signal::TERM);
    let (code, silt) = silt.wait();
    assert_eq!(code, 0, "{}", silt.text());
    assert_eq!(
        scene.archived_on_azurite("users").await.len(),
        1,
        "it worked"
    );
    assert!(silt.log.iter().any(|line| line["level"] == "TRACE"));
    outside.add("the log", log(&silt));
    outside.holds_none_of(&[PASSWORD, TOKEN, AZURITE_KEY, CONTENT]);
}

/// Secrets that don't open anything, in every setting that takes one.
fn wrong_secrets() -> Vec<(&'static str, String)> {
    let key = "Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXJ5Y2FuYXI=";
    let sas = "sv=2021-12-02&ss=b&srt=co&sp=rwl&se=2020-01-01T00:00:00Z&sig=canarycanarycanary";
    vec![
        ("AZURE_STORAGE_ACCOUNT_KEY", key.to_owned()),
        ("AZURE_STORAGE_SAS_TOKEN", sas.to_owned()),
        (
            "AZURE_STORAGE_CONNECTION_STRING",
            format!("AccountName={AZURITE_ACCOUNT};AccountKey={key}"),
        ),
    ]
}

/// Runs silt to its end in both formats of the log, and the commands that tell more.
fn run_all(outside: &mut Outside, place: &str, settings: &Settings) {
    for (format, command) in [
        ("json", "run"),
        ("text", "run"),
        ("text", "check"),
        ("text", "ls"),
    ] {
        let mut settings = settings.clone();
        settings.insert("LOG_FORMAT".to_owned(), format.to_owned());
        settings.insert("LOG_LEVEL".to_owned(), "trace".to_owned());
        let (code, output) = run(&settings, &[command]);
        let works = command == "ls" && place.contains("MONGODB_URI");
        assert!(code != 0 || works, "{place} {command}: {output}");
        assert!(!output.contains("panicked"), "{place}: {output}");
        outside.add(&format!("{place}, {command} in {format}"), output);
    }
}

#[tokio::test]
async fn a_refused_secret_is_not_let_out_by_the_refusal() {
    let scene = guarded_scene().await;
    let folder = tempfile::tempdir().unwrap();
    let mut outside = Outside::default();
    let mut cases = Vec::new();
    for (name, secret) in wrong_secrets() {
        let mut settings = scene.settings.clone();
        settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
        cases.push((name, secret, settings));
    }
    let uri = scene.settings["MONGODB_URI"].replacen("canary-Pa55", "canary-wrong-Pa55", 1);
    cases.push(("MONGODB_URI", uri, scene.settings.clone()));
    for (name, secret, settings) in cases {
        let mut plain = settings.clone();
        plain.insert(name.to_owned(), secret.clone());
        run_all(&mut outside, name, &plain);
        let by_file = by_file(settings, name, &secret, folder.path());
        run_all(&mut outside, &format!("{name}_FILE"), &by_file);
    }
    let key = wrong_secrets()[0].1.clone();
    outside.holds_none_of(&[PASSWORD, AZURITE_KEY, &key]);
}

/// The same secret in a file.
fn by_file(mut settings: Settings, name: &str, secret: &str, folder: &Path) -> Settings {
    let path = folder.join(name);
    std::fs::write(&path, secret).unwrap();
    settings.remove(name);
    settings.insert(format!("{name}_FILE"), path.display().to_string());
    settings
}

#[tokio::test]
async fn a_token_that_is_refused_is_not_let_out() {
    let scene = guarded_scene().await;
    let folder = tempfile::tempdir().unwrap();
    let mut outside = Outside::default();
    for token in ["canary-short", "canary with white space in it"] {
        let mut plain = scene.settings.clone();
        plain.insert("HTTP_TOKEN".to_owned(), token.to_owned());
        let filed = by_file(scene.settings.clone(), "HTTP_TOKEN", token, folder.path());
        for (name, settings) in [("HTTP_TOKEN", plain), ("HTTP_TOKEN_FILE", filed)] {
            for command in ["run", "check", "flush"] {
                let (code, output) = run(&settings, &[command]);
                assert_ne!(code, 0, "{command}: {output}");
                assert!(output.contains("HTTP_TOKEN"), "{command}: {output}");
                outside.add(&format!("{name}, {command}"), output);
            }
        }
    }
    outside.holds_none_of(&[PASSWORD, AZURITE_KEY]);
}

#[tokio::test]
async fn a_token_in_a_file_is_taken_and_not_let_out() {
    let scene = guarded_scene().await.with("HTTP_ADDR", "127.0.0.1:0");
    let folder = tempfile::tempdir().unwrap();
    let settings = scene.settings.clone();
    let mut settings = by_file(settings, "HTTP_TOKEN", TOKEN, folder.path());
    settings.insert("LOG_LEVEL".to_owned(), "trace".to_owned());
    let mut outside = Outside::default();
    let mut silt = Silt::watching(&settings, &["users"]);
    settings.insert("HTTP_ADDR".to_owned(), address(&mut silt));
    let (code, output) = run(&settings, &["flush"]);
    assert_eq!(code, 0, "it opens: {output}");
    outside.add("flush", output);
    outside.add("ps", command_line(&silt));
    outside.add("the log", log(&silt.drain()));
    outside.holds_none_of(&[PASSWORD, TOKEN, AZURITE_KEY]);
}

#[tokio::test]
async fn a_login_that_fails_lets_no_client_secret_and_no_token_out() {
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "canary.federated.token").unwrap();
    let scene = Scene::new().await;
    let mut settings = scene.settings.clone();
    settings.remove("LAKE_URL");
    let tenant = "00000000-0000-0000-0000-000000000001";
    for (name, value) in [
        ("AZURE_STORAGE_ACCOUNT_NAME", "nosuchaccount"),
        (
            "AZURE_STORAGE_ENDPOINT",
            "https://127.0.0.1:1/nosuchaccount",
        ),
        ("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1/"),
        ("AZURE_TENANT_ID", tenant),
        ("AZURE_CLIENT_ID", tenant),
        ("LOG_LEVEL", "trace"),
    ] {
        settings.insert(name.to_owned(), value.to_owned());
    }
    let token_file = token_file.display().to_string();
    let mut outside = Outside::default();
    for (name, value) in [
        ("AZURE_CLIENT_SECRET", "canary-client-secret"),
        ("AZURE_FEDERATED_TOKEN_FILE", token_file.as_str()),
    ] {
        let mut plain = settings.clone();
        plain.insert(name.to_owned(), value.to_owned());
        let mut cases = vec![(name.to_owned(), plain)];
        if name == "AZURE_CLIENT_SECRET" {
            let filed = by_file(settings.clone(), name, value, folder.path());
            cases.push((format!("{name}_FILE"), filed));
        }
        for (place, settings) in cases {
            for command in ["check", "ls"] {
                let (code, output) = run(&settings, &[command]);
                assert_eq!(code, 1, "{place} {command}: {output}");
                assert!(output.contains("no token"), "{place} {command}: {output}");
                outside.add(&format!("{place}, {command}"), output);
            }
            let mut silt = Silt::start(&settings);
            silt.wait_for("can't start yet, retrying");
            silt.signal(Signal::TERM);
            outside.add(&format!("{place}, run"), log(&silt.wait().1));
        }
    }
    outside.holds_none_of(&["canary-client-secret", "canary.federated.token"]);
}

#[tokio::test]
async fn a_signature_that_works_is_not_let_out() {
    let scene = Scene::new().await.on_azurite().with("LOG_LEVEL", "trace");
    let sas = python(include_str!("readers/azure_sas.py"), &[]);
    let signature = sas.trim().rsplit_once("sig=").unwrap().1.to_owned();
    let mut settings = scene.settings.clone();
    settings.remove("AZURE_STORAGE_ACCOUNT_KEY");
    settings.insert("AZURE_STORAGE_SAS_TOKEN".to_owned(), sas.trim().to_owned());
    let mut silt = Silt::watching(&settings, &["users"]);
    insert(&scene.users(), 0..3).await;
    scene.flush_until(&mut silt, "users", 3).await;
    let mut outside = Outside::default();
    outside.add("ps", command_line(&silt));
    outside.add("the log", log(&silt.drain()));
    // The endpoint goes away: what the SDK says of it names addresses.
    settings.insert("AZURE_STORAGE_ENDPOINT".to_owned(), away());
    settings.insert("LAKE_TIMEOUT_SECONDS".to_owned(), "1".to_owned());
    let mut silt = Silt::start(&settings);
    silt.wait_for("can't start yet, retrying");
    silt.signal(Signal::TERM);
    outside.add("the log of an outage", log(&silt.wait().1));
    outside.holds_none_of(&[&signature]);
}

/// An address of Azurite's kind where nobody is.
fn away() -> String {
    let endpoint = variable("SILT_TEST_AZURITE");
    let (_, account) = endpoint.rsplit_once('/').unwrap();
    format!("http://127.0.0.1:1/{account}")
}

/// What a panic could print: the debug text of what holds secrets.
#[tokio::test]
async fn a_panic_could_print_no_secret() {
    let scene = guarded_scene().await;
    let scene = scene.with("HTTP_TOKEN", TOKEN);
    let surroundings = silt::settings::Surroundings {
        environment: &|name| scene.settings.get(name).map(Into::into),
        default_env_file: None,
        is_terminal: false,
        now_unix_ms: 1_767_225_600_000,
    };
    let loaded = silt::settings::load(["silt".into()], &surroundings).unwrap();
    let mut outside = Outside::default();
    outside.add("the settings", format!("{loaded:#?}"));
    let silt::settings::Command::Run(settings) = loaded.command else {
        panic!("run is the default");
    };
    let lake = silt::edges::open_lake(&settings.lake).unwrap();
    outside.add("the lake", format!("{lake:#?}"));
    let deployment = silt::edges::connect(&settings).await.unwrap();
    let checkpoints = silt::edges::checkpoints(&settings, &deployment, &lake);
    outside.add("the checkpoints", format!("{checkpoints:#?}"));
    outside.holds_none_of(&[PASSWORD, TOKEN, AZURITE_KEY]);
}
