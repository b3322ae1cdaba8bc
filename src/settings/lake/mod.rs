//! The location of the lake: `LAKE_URL` and the `AZURE_` variables, which must not contradict each other.

pub(in crate::settings) mod azure;
mod connection_string;

use std::path::PathBuf;

use url::Url;

use crate::settings::lake::azure::{
    AzureCredential, EntraIdentity, PUBLIC_CLOUD, account_of_endpoint, blob_host_of_dfs,
    endpoint_of, is_domain, parse_account, parse_client_secret, parse_endpoint, parse_filesystem,
    parse_id, parse_key, parse_sas, parse_token_file,
};
use crate::settings::lake::connection_string::Connection;
use crate::settings::problems::Fault;
use crate::settings::table;
use crate::settings::table::setting::Setting;
use crate::settings::values::Values;
use silt_core::namespace::names::percent_decode;

/// Longest prefix. A blob's name has 1,024 characters; collection and file take up to 300.
const PREFIX_MAX_CHARS: usize = 700;

/// Where the lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "there is one in a process")]
pub enum LakeLocation {
    /// A local folder.
    Local {
        /// Its absolute path.
        root: PathBuf,
    },
    /// Azure Data Lake Storage Gen2, by its Blob API.
    Azure {
        /// The blob service: `https://account.blob.core.windows.net/`, or with the account as its
        /// path: `http://127.0.0.1:10000/devstoreaccount1`. The latter has no slash at its end.
        endpoint: Url,
        /// The storage account.
        account: String,
        /// The file system, which the Blob API calls container.
        filesystem: String,
        /// Folder of the lake in the file system: no slash at either end, empty for all of it.
        prefix: String,
        /// How silt authenticates.
        credential: AzureCredential,
    },
}

/// What `LAKE_URL` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LakeUrl {
    Local { root: PathBuf, url: Url },
    Azure(AzureUrl),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct AzureUrl {
    filesystem: String,
    account: String,
    endpoint: Url,
    prefix: String,
}

/// Reads the location of the lake, and its address for logs and messages, without secrets.
pub(in crate::settings) fn read(values: &mut Values) -> Option<(LakeLocation, String)> {
    let url = values.parse(&table::LAKE_URL, parse_url);
    if let Some(LakeUrl::Local { root, url }) = url {
        refuse_azure_settings(values);
        return Some((LakeLocation::Local { root }, url.to_string()));
    }
    let url = match url {
        Some(LakeUrl::Azure(url)) => Some(url),
        _ => None,
    };
    read_azure(values, url)
}

/// With a local lake, a setting that locates another one must be a mistake.
fn refuse_azure_settings(values: &mut Values) {
    for setting in [
        &table::AZURE_STORAGE_ACCOUNT_NAME,
        &table::AZURE_ADLS_FILESYSTEM,
        &table::AZURE_STORAGE_CONNECTION_STRING,
        &table::AZURE_STORAGE_ENDPOINT,
    ] {
        if values.explicit(setting).is_some() {
            let what = "LAKE_URL is a local folder";
            values.refuse(setting, Fault::with_fix(what, "set one of the two"));
        }
    }
    for setting in [
        &table::AZURE_STORAGE_ACCOUNT_KEY,
        &table::AZURE_STORAGE_SAS_TOKEN,
    ] {
        if values.explicit(setting).is_some() {
            let name = setting.name;
            values.warn(format!("{name} isn't used: LAKE_URL is a local folder"));
        }
    }
}

fn read_azure(values: &mut Values, url: Option<AzureUrl>) -> Option<(LakeLocation, String)> {
    let (credential, connection) = read_credential(values);
    let account = read_account(values, url.as_ref(), connection.as_ref());
    let filesystem = read_filesystem(values, url.as_ref());
    let fixed = values.parse(&table::AZURE_STORAGE_ENDPOINT, parse_endpoint);
    let (account, filesystem, credential) = (account?, filesystem?, credential?);
    let endpoint = read_endpoint(values, fixed, &account, url.as_ref(), connection.as_ref())?;
    if endpoint.scheme() == "http" && matches!(credential, AzureCredential::Entra(_)) {
        let what = "http:// takes no Entra ID login";
        let fix = "set AZURE_STORAGE_ACCOUNT_KEY (Azurite's is in its documentation)";
        values.refuse(&table::AZURE_STORAGE_ENDPOINT, Fault::with_fix(what, fix));
        return None;
    }
    let prefix = url.map(|url| url.prefix).unwrap_or_default();
    let url_for_people = url_for_people(&endpoint, &account, &filesystem, &prefix);
    let location = LakeLocation::Azure {
        endpoint,
        account,
        filesystem,
        prefix,
        credential,
    };
    Some((location, url_for_people))
}

/// The credential, and the connection string if that is where it came from.
fn read_credential(values: &mut Values) -> (Option<AzureCredential>, Option<Connection>) {
    let [key, sas, string] = [
        &table::AZURE_STORAGE_ACCOUNT_KEY,
        &table::AZURE_STORAGE_SAS_TOKEN,
        &table::AZURE_STORAGE_CONNECTION_STRING,
    ];
    let parsed_key = values.parse(key, parse_key);
    let parsed_sas = values.parse(sas, parse_sas);
    let connection = values.parse(string, Connection::parse);
    let identity = read_identity(values);

    let given: Vec<&Setting> = [key, sas, string]
        .into_iter()
        .filter(|setting| values.explicit(setting).is_some())
        .collect();
    if let [first, .., last] = given[..] {
        let names: Vec<&str> = given.iter().map(|setting| setting.name).collect();
        let what = format!("{} are set together", names.join(" and "));
        values.refuse(
            last,
            Fault::with_fix(what, format!("keep one of them, such as {}", first.name)),
        );
        return (None, connection);
    }
    let is_refused = [key, sas, string]
        .iter()
        .any(|setting| values.is_refused(setting));
    let credential = match (parsed_key, parsed_sas, &connection) {
        (Some(key), ..) => Some(AzureCredential::SharedKey(key)),
        (_, Some(sas), _) => Some(AzureCredential::Sas(sas)),
        (_, _, Some(connection)) => Some(connection.credential.clone()),
        _ if is_refused => None,
        _ => identity.map(AzureCredential::Entra),
    };
    (credential, connection)
}

fn read_identity(values: &mut Values) -> Option<EntraIdentity> {
    let identity = EntraIdentity {
        tenant_id: values.parse(&table::AZURE_TENANT_ID, parse_id),
        client_id: values.parse(&table::AZURE_CLIENT_ID, parse_id),
        client_secret: values.parse(&table::AZURE_CLIENT_SECRET, parse_client_secret),
        federated_token_file: values.parse(&table::AZURE_FEDERATED_TOKEN_FILE, parse_token_file),
    };
    let is_refused = [
        &table::AZURE_TENANT_ID,
        &table::AZURE_CLIENT_ID,
        &table::AZURE_CLIENT_SECRET,
        &table::AZURE_FEDERATED_TOKEN_FILE,
    ]
    .iter()
    .any(|setting| values.is_refused(setting));
    if is_refused {
        return None;
    }
    let is_whole = identity.tenant_id.is_some() && identity.client_id.is_some();
    if identity.client_secret.is_some() && !is_whole {
        let what = "a client secret alone names no application";
        let fix = "set AZURE_TENANT_ID and AZURE_CLIENT_ID too";
        values.refuse(&table::AZURE_CLIENT_SECRET, Fault::with_fix(what, fix));
        return None;
    }
    Some(identity)
}

fn read_account(
    values: &mut Values,
    url: Option<&AzureUrl>,
    connection: Option<&Connection>,
) -> Option<String> {
    let (name, string) = (
        &table::AZURE_STORAGE_ACCOUNT_NAME,
        &table::AZURE_STORAGE_CONNECTION_STRING,
    );
    let named = values.parse(name, parse_account);
    let of_url = url.map(|url| url.account.as_str());
    let of_connection = connection.map(|connection| connection.account.as_str());
    if let (Some(named), Some(other)) = (&named, of_url.or(of_connection))
        && named != other
    {
        let place = if of_url.is_some() {
            "LAKE_URL"
        } else {
            "the connection string"
        };
        let what = format!("{place} names another account, {other}");
        values.refuse(
            name,
            Fault::with_fix(what, "let both name the same, or set one of them"),
        );
        return None;
    }
    if let (Some(of_url), Some(of_connection)) = (of_url, of_connection)
        && of_url != of_connection
    {
        let what = format!("LAKE_URL names another account, {of_url}");
        values.refuse(string, Fault::with_fix(what, "let both name the same"));
        return None;
    }
    let account = named.or_else(|| of_url.or(of_connection).map(str::to_owned));
    let places = [&table::LAKE_URL, name, string];
    if account.is_none() && !places.iter().any(|place| values.is_refused(place)) {
        let what = "no lake is set";
        let fix = format!(
            "{}, or set AZURE_STORAGE_ACCOUNT_NAME",
            table::LAKE_URL.fix()
        );
        values.refuse(&table::LAKE_URL, Fault::with_fix(what, fix));
    }
    account
}

fn read_filesystem(values: &mut Values, url: Option<&AzureUrl>) -> Option<String> {
    let setting = &table::AZURE_ADLS_FILESYSTEM;
    let named = values.parse(setting, parse_filesystem)?;
    let Some(url) = url else {
        return Some(named);
    };
    if values.explicit(setting).is_some() && named != url.filesystem {
        let what = format!("LAKE_URL names another file system, {}", url.filesystem);
        values.refuse(
            setting,
            Fault::with_fix(what, "let both name the same, or set one of them"),
        );
        return None;
    }
    Some(url.filesystem.clone())
}

/// The address of the blob service: as set, as the connection string says, as `LAKE_URL` implies,
/// or the public cloud's.
fn read_endpoint(
    values: &mut Values,
    fixed: Option<Url>,
    account: &str,
    url: Option<&AzureUrl>,
    connection: Option<&Connection>,
) -> Option<Url> {
    let setting = &table::AZURE_STORAGE_ENDPOINT;
    if values.is_refused(setting) {
        return None;
    }
    if let Some(fixed) = fixed {
        let fixed_by_connection = connection.filter(|connection| connection.is_endpoint_fixed);
        if fixed_by_connection.is_some_and(|connection| connection.endpoint != fixed) {
            let what = "the connection string names another endpoint";
            values.refuse(
                setting,
                Fault::with_fix(what, "let both name the same, or set one of them"),
            );
            return None;
        }
        if account_of_endpoint(&fixed).is_some_and(|named| named != account) {
            let what = format!("it is not the account's, {account}");
            values.refuse(setting, Fault::new(what));
            return None;
        }
        return Some(fixed);
    }
    let implied = connection
        .map(|connection| &connection.endpoint)
        .or(url.map(|url| &url.endpoint));
    match implied {
        Some(endpoint) => Some(endpoint.clone()),
        None => endpoint_of(account, PUBLIC_CLOUD)
            .map_err(|fault| values.refuse(setting, fault))
            .ok(),
    }
}

/// `abfss://…` where the endpoint is the account's in some cloud, else the endpoint with all that
/// follows.
fn url_for_people(endpoint: &Url, account: &str, filesystem: &str, prefix: &str) -> String {
    let slash_prefix = if prefix.is_empty() {
        String::new()
    } else {
        format!("/{prefix}")
    };
    let host = endpoint.host_str().unwrap_or("");
    let after_account = host.strip_prefix(account);
    if let Some(suffix) = after_account.and_then(|rest| rest.strip_prefix(".blob.")) {
        format!("abfss://{filesystem}@{account}.dfs.{suffix}{slash_prefix}")
    } else {
        let endpoint = endpoint.as_str().trim_end_matches('/');
        format!("{endpoint}/{filesystem}{slash_prefix}")
    }
}

fn parse_url(text: &str) -> Result<LakeUrl, Fault> {
    if text.contains(['?', '#']) {
        let what = "it holds a `?` or `#`";
        return Err(Fault::with_fix(
            what,
            "write them as %3F and %23; a signature goes into AZURE_STORAGE_SAS_TOKEN",
        ));
    }
    match text.split_once("://") {
        Some(("abfss", rest)) => Ok(LakeUrl::Azure(parse_abfss(rest)?)),
        Some(("file", path)) => parse_file(text, path),
        Some(("abfs", _)) => {
            let what = "abfs:// would send everything unencrypted";
            Err(Fault::with_fix(what, "write abfss://"))
        }
        _ => Err(Fault::new("it begins with neither abfss:// nor file://")),
    }
}

fn parse_file(text: &str, path: &str) -> Result<LakeUrl, Fault> {
    if !path.starts_with('/') {
        let what = "the folder's path doesn't begin at the root";
        return Err(Fault::with_fix(what, "write three slashes: file:///folder"));
    }
    let segments = path
        .split('/')
        .map(|segment| percent_decode(segment).ok_or_else(bad_escape));
    for segment in segments {
        match segment?.as_str() {
            ".." | "." => return Err(Fault::new("its path holds `.` or `..`")),
            text if text.contains('\0') => return Err(Fault::new("its path holds a NUL")),
            _ => {}
        }
    }
    let url = Url::parse(text).map_err(|_| Fault::new("it is not an address"))?;
    let root = url
        .to_file_path()
        .map_err(|()| Fault::new("it is no folder's address"))?;
    if root.parent().is_none() {
        return Err(Fault::new("the root of all folders is no lake"));
    }
    Ok(LakeUrl::Local { root, url })
}

/// `filesystem@account.dfs.suffix/prefix`
fn parse_abfss(text: &str) -> Result<AzureUrl, Fault> {
    let (authority, path) = text.split_once('/').unwrap_or((text, ""));
    let Some((filesystem, host)) = authority.split_once('@') else {
        return Err(Fault::new("there is no `filesystem@` in it"));
    };
    let filesystem = parse_filesystem(filesystem)?;
    let host = host.to_ascii_lowercase();
    let account = parse_account(host.split('.').next().unwrap_or(""))?;
    let blob_host = blob_host_of_dfs(&host).filter(|_| is_domain(&host));
    let Some(blob_host) = blob_host else {
        return Err(Fault::new("its host is not account.dfs.core.windows.net"));
    };
    let endpoint = parse_endpoint(&format!("https://{blob_host}"))?;
    let prefix = parse_prefix(path)?;
    Ok(AzureUrl {
        filesystem,
        account,
        endpoint,
        prefix,
    })
}

fn parse_prefix(path: &str) -> Result<String, Fault> {
    let path = percent_decode(path.strip_suffix('/').unwrap_or(path)).ok_or_else(bad_escape)?;
    if path.is_empty() {
        return Ok(path);
    }
    for segment in path.split('/') {
        let what = match segment {
            "" => "its prefix holds an empty folder name",
            "." | ".." => "its prefix holds `.` or `..`",
            // The service would drop it: the folder couldn't be found again.
            name if name.ends_with('.') => "a folder of its prefix ends in a dot",
            name if name.contains('\\') => "its prefix holds a backslash",
            name if name.contains(char::is_control) => "its prefix holds a control character",
            _ => continue,
        };
        return Err(Fault::new(what));
    }
    if path.chars().count() > PREFIX_MAX_CHARS {
        let what = format!("its prefix is longer than {PREFIX_MAX_CHARS} characters");
        return Err(Fault::new(what));
    }
    Ok(path)
}

fn bad_escape() -> Fault {
    Fault::with_fix(
        "it holds a `%` without two hexadecimal digits, or none of UTF-8",
        "write % as %25",
    )
}
