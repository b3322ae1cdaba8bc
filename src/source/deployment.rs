//! A MongoDB deployment: connecting to it, and questions about it.

use std::time::Duration;

use bson::{Document, doc};
use mongodb::Client;
use mongodb::options::{ClientOptions, Compressor, Tls, TlsOptions};

use super::{ServerVersion, SourceError};
use silt_core::position::ClusterTime;

/// Longest wait for a suitable server, unless the connection string has a limit.
const SERVER_SELECTION_LIMIT_MS: u64 = 10_000;
/// Connections beside those of the streams, for checkpoints and questions.
const SPARE_CONNECTIONS: u32 = 16;

/// Checks that the TLS files can be opened. The driver only reads them when it connects, and its error doesn't name
/// the file.
pub(super) fn check_files(tls: &TlsOptions) -> Result<(), SourceError> {
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

/// A connection to a deployment.
#[derive(Clone, Debug)]
pub struct Deployment {
    pub(super) client: Client,
    pub(super) request_limit: Duration,
}

/// The kind and version of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The server's version.
    pub version: String,
    /// The replica set's name; `None` for a sharded cluster.
    pub replica_set: Option<String>,
}

/// The part of history that the oplog covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OplogWindow {
    /// The time of its first entry.
    pub oldest: ClusterTime,
    /// The time of its last entry.
    pub newest: ClusterTime,
}

impl OplogWindow {
    /// Its length.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.newest.seconds.saturating_sub(self.oldest.seconds)
    }
}

impl Deployment {
    /// Prepares a connection pool for this number of streams. `request_limit` limits every request. Replies are
    /// compressed as the connection string says, or otherwise by `compressor`. No server is contacted yet; only a
    /// `mongodb+srv` address is looked up.
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
        // Each stream occupies a connection while it waits for changes.
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

    /// The limit of every request.
    #[must_use]
    pub fn request_limit(&self) -> Duration {
        self.request_limit
    }

    /// The driver's client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks for the deployment's kind and version.
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

    /// The time of the deployment's last operation.
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

    /// The time of the oplog's first entry; `None` if it is empty. This needs `find` on `local.oplog.rs`, and
    /// doesn't work on a sharded cluster.
    ///
    /// # Errors
    ///
    /// The oplog can't be read.
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

    /// The time of the oplog's first entry, if it can be read.
    pub async fn oldest_time(&self) -> Option<ClusterTime> {
        self.oldest_entry().await.ok().flatten()
    }

    /// The oplog window; `None` if the oplog is empty.
    ///
    /// # Errors
    ///
    /// The oplog can't be read.
    pub async fn oplog(&self) -> Result<Option<OplogWindow>, SourceError> {
        let Some(oldest) = self.oldest_entry().await? else {
            return Ok(None);
        };
        let newest = self.cluster_time().await?;
        Ok(Some(OplogWindow { oldest, newest }))
    }

    /// The oplog window, if the oplog can be read.
    pub async fn oplog_window(&self) -> Option<OplogWindow> {
        self.oplog().await.ok().flatten()
    }

    pub(super) async fn bounded<T>(
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
    async fn a_missing_tls_file_is_named_with_its_option() {
        for option in ["tlsCAFile", "tlsCertificateKeyFile"] {
            let uri = format!("mongodb://h/?tls=true&{option}=/nowhere/x.pem");
            let error = Deployment::connect(&uri, 1, Duration::from_secs(1), None).await;
            let text = error.unwrap_err().to_string();
            let start = format!("MONGODB_URI can't be used: {option}=/nowhere/x.pem can't be read");
            assert!(text.starts_with(&start), "{text}");
        }
    }
}
