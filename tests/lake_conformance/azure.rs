//! What is special to a lake in Azure.

use super::*;
use crate::harness::servers::azurite;
use crate::harness::unique;

#[tokio::test]
async fn a_file_that_another_tool_copied_is_never_appended_to() {
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
    let Tail { file, version, .. } = lake::tail::load(&lake, &origin).await.unwrap().unwrap();
    assert_eq!(file.last, commit.file.last);
    assert_eq!(file.commits, u32::MAX, "it takes no more commits");
    // Its content is in no block, so a block list would drop it.
    let next = super::commit(&origin, Some(&file), file.name, 3..6);
    let appended = lake.append(&path, Some(base(&file, &version)), &next.addition);
    let error = appended.await.unwrap_err();
    assert!(matches!(error, LakeError::Blocked { .. }), "{error}");
    assert_eq!(
        numbers(&whole(&lake, &path).await, file.name.format),
        [0, 1, 2]
    );
}

#[tokio::test]
async fn a_wrong_key_is_reported_as_a_rejected_credential() {
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
        page_files: silt::lake::azure::PAGE_FILES_MAX,
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
