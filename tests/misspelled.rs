//! Names of collections that don't exist, next to ones that do.

use crate::harness::scene::{Scene, insert};
use crate::harness::silt::{Silt, run};

#[tokio::test]
async fn a_misspelled_name_is_pointed_out_by_check_and_at_the_start() {
    let scene = Scene::new().await;
    insert(&scene.users(), 0..1).await;
    std::fs::create_dir(scene.lake()).unwrap();
    let scene = scene.with("MONGODB_COLLECTIONS", "Users,new");
    let (status, output) = run(&scene.settings, &["check"]);
    assert_eq!(status, 0, "{output}");
    assert!(output.contains("doesn't exist, but users does"), "{output}");
    let mut silt = Silt::start(&scene.settings);
    let line = silt.wait_where("the warning", |line| line["level"] == "WARN");
    let message = line["message"].as_str().unwrap();
    let expected = format!(
        "MONGODB_COLLECTIONS: Users doesn't exist in {}, but users does",
        scene.database.name()
    );
    assert!(message.starts_with(&expected), "{message}");
    silt.drain();
}
