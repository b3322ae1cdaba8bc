//! Names, addresses and credentials of Azure storage accounts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::{Host, Url};

use crate::settings::problems::Fault;
use crate::settings::secret::Secret;

/// Azurite's default address, with its documented account.
pub(in crate::settings) const DEVELOPMENT_ENDPOINT: &str =
    "http://127.0.0.1:10000/devstoreaccount1";

/// Suffix of the public cloud's addresses.
pub(in crate::settings) const PUBLIC_CLOUD: &str = "core.windows.net";

/// How silt authenticates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureCredential {
    /// One of the account's access keys, in base64.
    SharedKey(Secret),
    /// A shared access signature, without a leading `?`.
    Sas(Secret),
    /// Microsoft Entra ID: workload identity, client secret, managed identity or the developer's
    /// own login, depending on what is set.
    Entra(EntraIdentity),
}

/// silt's identity for Microsoft Entra ID, as far as it is configured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntraIdentity {
    /// The tenant.
    pub tenant_id: Option<String>,
    /// The application or managed identity.
    pub client_id: Option<String>,
    /// The application's secret.
    pub client_secret: Option<Secret>,
    /// File with the token of a workload identity.
    pub federated_token_file: Option<String>,
}

impl AzureCredential {
    /// Its kind, for a log.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::SharedKey(_) => "account key",
            Self::Sas(_) => "shared access signature",
            Self::Entra(_) => "Entra ID",
        }
    }
}

/// Reads a storage account's name.
pub(in crate::settings) fn parse_account(name: &str) -> Result<String, Fault> {
    let is_name = (3..=24).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if is_name {
        Ok(name.to_owned())
    } else {
        let what = "the account's name is not 3 to 24 lower-case letters and digits";
        Err(Fault::new(what))
    }
}

/// Reads the id or the domain of a tenant, or the id of a client.
pub(in crate::settings) fn parse_id(id: &str) -> Result<String, Fault> {
    let is_id = id
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'));
    if is_id {
        Ok(id.to_owned())
    } else {
        Err(Fault::new(
            "it may contain only letters, digits, hyphens and dots",
        ))
    }
}

/// Reads a client secret.
pub(in crate::settings) fn parse_client_secret(secret: &str) -> Result<Secret, Fault> {
    let is_word = |character: char| !character.is_whitespace() && !character.is_control();
    if secret.chars().all(is_word) {
        Ok(Secret::new(secret))
    } else {
        Err(Fault::new("there is white space in it"))
    }
}

/// Reads the path of a workload identity's token.
pub(in crate::settings) fn parse_token_file(path: &str) -> Result<String, Fault> {
    if path.starts_with('/') && !path.contains('\0') {
        Ok(path.to_owned())
    } else {
        Err(Fault::new("it is not an absolute path"))
    }
}

/// Reads a file system's (container's) name.
pub(in crate::settings) fn parse_filesystem(name: &str) -> Result<String, Fault> {
    let is_word = |word: &str| {
        !word.is_empty()
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    if (3..=63).contains(&name.len()) && name.split('-').all(is_word) {
        Ok(name.to_owned())
    } else {
        let what = "the file system's name is not 3 to 63 lower-case letters, digits and single \
                    hyphens between them";
        Err(Fault::new(what))
    }
}

/// Reads an account key. No message quotes any of it.
pub(in crate::settings) fn parse_key(text: &str) -> Result<Secret, Fault> {
    match STANDARD.decode(text) {
        Ok(key) if !key.is_empty() => Ok(Secret::new(text)),
        _ => Err(Fault::new("the account key is not base64")),
    }
}

/// Reads a shared access signature. No message quotes any of it.
pub(in crate::settings) fn parse_sas(text: &str) -> Result<Secret, Fault> {
    let sas = text.strip_prefix('?').unwrap_or(text);
    if sas.contains("://") {
        let what = "the shared access signature is a whole URL";
        return Err(Fault::with_fix(what, "use only the part after its `?`"));
    }
    if sas.contains(|c: char| !c.is_ascii_graphic()) {
        let what = "the shared access signature contains a character that isn't allowed in a URL";
        return Err(Fault::new(what));
    }
    let signature = sas.split('&').find_map(|pair| pair.strip_prefix("sig="));
    match signature {
        Some(signature) if !signature.is_empty() => Ok(Secret::new(sas)),
        _ => Err(Fault::new("the shared access signature has no sig=")),
    }
}

/// Reads the address of a blob service; `https`, or `http` to this machine only.
pub(in crate::settings) fn parse_endpoint(text: &str) -> Result<Url, Fault> {
    let mut url = Url::parse(text).map_err(|_| Fault::new("it is not an address"))?;
    let Some(host) = url.host().map(|host| host.to_owned()) else {
        return Err(Fault::new("it names no host"));
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        "http" => {
            let what = "http:// is for this machine only (127.0.0.1, ::1, localhost)";
            return Err(Fault::with_fix(what, "set it to an https:// address"));
        }
        _ => return Err(Fault::new("it starts with neither https:// nor http://")),
    }
    let has_user = !url.username().is_empty() || url.password().is_some();
    if has_user || url.query().is_some() || url.fragment().is_some() {
        let what = "it contains more than an address";
        let fix = "remove user, `?` and `#`; a signature goes into AZURE_STORAGE_SAS_TOKEN";
        return Err(Fault::with_fix(what, fix));
    }
    if let Some(blob_host) = blob_host_of_dfs(url.host_str().unwrap_or("")) {
        let what = "it is the address of the dfs service";
        let fix = format!("set it to the blob service's: https://{blob_host}");
        return Err(Fault::with_fix(what, fix));
    }
    let path = url.path().trim_matches('/').to_owned();
    if path.contains('/') {
        let what = "its path contains more than the account";
        return Err(Fault::with_fix(
            what,
            "put the file system and prefix into LAKE_URL",
        ));
    }
    if path.is_empty() && names_no_account(&host) {
        let what = "its path doesn't name the account";
        return Err(Fault::with_fix(
            what,
            format!("set it as in {DEVELOPMENT_ENDPOINT}"),
        ));
    }
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// For an IP address or this machine, the account is in the path (Azurite).
fn names_no_account(host: &Host) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(_) | Host::Ipv6(_) => true,
    }
}

/// The address of an account's blob service in a cloud.
pub(in crate::settings) fn endpoint_of(account: &str, suffix: &str) -> Result<Url, Fault> {
    if !is_domain(suffix) {
        return Err(Fault::new("EndpointSuffix is not a domain"));
    }
    parse_endpoint(&format!("https://{account}.blob.{suffix}"))
}

/// Whether a text consists of labels and dots only.
pub(in crate::settings) fn is_domain(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_alphanumeric() || c == '-';
    text.split('.')
        .all(|label| !label.is_empty() && label.chars().all(is_inner))
}

/// The blob service's host for a dfs service's: `a.dfs.S` to `a.blob.S`, `a.z1.dfs.S` to
/// `a.z1.blob.S`; `None` if it is no dfs service's.
pub(in crate::settings) fn blob_host_of_dfs(host: &str) -> Option<String> {
    let mut labels: Vec<&str> = host.split('.').collect();
    let at = labels.iter().position(|label| *label == "dfs")?;
    if !matches!(at, 1 | 2) || labels.len() < at + 2 {
        return None;
    }
    *labels.get_mut(at)? = "blob";
    Some(labels.join("."))
}

/// The account that an address names: by its path, or by its host.
pub(in crate::settings) fn account_of_endpoint(endpoint: &Url) -> Option<String> {
    let path = endpoint.path().trim_matches('/');
    if !path.is_empty() {
        return Some(path.to_owned());
    }
    let Some(Host::Domain(host)) = endpoint.host() else {
        return None;
    };
    let labels: Vec<&str> = host.split('.').collect();
    let is_blob_host = labels.iter().skip(1).any(|label| *label == "blob");
    is_blob_host.then(|| labels.first().copied().unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_err<T>(result: &Result<T, Fault>) -> bool {
        result.is_err()
    }

    #[test]
    fn names() {
        for name in ["abc", "devstoreaccount1", &"a".repeat(24)] {
            assert_eq!(parse_account(name).as_deref(), Ok(name));
        }
        for name in ["", "ab", "Abc", "a-b-c", "a_bc", "äbc", &"a".repeat(25)] {
            assert!(is_err(&parse_account(name)), "{name}");
        }
        for name in ["abc", "a-b-c", "123", &"a".repeat(63)] {
            assert_eq!(parse_filesystem(name).as_deref(), Ok(name));
        }
        for name in [
            "",
            "ab",
            "$root",
            "$logs",
            "Abc",
            "-abc",
            "abc-",
            "a--b",
            "a.b",
            &"a".repeat(64),
        ] {
            assert!(is_err(&parse_filesystem(name)), "{name}");
        }
    }

    #[test]
    fn keys_and_signatures() {
        assert!(parse_key("a2V5").is_ok());
        for key in ["", "abc", "not base64", "====", "a2V5a"] {
            assert!(is_err(&parse_key(key)), "{key}");
        }
        for sas in ["?sv=1&sig=a%2Bb", "sv=1&sig=a%2Bb"] {
            assert_eq!(parse_sas(sas).unwrap().reveal(), "sv=1&sig=a%2Bb");
        }
        for sas in [
            "",
            "?",
            "sv=1",
            "sig=",
            "https://a.blob.core.windows.net/?sig=a",
            "sig=a b",
            "sig=ä",
        ] {
            assert!(is_err(&parse_sas(sas)), "{sas}");
        }
    }

    #[test]
    fn endpoints() {
        for (text, url) in [
            (
                "https://acct.blob.core.windows.net",
                "https://acct.blob.core.windows.net/",
            ),
            (
                "https://acct.blob.core.windows.net/",
                "https://acct.blob.core.windows.net/",
            ),
            (
                "http://127.0.0.1:10000/devstoreaccount1/",
                "http://127.0.0.1:10000/devstoreaccount1",
            ),
            ("http://127.9.9.9/a", "http://127.9.9.9/a"),
            ("http://[::1]:10000/a", "http://[::1]:10000/a"),
            ("http://localhost:10000/a", "http://localhost:10000/a"),
            ("http://LOCALHOST/a", "http://localhost/a"),
            ("https://lake.example.com", "https://lake.example.com/"),
            ("https://10.0.0.5/acct", "https://10.0.0.5/acct"),
        ] {
            assert_eq!(parse_endpoint(text).unwrap().as_str(), url);
        }
        for text in [
            "",
            "acct",
            "acct.blob.core.windows.net",
            "ftp://a/",
            "file:///a",
            "https://",
            "mailto:a@b",
            "http://acct.blob.core.windows.net",
            "http://localhost.example.com/a",
            "http://10.0.0.5/a",
            "http://[::2]/a",
            "http://0.0.0.0/a",
            "http://127.0.0.1.nip.io/a",
            "https://a.blob.core.windows.net/?sig=x",
            "https://u:p@a.blob.core.windows.net",
            "https://a.blob.core.windows.net/#x",
            "https://a.blob.core.windows.net/b/c",
            "http://127.0.0.1:10000",
            "https://a.dfs.core.windows.net",
            "https://a.z1.dfs.storage.azure.net",
        ] {
            assert!(is_err(&parse_endpoint(text)), "{text}");
        }
    }

    #[test]
    fn accounts_of_endpoints() {
        for (text, account) in [
            ("https://acct.blob.core.windows.net", Some("acct")),
            (
                "https://acct.privatelink.blob.core.windows.net",
                Some("acct"),
            ),
            (
                "http://127.0.0.1:10000/devstoreaccount1",
                Some("devstoreaccount1"),
            ),
            ("https://lake.example.com", None),
        ] {
            let endpoint = parse_endpoint(text).unwrap();
            assert_eq!(account_of_endpoint(&endpoint).as_deref(), account);
        }
    }
}
