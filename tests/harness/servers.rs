//! The servers of the test run.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use mongodb::Client;
use mongodb::options::{ClientOptions, WriteConcern};
use silt::lake::Lake;
use silt::lake::azure::{Access, AzureConfig, AzureLake};
use silt::lake::local::LocalLake;
use silt::source::{Deployment, ServerVersion};

use super::{unique, variable};

/// The address of the mongod that the tests share.
pub async fn mongod_address() -> SocketAddr {
    let options = ClientOptions::parse(variable("SILT_TEST_MONGODB_URI")).await;
    options.unwrap().hosts[0].to_string().parse().unwrap()
}

/// A small page, so that listings of few files take several.
const PAGE_FILES: NonZeroU16 = NonZeroU16::new(7).unwrap();

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
        [
            Self::Local(folder),
            Self::Azurite {
                filesystem: unique("lake"),
            },
        ]
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
    azurite_at(&variable("SILT_TEST_AZURITE"), filesystem, prefix)
}

pub fn azurite_at(endpoint: &str, filesystem: &str, prefix: &str) -> AzureLake {
    azurite_within(60_000, endpoint, filesystem, prefix)
}

/// The same, with less patience.
pub fn azurite_within(
    request_limit_ms: u64,
    endpoint: &str,
    filesystem: &str,
    prefix: &str,
) -> AzureLake {
    AzureLake::new(&AzureConfig {
        endpoint: endpoint.parse().unwrap(),
        account: AZURITE_ACCOUNT.to_owned(),
        filesystem: filesystem.to_owned(),
        prefix: prefix.to_owned(),
        access: Access::SharedKey(AZURITE_KEY.into()),
        request_limit_ms,
        page_files: PAGE_FILES,
    })
    .unwrap()
}

/// The replica set of the test run.
pub async fn deployment() -> Deployment {
    Deployment::connect(
        &variable("SILT_TEST_MONGODB_URI"),
        4,
        super::silt::WAIT_LIMIT,
        None,
    )
    .await
    .unwrap()
}

/// A client whose writes silt sees from then on: it reads what a majority has, for which 4.4 doesn't wait by
/// itself.
pub async fn client(uri: &str) -> Client {
    let mut options = ClientOptions::parse(uri).await.unwrap();
    options.write_concern = Some(WriteConcern::majority());
    Client::with_options(options).unwrap()
}

/// The version of a client's servers.
pub async fn version(client: &Client) -> ServerVersion {
    let admin = client.database("admin");
    let build = admin
        .run_command(bson::doc! { "buildInfo": 1 })
        .await
        .unwrap();
    ServerVersion::parse(build.get_str("version").unwrap()).unwrap()
}

/// The program that starts servers of this kind, and ends them when its standard input closes.
pub fn launcher(kind: &str) -> Command {
    let mut command = Command::new(variable("SILT_TEST_PYTHON"));
    command
        .arg(variable("SILT_TEST_SERVERS"))
        .arg(kind)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

/// A server of a test's own, which can be stopped and started again with its data.
pub struct Server {
    stopped: Option<Stopped>,
    child: std::process::Child,
}

/// A server that is stopped; its port and its data are kept.
pub struct Stopped {
    kind: &'static str,
    options: &'static [&'static str],
    data: tempfile::TempDir,
    facts: serde_json::Value,
}

impl Server {
    pub fn mongod() -> Self {
        Self::mongod_with(&[])
    }

    /// A mongod with these options of dev/servers.py.
    pub fn mongod_with(options: &'static [&'static str]) -> Self {
        Self::launch("mongod", options, tempfile::tempdir().unwrap(), None)
    }

    pub fn azurite() -> Self {
        Self::launch("azurite", &[], tempfile::tempdir().unwrap(), None)
    }

    fn launch(
        kind: &'static str,
        options: &'static [&'static str],
        data: tempfile::TempDir,
        port: Option<String>,
    ) -> Self {
        let flag = if kind == "mongod" {
            "--data"
        } else {
            "--location"
        };
        let mut command = launcher(kind);
        command.arg(flag).arg(data.path()).arg("--keep-data");
        command.args(options);
        if let Some(port) = port {
            command.arg("--port").arg(port);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let facts = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{kind}: {line}"));
        Self {
            stopped: Some(Stopped {
                kind,
                options,
                data,
                facts,
            }),
            child,
        }
    }

    fn fact(&self, name: &str) -> String {
        let facts = &self.stopped.as_ref().unwrap().facts;
        facts[name].as_str().unwrap().to_owned()
    }

    pub fn uri(&self) -> String {
        self.fact("uri")
    }

    pub fn address(&self) -> std::net::SocketAddr {
        let facts = &self.stopped.as_ref().unwrap().facts;
        format!("127.0.0.1:{}", facts["ports"][0]).parse().unwrap()
    }

    pub fn endpoint(&self) -> String {
        self.fact("endpoint")
    }

    /// Stops the server and waits for its end.
    pub fn stop(mut self) -> Stopped {
        self.end();
        self.stopped.take().unwrap()
    }

    fn end(&mut self) {
        drop(self.child.stdin.take());
        self.child.wait().unwrap();
    }
}

/// Servers for cases that run at once and need one each.
pub struct Pool(Mutex<Vec<Server>>);

impl Pool {
    pub fn mongods(count: usize) -> Self {
        Self(Mutex::new((0..count).map(|_| Server::mongod()).collect()))
    }

    /// One that nobody else has.
    pub fn take(&self) -> Server {
        let idle = self.0.lock().unwrap().pop();
        idle.expect("as many servers as cases at once")
    }

    pub fn give_back(&self, server: Server) {
        self.0.lock().unwrap().push(server);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stopped {
    pub fn start(self) -> Server {
        let port = self.facts["ports"][0].as_u64().unwrap().to_string();
        Server::launch(self.kind, self.options, self.data, Some(port))
    }
}
