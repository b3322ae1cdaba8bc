//! The servers of the test run.

use std::sync::Arc;

use silt::lake::Lake;
use silt::lake::azure::{Access, AzureConfig, AzureLake};
use silt::lake::local::LocalLake;
use silt::source::Deployment;

use super::{unique, variable};

pub const AZURITE_ACCOUNT: &str = "devstoreaccount1";
/// The key of every Azurite, published in its documentation.
pub const AZURITE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A place for a lake, of which any number of clients can be opened.
pub enum Place {
    Local(tempfile::TempDir),
    Azurite { filesystem: String },
}

impl Place {
    /// One of each kind, empty. The file system is not created yet.
    pub fn all() -> [Self; 2] {
        let folder = tempfile::tempdir().unwrap();
        [Self::Local(folder), Self::Azurite { filesystem: unique("lake") }]
    }

    pub fn open(&self) -> Arc<dyn Lake> {
        match self {
            Self::Local(folder) => Arc::new(LocalLake::new(folder.path().join("lake"))),
            Self::Azurite { filesystem } => Arc::new(azurite(filesystem, "pre fix/deep")),
        }
    }

    pub async fn prepared(&self) -> Arc<dyn Lake> {
        let lake = self.open();
        lake.prepare().await.unwrap();
        lake
    }
}

pub fn azurite(filesystem: &str, prefix: &str) -> AzureLake {
    AzureLake::new(&AzureConfig {
        endpoint: variable("SILT_TEST_AZURITE").parse().unwrap(),
        account: AZURITE_ACCOUNT.to_owned(),
        filesystem: filesystem.to_owned(),
        prefix: prefix.to_owned(),
        access: Access::SharedKey(AZURITE_KEY.into()),
    })
    .unwrap()
}

/// The replica set of the test run.
pub async fn deployment() -> Deployment {
    Deployment::connect(&variable("SILT_TEST_MONGODB_URI"), 4).await.unwrap()
}
