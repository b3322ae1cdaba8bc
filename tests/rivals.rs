//! Two silts on the same collections: no file is harmed, nothing is lost or doubled.

use crate::harness::scene::{Scene, insert, tokens};
use crate::harness::silt::Silt;

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_at_once_lose_nothing_and_double_nothing() {
    for store in ["mongodb", "lake"] {
        let local = Scene::new().await.with("CHECKPOINT_STORE", store);
        let azurite = Scene::new()
            .await
            .on_azurite()
            .with("CHECKPOINT_STORE", store);
        for scene in [local, azurite] {
            let scene = scene.with("BATCH_SIZE", "3");
            let mut witness = scene.witness("users").await;
            let mut first = Silt::watching(&scene.settings, &["users"]);
            let mut second = Silt::watching(&scene.settings, &["users"]);
            insert(&scene.users(), 0..300).await;
            let expected = witness.tokens(300).await;
            scene.flush_until(&mut first, "users", 300).await;
            // Whoever was refused has stepped back by itself and says so.
            let steps_back = "steps back to the checkpoint and the lake's end";
            second.signal(crate::harness::silt::Signal::USR1);
            second.wait_for("flushing all collections on SIGUSR1");
            let (_, first) = {
                first.signal(crate::harness::silt::Signal::TERM);
                first.wait()
            };
            let (_, second) = {
                second.signal(crate::harness::silt::Signal::TERM);
                second.wait()
            };
            assert!(
                first.count(steps_back) + second.count(steps_back) > 0,
                "{}",
                second.text()
            );
            assert_eq!(
                tokens(&scene.archived_anywhere("users").await),
                expected,
                "{store}"
            );
        }
    }
}
