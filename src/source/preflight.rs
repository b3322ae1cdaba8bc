//! Questions to a deployment before anything is read: what exists there, and what silt is allowed to do.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bson::{Bson, Document, doc};
use futures::TryStreamExt as _;
use mongodb::Client;
use mongodb::error::ErrorKind;
use mongodb::options::{ClientOptions, ServerAddress, Tls};

use super::deployment::check_files;
use super::stream::Request;
use super::{Deployment, SourceError, StreamOptions};
use silt_core::position::Position;

/// Where MongoDB listens if a host names no port.
const DEFAULT_PORT: u16 = 27017;

/// A host of the connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// A name or an address, and a port.
    Tcp(String, u16),
    /// A socket on this machine.
    Unix(PathBuf),
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// A parsed connection string, with a `mongodb+srv` address looked up.
#[derive(Clone, Debug)]
pub struct Address {
    options: ClientOptions,
}

/// What a server reports without a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// Whether it is a `mongos`.
    pub is_router: bool,
    /// The name of its replica set.
    pub replica_set: Option<String>,
    /// Whether its replica set hasn't been initiated.
    pub is_uninitiated: bool,
    /// The set's members, by the names that clients must be able to reach.
    pub members: Vec<String>,
    /// The primary.
    pub primary: Option<String>,
}

/// silt's user at the deployment, and its privileges.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Name and database of the user; `None` without a login.
    pub user: Option<(String, String)>,
    /// Names and databases of its roles, inherited ones included.
    roles: Vec<(String, String)>,
    privileges: Vec<Privilege>,
}

#[derive(Clone, Debug)]
struct Privilege {
    /// Empty for all databases.
    database: String,
    /// Empty for all collections except system collections.
    collection: String,
    actions: BTreeSet<String>,
}

/// Built-in roles, to which no privileges can be added.
const BUILT_IN_ROLES: [&str; 19] = [
    "read",
    "readWrite",
    "dbAdmin",
    "userAdmin",
    "dbOwner",
    "clusterAdmin",
    "clusterManager",
    "clusterMonitor",
    "hostManager",
    "enableSharding",
    "backup",
    "restore",
    "readAnyDatabase",
    "readWriteAnyDatabase",
    "userAdminAnyDatabase",
    "dbAdminAnyDatabase",
    "directShardOperations",
    "root",
    "__system",
];

/// A collection as `listCollections` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its name.
    pub name: String,
    /// `collection`, `view` or `timeseries`.
    pub kind: String,
    /// Whether it keeps pre- and post-images of changes; `None` if silt isn't allowed to see that.
    pub keeps_images: Option<bool>,
}

impl Address {
    /// Parses a connection string and looks up a `mongodb+srv` address.
    ///
    /// # Errors
    ///
    /// It is invalid, or the lookup fails.
    pub async fn parse(uri: &str) -> Result<Self, SourceError> {
        let options = ClientOptions::parse(uri).await?;
        if let Some(Tls::Enabled(tls)) = &options.tls {
            check_files(tls)?;
        }
        Ok(Self { options })
    }

    /// The hosts, from the string or its SRV record.
    #[must_use]
    pub fn hosts(&self) -> Vec<Host> {
        let host = |address: &ServerAddress| match address {
            ServerAddress::Tcp { host, port } => {
                Host::Tcp(host.clone(), port.unwrap_or(DEFAULT_PORT))
            }
            ServerAddress::Unix { path } => Host::Unix(path.clone()),
            other => Host::Tcp(other.to_string(), DEFAULT_PORT),
        };
        self.options.hosts.iter().map(host).collect()
    }

    /// Whether TLS is on.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        matches!(self.options.tls, Some(Tls::Enabled(_)))
    }

    /// Whether it has a user.
    #[must_use]
    pub fn has_credential(&self) -> bool {
        self.options.credential.is_some()
    }

    /// The replica set, if the string names one.
    #[must_use]
    pub fn replica_set(&self) -> Option<&str> {
        self.options.repl_set_name.as_deref()
    }

    /// Whether it connects to a single server (`directConnection`).
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.options.direct_connection == Some(true)
    }

    /// Asks one of the hosts for its role, without a login.
    ///
    /// # Errors
    ///
    /// The driver's message about why it doesn't answer.
    pub async fn greet(&self, host: &Host, limit: Duration) -> Result<Greeting, String> {
        let mut options = self.options.clone();
        options.hosts = vec![match host {
            Host::Tcp(host, port) => ServerAddress::Tcp {
                host: host.clone(),
                port: Some(*port),
            },
            Host::Unix(path) => ServerAddress::Unix { path: path.clone() },
        }];
        options.credential = None;
        options.repl_set_name = None;
        options.load_balanced = None;
        options.direct_connection = Some(true);
        options.server_selection_timeout = Some(limit);
        let client = Client::with_options(options).map_err(|error| driver_cause(&error))?;
        let admin = client.database("admin");
        let hello = admin.run_command(doc! { "hello": 1 });
        let answer = hello.await.map(|hello| greeting(&hello));
        client.shutdown().immediate(true).await;
        answer.map_err(|error| driver_cause(&error))
    }
}

fn of_names(names: Option<&[String]>) -> Document {
    names.map_or_else(Document::new, |names| doc! { "name": { "$in": names } })
}

fn greeting(hello: &Document) -> Greeting {
    let text = |name: &str| hello.get_str(name).ok().map(str::to_owned);
    let members = hello.get_array("hosts").map(Vec::as_slice);
    Greeting {
        is_router: text("msg").as_deref() == Some("isdbgrid"),
        replica_set: text("setName"),
        is_uninitiated: hello.get_bool("isreplicaset").unwrap_or(false),
        members: members
            .unwrap_or_default()
            .iter()
            .filter_map(|member| member.as_str().map(str::to_owned))
            .collect(),
        primary: text("primary"),
    }
}

/// The cause, out of everything that the driver says about the servers.
fn driver_cause(error: &mongodb::error::Error) -> String {
    let ErrorKind::ServerSelection { message, .. } = error.kind.as_ref() else {
        return error.kind.to_string();
    };
    let cause = message
        .split_once("Error: ")
        .map(|(_, cause)| cause.trim_start_matches("Kind: "))
        .map(|cause| cause.split(", labels:").next().unwrap_or(cause));
    cause.unwrap_or(message).to_owned()
}

impl Account {
    fn of(status: &Document) -> Self {
        let Ok(info) = status.get_document("authInfo") else {
            return Self::default();
        };
        let list = |name: &str| info.get_array(name).map_or(&[][..], Vec::as_slice);
        let named = |list: &[Bson], key: &str| -> Vec<(String, String)> {
            let documents = list.iter().filter_map(Bson::as_document);
            let named = documents.filter_map(|document| {
                let part = |name| document.get_str(name).ok().map(str::to_owned);
                Some((part(key)?, part("db")?))
            });
            named.collect()
        };
        let privileges = list("authenticatedUserPrivileges");
        Self {
            user: named(list("authenticatedUsers"), "user").into_iter().next(),
            roles: named(list("authenticatedUserRoles"), "role"),
            privileges: privileges
                .iter()
                .filter_map(Bson::as_document)
                .filter_map(Privilege::of)
                .collect(),
        }
    }

    /// Whether the user is allowed this action on a collection. Always true without a login.
    #[must_use]
    pub fn may(&self, action: &str, database: &str, collection: &str) -> bool {
        let allows = |privilege: &Privilege| {
            privilege.actions.contains(action) && privilege.covers(database, collection)
        };
        self.user.is_none() || self.privileges.iter().any(allows)
    }

    /// Whether the user has any privilege on a collection, so that the deployment lists it.
    #[must_use]
    pub fn knows(&self, database: &str, collection: &str) -> bool {
        let covers = |privilege: &Privilege| privilege.covers(database, collection);
        self.user.is_none() || self.privileges.iter().any(covers)
    }

    /// Name and database of the role to which privileges on this database can be added: the user's only role that
    /// isn't built in.
    #[must_use]
    pub fn own_role(&self, database: &str) -> Option<(&str, &str)> {
        let is_own = |(role, of): &&(String, String)| {
            !BUILT_IN_ROLES.contains(&role.as_str()) && (of == "admin" || of == database)
        };
        let mut own = self.roles.iter().filter(is_own);
        let (role, of) = own.next()?;
        own.next().is_none().then_some((role, of))
    }
}

impl Privilege {
    fn covers(&self, database: &str, collection: &str) -> bool {
        let is_ordinary = !collection.starts_with("system.");
        (self.database.is_empty() || self.database == database)
            && (self.collection.is_empty() && is_ordinary || self.collection == collection)
    }

    fn of(privilege: &Document) -> Option<Self> {
        let resource = privilege.get_document("resource").ok()?;
        let is_any = resource.get_bool("anyResource").unwrap_or(false);
        let part = |name| resource.get_str(name).ok().map(str::to_owned);
        let (database, collection) = match (part("db"), part("collection")) {
            (Some(database), Some(collection)) => (database, collection),
            _ if is_any => (String::new(), String::new()),
            // The cluster resource, or the buckets of a time series.
            _ => return None,
        };
        let actions = privilege.get_array("actions").ok()?;
        Some(Self {
            database,
            collection,
            actions: actions
                .iter()
                .filter_map(|action| action.as_str().map(str::to_owned))
                .collect(),
        })
    }
}

impl Deployment {
    /// Logs in, and asks for the user and its privileges.
    ///
    /// # Errors
    ///
    /// The deployment can't be reached, or refuses the login.
    pub async fn account(&self) -> Result<Account, SourceError> {
        let admin = self.client.database("admin");
        let question = doc! { "connectionStatus": 1, "showPrivileges": true };
        let status = self.bounded(admin.run_command(question)).await?;
        let account = Account::of(&status);
        if account.user.is_none() {
            // connectionStatus needs no login. This command fails if one is required.
            let question = doc! { "listCollections": 1, "nameOnly": true };
            self.bounded(admin.run_command(question)).await?;
        }
        Ok(account)
    }

    /// The databases that silt is allowed to see.
    ///
    /// # Errors
    ///
    /// The deployment can't be reached.
    pub async fn databases(&self) -> Result<Vec<String>, SourceError> {
        self.bounded(self.client.list_database_names()).await
    }

    /// The collections of a database, either all or those with these names.
    ///
    /// # Errors
    ///
    /// silt isn't allowed to list them, or the deployment can't be reached.
    pub async fn listings(
        &self,
        database: &str,
        names: Option<&[String]>,
    ) -> Result<Vec<Listing>, SourceError> {
        let database = self.client.database(database);
        let question = database.list_collections().filter(of_names(names));
        let found = async { question.await?.try_collect::<Vec<_>>().await };
        let found = self.bounded(Box::pin(found)).await?;
        let listing = |found: mongodb::results::CollectionSpecification| Listing {
            kind: bson::serialize_to_bson(&found.collection_type)
                .ok()
                .and_then(|kind| kind.as_str().map(str::to_owned))
                .unwrap_or_default(),
            keeps_images: Some(
                found
                    .options
                    .change_stream_pre_and_post_images
                    .is_some_and(|images| images.enabled),
            ),
            name: found.name,
        };
        Ok(found.into_iter().map(listing).collect())
    }

    /// The same without the privilege to list collections: those on which silt has any privilege, by name and kind
    /// only.
    ///
    /// # Errors
    ///
    /// silt has no privilege in the database, or the deployment can't be reached.
    pub async fn listings_of_own(
        &self,
        database: &str,
        names: Option<&[String]>,
    ) -> Result<Vec<Listing>, SourceError> {
        let database = self.client.database(database);
        let question = database.run_cursor_command(doc! {
            "listCollections": 1,
            "nameOnly": true,
            "authorizedCollections": true,
            "filter": of_names(names),
        });
        let found = async { question.await?.try_collect::<Vec<Document>>().await };
        let found = self.bounded(Box::pin(found)).await?;
        let listing = |found: Document| Listing {
            name: found.get_str("name").unwrap_or_default().to_owned(),
            kind: found.get_str("type").unwrap_or_default().to_owned(),
            keeps_images: None,
        };
        Ok(found.into_iter().map(listing).collect())
    }

    /// The feature compatibility version, if silt is allowed to see it.
    pub async fn feature_compatibility(&self) -> Option<String> {
        let admin = self.client.database("admin");
        let question = doc! { "getParameter": 1, "featureCompatibilityVersion": 1 };
        let answer = self.bounded(admin.run_command(question)).await.ok()?;
        let version = answer.get_document("featureCompatibilityVersion").ok()?;
        version.get_str("version").ok().map(str::to_owned)
    }

    /// Opens a stream as a feed does, and closes it.
    ///
    /// # Errors
    ///
    /// The errors that a feed would get.
    pub async fn try_stream(
        &self,
        options: &StreamOptions,
        position: &Position,
    ) -> Result<(), SourceError> {
        let opening = Request::new(options, position.clone()).open(self);
        match tokio::time::timeout(self.request_limit, opening).await {
            Ok(opened) => opened.map(drop).map_err(|error| options.explained(error)),
            Err(_) => Err(SourceError::Unanswered {
                limit_seconds: self.request_limit.as_secs(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn privileges_cover_what_they_name() {
        let account = Account::of(&doc! { "authInfo": {
            "authenticatedUsers": [{ "user": "silt", "db": "admin" }],
            "authenticatedUserRoles": [
                { "role": "read", "db": "mydb" }, { "role": "archiver", "db": "admin" },
                { "role": "helper", "db": "other" },
            ],
            "authenticatedUserPrivileges": [
                { "resource": { "db": "mydb", "collection": "" }, "actions": ["find"] },
                { "resource": { "db": "mydb", "collection": "users" }, "actions": ["changeStream"] },
                { "resource": { "db": "", "collection": "meta" }, "actions": ["insert"] },
                { "resource": { "cluster": true }, "actions": ["remove"] },
            ],
        } });
        assert_eq!(account.user, Some(("silt".to_owned(), "admin".to_owned())));
        for (action, database, collection, may) in [
            ("find", "mydb", "users", true),
            ("find", "mydb", "system.views", false),
            ("find", "other", "users", false),
            ("changeStream", "mydb", "users", true),
            ("changeStream", "mydb", "orders", false),
            ("insert", "any", "meta", true),
            ("remove", "mydb", "users", false),
        ] {
            assert_eq!(
                account.may(action, database, collection),
                may,
                "{action} {database}.{collection}"
            );
        }
        assert!(account.knows("mydb", "orders") && !account.knows("other", "users"));
        assert_eq!(account.own_role("mydb"), Some(("archiver", "admin")));
        assert_eq!(account.own_role("other"), None, "either could be meant");
        assert!(Account::default().may("find", "mydb", "users"), "no login");
        let any = Account::of(&doc! { "authInfo": {
            "authenticatedUsers": [{ "user": "root", "db": "admin" }],
            "authenticatedUserPrivileges": [
                { "resource": { "anyResource": true }, "actions": ["find"] },
            ],
        } });
        assert!(any.may("find", "mydb", "users") && !any.may("insert", "mydb", "users"));
    }

    #[test]
    fn a_greeting_shows_the_role_of_a_server() {
        let member = greeting(&doc! {
            "setName": "rs0", "primary": "a:1", "hosts": ["a:1", "b:2"],
        });
        assert_eq!(member.replica_set.as_deref(), Some("rs0"));
        assert_eq!(member.members, ["a:1", "b:2"]);
        assert!(!member.is_router && !member.is_uninitiated);
        assert!(greeting(&doc! { "msg": "isdbgrid" }).is_router);
        assert!(greeting(&doc! { "isreplicaset": true }).is_uninitiated);
    }
}
