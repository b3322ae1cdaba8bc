//! Change streams of a MongoDB deployment.

mod encoder;
mod error;
mod event;
mod events;
mod filter;
mod fragments;
mod large;
mod opening;
mod options;
mod parcel;
mod patience;
pub mod preflight;
#[cfg(test)]
mod properties;
mod reader;
mod similar_names;
mod token;
mod version;
mod whose;

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, Compressor, Tls, TlsOptions};

pub use error::SourceError;
pub(crate) use error::without_command;
pub(crate) use event::{RAW_EVENT, write_kept};
pub use options::StreamOptions;
pub use patience::Patience;
pub use reader::{Reader, Reading};
use silt_core::position::ClusterTime;
pub use version::ServerVersion;

/// Longest wait for a server that can take the request.
const SERVER_SELECTION_LIMIT_MS: u64 = 10_000;
/// Connections beside those of the streams: checkpoints, questions.
const SPARE_CONNECTIONS: u32 = 16;
/// How long the server waits for a change before it answers with none.
/// Every answer costs both sides, and a hundred idle collections ask for it all the time.
const AWAIT_LIMIT_MS: u64 = 2000;

/// The driver reads the files of TLS at each connection, and doesn't name the one that it can't read.
fn check_files(tls: &TlsOptions) -> Result<(), SourceError> {
    for (option, path) in [
        ("tlsCAFile", &tls.ca_file_path),
        ("tlsCertificateKeyFile", &tls.cert_key_file_path),
    ] {
        if let Some(path) = path
            && let Err(error) = std::fs::File::open(path)
        {
            let path = path.display();
            return Err(SourceError::BadUri {
                message: format!("{option}={path} can't be read: {error}"),
            });
        }
    }
    Ok(())
}

/// A deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    client: Client,
    request_limit: Duration,
}

/// What a deployment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The server's version.
    pub version: String,
    /// The replica set's name; `None` for a sharded cluster.
    pub replica_set: Option<String>,
}

/// What the oplog holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OplogWindow {
    /// The time of its first entry.
    pub oldest: ClusterTime,
    /// The time of its last entry.
    pub newest: ClusterTime,
}

impl OplogWindow {
    /// From the one to the other.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.newest.seconds.saturating_sub(self.oldest.seconds)
    }
}

impl Deployment {
    /// Prepares the connections of so many streams; no request may take longer than the limit. Replies are
    /// compressed as the connection string says, or else by `compressor`. Only a `mongodb+srv` address is
    /// looked up here.
    ///
    /// # Errors
    ///
    /// The connection string is wrong or its host can't be looked up.
    pub async fn connect(
        uri: &str,
        streams: usize,
        request_limit: Duration,
        compressor: Option<Compressor>,
    ) -> Result<Self, SourceError> {
        let mut options = ClientOptions::parse(uri).await?;
        if options.compressors.is_none() {
            options.compressors = compressor.map(|compressor| vec![compressor]);
        }
        options.app_name.get_or_insert_with(|| "silt".to_owned());
        options
            .server_selection_timeout
            .get_or_insert(Duration::from_millis(SERVER_SELECTION_LIMIT_MS));
        // Every stream holds a connection while it waits for changes.
        let needed = u32::try_from(streams)
            .unwrap_or(u32::MAX)
            .saturating_add(SPARE_CONNECTIONS);
        let pool = options.max_pool_size.unwrap_or(0).max(needed);
        if let Some(Tls::Enabled(tls)) = &options.tls {
            check_files(tls)?;
        }
        options.max_pool_size = Some(pool);
        Ok(Self {
            client: Client::with_options(options)?,
            request_limit,
        })
    }

    /// Longest wait for an answer.
    #[must_use]
    pub fn request_limit(&self) -> Duration {
        self.request_limit
    }

    /// The client, for the checkpoints.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks what the deployment is.
    ///
    /// # Errors
    ///
    /// It can't be reached, has no change streams, or is too old.
    pub async fn facts(&self) -> Result<Facts, SourceError> {
        let admin = self.client.database("admin");
        let build = admin.run_command(doc! { "buildInfo": 1 });
        let build = self.bounded(build).await?;
        let version = build.get_str("version").unwrap_or("unknown").to_owned();
        let number = ServerVersion::parse(&version);
        if number.is_some_and(|number| number < ServerVersion::LEAST) {
            return Err(SourceError::TooOld { found: version });
        }
        let hello = self.bounded(admin.run_command(doc! { "hello": 1 })).await?;
        let replica_set = hello.get_str("setName").ok().map(str::to_owned);
        if replica_set.is_none() && hello.get_str("msg").ok() != Some("isdbgrid") {
            return Err(SourceError::Standalone);
        }
        Ok(Facts {
            version,
            replica_set,
        })
    }

    /// The time of the last operation that the deployment knows of.
    ///
    /// # Errors
    ///
    /// It can't be reached.
    pub async fn cluster_time(&self) -> Result<ClusterTime, SourceError> {
        let admin = self.client.database("admin");
        let reply = self.bounded(admin.run_command(doc! { "ping": 1 })).await?;
        let time = reply
            .get_timestamp("operationTime")
            .map_err(|_| SourceError::Standalone)?;
        Ok(ClusterTime {
            seconds: time.time,
            increment: time.increment,
        })
    }

    /// Where the oplog begins; `None` if it is empty. It needs `find` on `local.oplog.rs`, and a sharded
    /// cluster shows no oplog.
    ///
    /// # Errors
    ///
    /// It can't be seen.
    async fn oldest_entry(&self) -> Result<Option<ClusterTime>, SourceError> {
        let oplog: mongodb::Collection<Document> =
            self.client.database("local").collection("oplog.rs");
        let first = oplog
            .find_one(doc! {})
            .sort(doc! { "$natural": 1 })
            .projection(doc! { "ts": 1 });
        let entry = self.bounded(first).await?;
        let time = entry.and_then(|entry| entry.get_timestamp("ts").ok());
        Ok(time.map(|time| ClusterTime {
            seconds: time.time,
            increment: time.increment,
        }))
    }

    /// Where the oplog begins, where that can be seen.
    pub async fn oldest_time(&self) -> Option<ClusterTime> {
        self.oldest_entry().await.ok().flatten()
    }

    /// What the oplog holds; `None` if that is nothing. See [`Deployment::oldest_time`].
    ///
    /// # Errors
    ///
    /// It can't be seen.
    pub async fn oplog(&self) -> Result<Option<OplogWindow>, SourceError> {
        let Some(oldest) = self.oldest_entry().await? else {
            return Ok(None);
        };
        let newest = self.cluster_time().await?;
        Ok(Some(OplogWindow { oldest, newest }))
    }

    /// What the oplog holds, where that can be seen.
    pub async fn oplog_window(&self) -> Option<OplogWindow> {
        self.oplog().await.ok().flatten()
    }

    async fn bounded<T>(
        &self,
        request: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, SourceError> {
        match tokio::time::timeout(self.request_limit, request.into_future()).await {
            Ok(result) => result.map_err(SourceError::from),
            Err(_) => Err(SourceError::Unanswered {
                limit_seconds: self.request_limit.as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_missing_file_of_tls_is_named_with_its_option() {
        for option in ["tlsCAFile", "tlsCertificateKeyFile"] {
            let uri = format!("mongodb://h/?tls=true&{option}=/nowhere/x.pem");
            let error = Deployment::connect(&uri, 1, Duration::from_secs(1), None).await;
            let text = error.unwrap_err().to_string();
            let start = format!("MONGODB_URI can't be used: {option}=/nowhere/x.pem can't be read");
            assert!(text.starts_with(&start), "{text}");
        }
    }
}
