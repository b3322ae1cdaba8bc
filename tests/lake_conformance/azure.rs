//! What only a lake in Azure must do.

use super::*;
use crate::harness::servers::azurite;
use crate::harness::unique;

#[tokio::test]
async fn a_file_that_another_tool_copied_goes_on_in_the_next_part() {
    let lake = azurite(&unique("copied"), "");
    lake.prepare().await.unwrap();
    let origin = origin("users");
    let commit = commit(&origin, None, name("json"), 0..3);
    let path = lake::tail::path(&origin, name("json"));
    let bytes = [
        &commit.addition.head[..],
        &commit.addition.chunk,
        &commit.addition.foot,
    ]
    .concat();
    lake.put(&path, None, bytes).await.unwrap();
    let (file, _) = lake::tail::load(&lake, &origin).await.unwrap().unwrap();
    assert_eq!(file.last, commit.file.last);
    assert_eq!(file.commits, u32::MAX, "it takes no more commits");
}

#[tokio::test]
async fn a_wrong_key_is_a_refused_credential() {
    use silt::lake::azure::{Access, AzureConfig, AzureLake};
    let lake = AzureLake::new(&AzureConfig {
        endpoint: crate::harness::variable("SILT_TEST_AZURITE")
            .parse()
            .unwrap(),
        account: "devstoreaccount1".into(),
        filesystem: unique("wrong"),
        prefix: String::new(),
        access: Access::SharedKey("c2VjcmV0LWNhbmFyeQ==".into()),
        request_limit_ms: 60_000,
    })
    .unwrap();
    let error = lake.prepare().await.unwrap_err();
    assert!(
        matches!(error, LakeError::Unauthenticated { .. }),
        "{error}"
    );
    assert!(
        !format!("{error} {error:?}").contains("c2VjcmV0"),
        "{error:?}"
    );
}
