//! `MONGODB_URI`: what is checked before the driver sees it, and what silt changes in it.
//!
//! The driver parses the string again and resolves its hosts. Its errors quote the string, which may hold a
//! password, so silt finds the usual mistakes first and never quotes any of it.

use silt_core::namespace::names::percent_decode;

use crate::settings::problems::Fault;

/// A connection string, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::settings) struct MongodbUri {
    /// The string for the driver, which may differ from the one that was set.
    pub(in crate::settings) for_driver: String,
    /// Scheme and hosts: safe to show.
    pub(in crate::settings) for_people: String,
    /// Whether it holds a password, or a token of another kind.
    pub(in crate::settings) has_password: bool,
    /// The database in its path.
    pub(in crate::settings) database: Option<String>,
    /// Options that are ignored, each with the reason.
    pub(in crate::settings) ignored: Vec<(&'static str, &'static str)>,
}

/// Characters that mean something in a connection string and must be escaped in user and password.
const RESERVED: [char; 7] = [':', '/', '?', '#', '[', ']', '@'];

/// Longest application name that a server accepts.
/// <https://www.mongodb.com/docs/manual/reference/connection-string-options/#mongodb-urioption-urioption.appName>
const APP_NAME_MAX_BYTES: usize = 128;

/// Options that would change what silt's own operations mean, or that the driver doesn't have. silt takes
/// them out: their names, and why.
pub(in crate::settings) const IGNORED: [(&str, &str); 7] = [
    (
        "readConcernLevel",
        "change streams and snapshots are always read with majority",
    ),
    ("w", "checkpoints are always written with w=majority"),
    ("journal", "checkpoints are always written with w=majority"),
    ("wTimeoutMS", "MONGODB_TIMEOUT_SECONDS limits every request"),
    (
        "socketTimeoutMS",
        "MONGODB_TIMEOUT_SECONDS limits every request",
    ),
    ("timeoutMS", "MONGODB_TIMEOUT_SECONDS limits every request"),
    (
        "uuidRepresentation",
        "UUIDs are archived byte for byte, with their subtype",
    ),
];

impl MongodbUri {
    /// Splits the string as the driver does. No message quotes any of it.
    pub(in crate::settings) fn parse(text: &str) -> Result<Self, Fault> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Fault::new("there is white space in it"));
        }
        let schemes = ["mongodb", "mongodb+srv"];
        let (scheme, after_scheme) = text
            .split_once("://")
            .filter(|(found, _)| schemes.contains(found))
            .ok_or_else(|| Fault::new("it doesn't begin with mongodb:// or mongodb+srv://"))?;
        let (address, options) = match after_scheme.split_once('?') {
            Some((address, options)) => (address, options),
            None => (after_scheme, ""),
        };
        let (user, location) = match address.rsplit_once('@') {
            Some((user, location)) => (Some(user), location),
            None => (None, address),
        };
        let (hosts, path) = match location.split_once('/') {
            Some((hosts, path)) => (hosts, Some(path)),
            None => (location, None),
        };
        let mut options = Options::parse(options)?;
        let user_has_password = user.map_or(Ok(false), check_user)?;
        check_hosts(scheme, hosts)?;
        let has_password = user_has_password || options.hold_secret();
        let ignored = options.remove_ignored();
        options.check_mechanism()?;
        options.check_app_name()?;
        let user = user
            .map(|user| options.escape_for_scram(user))
            .transpose()?;
        let user = user.map_or(String::new(), |user| format!("{user}@"));
        let database = path.and_then(percent_decode);
        let options = options.text();
        let path = match path {
            Some(path) => format!("/{path}"),
            None if options.is_empty() => String::new(),
            None => "/".to_owned(),
        };
        Ok(Self {
            for_driver: format!("{scheme}://{user}{hosts}{path}{options}"),
            for_people: format!("{scheme}://{hosts}"),
            has_password,
            database: database.filter(|database| !database.is_empty()),
            ignored,
        })
    }
}

/// The options after the `?`: names and values as they are written.
struct Options<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Options<'a> {
    fn parse(text: &'a str) -> Result<Self, Fault> {
        // An `@` here most likely belongs to a password with an unescaped `?`, whose beginning would
        // then be taken for a host and shown.
        if text.contains('@') {
            return Err(unescaped());
        }
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs: Option<Vec<_>> = pairs.map(|pair| pair.split_once('=')).collect();
        let missing = || Fault::new("one of the options after its `?` has no `=`");
        pairs.map(Self).ok_or_else(missing)
    }

    fn text(&self) -> String {
        let pairs = self.0.iter().map(|(name, value)| format!("{name}={value}"));
        let text = pairs.collect::<Vec<_>>().join("&");
        if text.is_empty() {
            text
        } else {
            format!("?{text}")
        }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let mut pairs = self.0.iter();
        let (_, value) = pairs.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    fn remove(&mut self, name: &str) -> Option<&'a str> {
        let value = self.get(name)?;
        self.0
            .retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        Some(value)
    }

    /// Passwords of key files and proxies, and session tokens.
    fn hold_secret(&self) -> bool {
        self.0.iter().any(|(name, value)| {
            let both = format!("{name}={value}").to_ascii_lowercase();
            both.contains("password") || both.contains("token")
        })
    }

    /// Removes what silt overrides; `majority` is what silt does anyway and needs no mention.
    fn remove_ignored(&mut self) -> Vec<(&'static str, &'static str)> {
        let mut ignored = Vec::new();
        for (name, why) in IGNORED {
            match self.remove(name) {
                None | Some("majority") => {}
                Some(_) => ignored.push((name, why)),
            }
        }
        ignored
    }

    fn check_mechanism(&mut self) -> Result<(), Fault> {
        const NAME: &str = "authMechanism";
        match self.get(NAME) {
            // The word of other drivers for what this one does without the option.
            Some("DEFAULT") => {
                self.remove(NAME);
                Ok(())
            }
            None | Some("SCRAM-SHA-1" | "SCRAM-SHA-256" | "MONGODB-X509" | "PLAIN") => Ok(()),
            Some(_) => Err(Fault::with_fix(
                "silt can't log in by the authMechanism in it",
                "use SCRAM-SHA-256, SCRAM-SHA-1, MONGODB-X509, PLAIN or DEFAULT",
            )),
        }
    }

    fn check_app_name(&self) -> Result<(), Fault> {
        let name = self.get("appName").unwrap_or_default();
        let len = percent_decode(name).map_or(name.len(), |name| name.len());
        if len > APP_NAME_MAX_BYTES {
            let what = format!("its appName is longer than {APP_NAME_MAX_BYTES} bytes");
            return Err(Fault::with_fix(what, "shorten the appName"));
        }
        Ok(())
    }

    /// Escapes `,` and `=` in the user's name, which SCRAM requires (RFC 5802, section 5.1) and the driver
    /// (3.9.1) forgets. Only SCRAM-SHA-256 leaves the name out of the password's hash, so it is chosen.
    fn escape_for_scram(&mut self, user: &str) -> Result<String, Fault> {
        let (name, password) = match user.split_once(':') {
            Some((name, password)) => (name, Some(password)),
            None => (user, None),
        };
        let mechanism = self.get("authMechanism");
        let is_scram = matches!(mechanism, None | Some("SCRAM-SHA-1" | "SCRAM-SHA-256"));
        let upper = name.to_ascii_uppercase();
        let needs_escape =
            name.contains([',', '=']) || upper.contains("%2C") || upper.contains("%3D");
        if !is_scram || !needs_escape {
            return Ok(user.to_owned());
        }
        if mechanism == Some("SCRAM-SHA-1") {
            return Err(Fault::with_fix(
                "a user name with a comma or an equals sign can't log in by SCRAM-SHA-1",
                "use authMechanism=SCRAM-SHA-256, or a user with another name",
            ));
        }
        if mechanism.is_none() {
            self.0.push(("authMechanism", "SCRAM-SHA-256"));
        }
        // `=` first: the escapes bring their own. `%3D` is `=` to the driver.
        let name = name.replace("%3d", "=").replace("%3D", "=");
        let name = name.replace("%2c", ",").replace("%2C", ",");
        let name = name.replace('=', "%3D3D").replace(',', "%3D2C");
        Ok(match password {
            Some(password) => format!("{name}:{password}"),
            None => name,
        })
    }
}

/// Whether there is a password.
fn check_user(user: &str) -> Result<bool, Fault> {
    let (name, password) = match user.split_once(':') {
        Some((name, password)) => (name, Some(password)),
        None => (user, None),
    };
    for part in [name, password.unwrap_or("")] {
        let escapes = part.split('%').skip(1);
        let mut bad_escapes =
            escapes.filter(|after| !is_hex_pair(after.as_bytes().get(..2).unwrap_or(&[])));
        if part.contains(RESERVED) || bad_escapes.next().is_some() {
            return Err(unescaped());
        }
    }
    Ok(password.is_some())
}

fn is_hex_pair(bytes: &[u8]) -> bool {
    bytes.len() == 2 && bytes.iter().all(u8::is_ascii_hexdigit)
}

fn unescaped() -> Fault {
    Fault::with_fix(
        "its user, password or options hold a character that must be escaped",
        "write % as %25, : as %3A, / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D, @ as %40",
    )
}

fn check_hosts(scheme: &str, hosts: &str) -> Result<(), Fault> {
    let hosts: Vec<&str> = hosts.split(',').collect();
    if hosts.iter().any(|host| !is_host(host)) {
        let what = "one of its hosts is missing or not of the form host:port";
        return Err(Fault::new(what));
    }
    let is_one_name = hosts.len() == 1 && hosts.iter().all(|host| !host.contains(':'));
    if scheme == "mongodb+srv" && !is_one_name {
        return Err(Fault::new("mongodb+srv:// takes one host without a port"));
    }
    Ok(())
}

/// `host`, `host:port`, `[IPv6]:port`, or the escaped path of a Unix socket.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, rest)) => (host, rest.strip_prefix(':').or(Some(""))),
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let host_chars = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '%' | ':');
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    };
    !host.is_empty() && host.chars().all(host_chars) && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_shown_and_passwords_are_noticed() {
        for (text, for_people, has_password) in [
            ("mongodb://localhost", "mongodb://localhost", false),
            (
                "mongodb://h:27017/?replicaSet=rs0",
                "mongodb://h:27017",
                false,
            ),
            ("mongodb://h?replicaSet=rs0", "mongodb://h", false),
            ("mongodb://a:1,b:2,c/db?x=y&", "mongodb://a:1,b:2,c", false),
            (
                "mongodb://[::1]:27017,[fe80::1]",
                "mongodb://[::1]:27017,[fe80::1]",
                false,
            ),
            (
                "mongodb://%2Ftmp%2Fmongodb-27017.sock",
                "mongodb://%2Ftmp%2Fmongodb-27017.sock",
                false,
            ),
            (
                "mongodb+srv://c.mongodb.net/db",
                "mongodb+srv://c.mongodb.net",
                false,
            ),
            ("mongodb://user@h", "mongodb://h", false),
            ("mongodb://user:pa%40ss@h", "mongodb://h", true),
            (
                "mongodb+srv://u:p@c.x.net/?retryWrites=true&w=majority",
                "mongodb+srv://c.x.net",
                true,
            ),
            (
                "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=x",
                "mongodb://h",
                true,
            ),
            (
                "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:x",
                "mongodb://h",
                true,
            ),
        ] {
            let uri = MongodbUri::parse(text).unwrap();
            assert_eq!(
                (uri.for_people.as_str(), uri.has_password),
                (for_people, has_password)
            );
        }
    }

    #[test]
    fn options_that_silt_overrides_are_removed_and_named() {
        for (text, for_driver, ignored) in [
            ("mongodb://h", "mongodb://h", &[][..]),
            ("mongodb://h/db?a=b&&c=d", "mongodb://h/db?a=b&c=d", &[]),
            (
                "mongodb://h/?w=majority&readConcernLevel=majority&retryWrites=true",
                "mongodb://h/?retryWrites=true",
                &[],
            ),
            (
                "mongodb://h/?readconcernlevel=local&W=0&journal=true&replicaSet=r&wtimeoutMS=1",
                "mongodb://h/?replicaSet=r",
                &["readConcernLevel", "w", "journal", "wTimeoutMS"],
            ),
            (
                "mongodb://h/?timeoutMS=1&socketTimeoutMS=1&uuidRepresentation=standard",
                "mongodb://h/",
                &["socketTimeoutMS", "timeoutMS", "uuidRepresentation"],
            ),
            (
                "mongodb://h/?authMechanism=DEFAULT&retryReads=false&readPreference=secondary&readPreferenceTags=a:b&readPreferenceTags=",
                "mongodb://h/?retryReads=false&readPreference=secondary&readPreferenceTags=a:b&readPreferenceTags=",
                &[],
            ),
        ] {
            let uri = MongodbUri::parse(text).unwrap();
            let names: Vec<_> = uri.ignored.iter().map(|(name, _)| *name).collect();
            assert_eq!((uri.for_driver.as_str(), &names[..]), (for_driver, ignored));
        }
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        let long = "x".repeat(129);
        for (options, what) in [
            ("authMechanism=MONGODB-AWS", "can't log in by"),
            ("authMechanism=GSSAPI", "can't log in by"),
            (&format!("appName={long}"), "longer than 128 bytes"),
        ] {
            let fault = MongodbUri::parse(&format!("mongodb://h/?{options}")).unwrap_err();
            assert!(fault.what.contains(what), "{fault:?}");
        }
        let longest = format!("mongodb://h/?appName={}", &long[1..]);
        assert!(MongodbUri::parse(&longest).is_ok());
    }

    #[test]
    fn commas_and_equals_signs_in_a_user_name_are_escaped_for_scram() {
        for (text, for_driver) in [
            (
                "mongodb://a%2Cb%3dc,d=e:p,=w@h/",
                "mongodb://a%3D2Cb%3D3Dc%3D2Cd%3D3De:p,=w@h/?authMechanism=SCRAM-SHA-256",
            ),
            (
                "mongodb://a,b:p@h/?authMechanism=SCRAM-SHA-256",
                "mongodb://a%3D2Cb:p@h/?authMechanism=SCRAM-SHA-256",
            ),
            (
                "mongodb://CN=a,O=b@h/?authMechanism=MONGODB-X509",
                "mongodb://CN=a,O=b@h/?authMechanism=MONGODB-X509",
            ),
            ("mongodb://a%20b:p@h/", "mongodb://a%20b:p@h/"),
        ] {
            assert_eq!(MongodbUri::parse(text).unwrap().for_driver, for_driver);
        }
        let sha1 = "mongodb://a,b:p@h/?authMechanism=SCRAM-SHA-1";
        assert!(
            MongodbUri::parse(sha1)
                .unwrap_err()
                .what
                .contains("SCRAM-SHA-1")
        );
    }

    #[test]
    fn the_database_of_the_path_is_known() {
        for (text, database) in [
            ("mongodb://h", None),
            ("mongodb://h/?a=b", None),
            ("mongodb://h/shop?a=b", Some("shop")),
            ("mongodb+srv://u:p@h/sh%C3%B6p", Some("shöp")),
        ] {
            assert_eq!(
                MongodbUri::parse(text).unwrap().database.as_deref(),
                database
            );
        }
    }

    #[test]
    fn bad_ones_are_refused_without_being_quoted() {
        for text in [
            "",
            "CANARY",
            "http://CANARY",
            "mongodb:CANARY",
            "MONGODB://CANARY",
            "mongodb://",
            "mongodb:///CANARY",
            "mongodb://?x=CANARY",
            "mongodb://u:CANARY@",
            "mongodb://u:CANARY@/db",
            "mongodb://u:CAN@ARY@h",
            "mongodb://u:CAN:ARY@h",
            "mongodb://u:CAN/ARY@h",
            "mongodb://CANARY:12?34@h",
            "mongodb://CANARY:12/34@h",
            "mongodb://u:CANARY%@h",
            "mongodb://u:CANARY%zz@h",
            "mongodb://CANARY:0",
            "mongodb://CANARY:port",
            "mongodb://CANARY:65536",
            "mongodb://CANARY:1,",
            "mongodb://,CANARY",
            "mongodb://CAN ARY",
            "mongodb://h/?CANARY",
            "mongodb+srv://CANARY:27017",
            "mongodb+srv://CANARY,b",
            "mongodb://CANARY\n",
            "mongodb://[::1CANARY",
            "mongodb://[::1]CANARY",
            "mongodb://CAN\"ARY",
        ] {
            let fault = MongodbUri::parse(text).unwrap_err();
            assert!(!format!("{fault:?}").contains("CAN"), "{text} {fault:?}");
        }
    }
}
