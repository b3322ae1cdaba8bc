//! The shape of a MongoDB connection string. The driver checks the rest, and names resolve there.

use crate::settings::problems::Fault;

/// What is known of a connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::settings) struct MongodbUri {
    /// Whether it holds a password, or a token of another kind.
    pub(in crate::settings) has_password: bool,
    /// Scheme and hosts: safe to show.
    pub(in crate::settings) for_people: String,
}

/// Characters that mean something in a connection string and must be escaped in user and password.
const RESERVED: [char; 7] = [':', '/', '?', '#', '[', ']', '@'];

impl MongodbUri {
    /// Takes the string apart as the driver does. No message quotes any of it.
    pub(in crate::settings) fn parse(text: &str) -> Result<Self, Fault> {
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(Fault::new("there is white space in it"));
        }
        let schemes = ["mongodb", "mongodb+srv"];
        let (scheme, after_scheme) = text
            .split_once("://")
            .filter(|(found, _)| schemes.contains(found))
            .ok_or_else(|| Fault::new("it doesn't begin with mongodb:// or mongodb+srv://"))?;
        let (address, options) = after_scheme.split_once('?').unwrap_or((after_scheme, ""));
        let (user, hosts) = match address.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, address),
        };
        let hosts = hosts.split('/').next().unwrap_or("");
        check_options(options)?;
        let user_has_password = user.map_or(Ok(false), check_user)?;
        check_hosts(scheme, hosts)?;
        Ok(Self {
            has_password: user_has_password || options_hold_secret(options),
            for_people: format!("{scheme}://{hosts}"),
        })
    }
}

/// Says whether there is a password.
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
    Fault::mended_by(
        "its user, password or options hold a character that must be escaped",
        "write % as %25, : as %3A, / as %2F, ? as %3F, # as %23, [ as %5B, ] as %5D, @ as %40",
    )
}

/// An `@` here is rather one of a password with an unescaped `?`, whose beginning would then be
/// taken for a host and shown.
fn check_options(options: &str) -> Result<(), Fault> {
    if options.contains('@') {
        return Err(unescaped());
    }
    let mut pairs = options.split('&').filter(|pair| !pair.is_empty());
    if pairs.all(|pair| pair.contains('=')) {
        Ok(())
    } else {
        Err(Fault::new("behind its `?` stands an option without `=`"))
    }
}

/// Options that carry a secret: passwords of key files and proxies, session tokens.
fn options_hold_secret(options: &str) -> bool {
    let lower = options.to_ascii_lowercase();
    lower.contains("password") || lower.contains("token")
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
    fn good_ones() {
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
            let for_people = for_people.to_owned();
            assert_eq!(
                MongodbUri::parse(text),
                Ok(MongodbUri {
                    has_password,
                    for_people
                })
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
