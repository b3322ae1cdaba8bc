//! Where the lake is.

use std::path::Path;

use super::*;

const URI: [(&str, &str); 1] = [("MONGODB_URI", "mongodb://h")];
const KEY: (&str, &str) = ("AZURE_STORAGE_ACCOUNT_KEY", "a2V5");
const CONNECTION: &str = "AZURE_STORAGE_CONNECTION_STRING";
const ENDPOINT: &str = "AZURE_STORAGE_ENDPOINT";
const AZURITE: (&str, &str) = (ENDPOINT, "http://127.0.0.1:10000/devstoreaccount1");

fn given(values: &[(&str, &str)]) -> Given {
    Given::of(&URI).and(values)
}

/// Endpoint, account, file system, prefix, kind of credential.
fn azure(values: &[(&str, &str)]) -> [String; 5] {
    match given(values).settings().lake.location {
        LakeLocation::Azure {
            endpoint,
            account,
            filesystem,
            prefix,
            credential,
        } => [
            endpoint.to_string(),
            account,
            filesystem,
            prefix,
            credential.kind().to_owned(),
        ],
        LakeLocation::Local { root } => panic!("{root:?}"),
    }
}

#[test]
fn a_local_folder() {
    for (text, root) in [
        ("file:///lake", "/lake"),
        ("file:///var/lib/lake/", "/var/lib/lake/"),
        ("file:///with%20blank/gr%C3%B6%C3%9Fe", "/with blank/größe"),
        ("file:///with blank/größe", "/with blank/größe"),
        ("file:///a..b/.hidden", "/a..b/.hidden"),
    ] {
        let lake = given(&[("LAKE_URL", text)]).settings().lake;
        let LakeLocation::Local { root: found } = &lake.location else {
            panic!("{lake:?}");
        };
        assert_eq!(found, Path::new(root));
        assert!(lake.url_for_people.starts_with("file:///"));
    }
}

#[test]
fn an_azure_lake_by_its_address() {
    for (text, endpoint, account, prefix) in [
        (
            "abfss://fs1@acct.dfs.core.windows.net",
            "https://acct.blob.core.windows.net/",
            "acct",
            "",
        ),
        (
            "abfss://fs1@acct.dfs.core.windows.net/",
            "https://acct.blob.core.windows.net/",
            "acct",
            "",
        ),
        (
            "abfss://fs1@acct.dfs.core.windows.net/a/b/",
            "https://acct.blob.core.windows.net/",
            "acct",
            "a/b",
        ),
        (
            "abfss://fs1@acct.dfs.core.windows.net/a%20b/ö",
            "https://acct.blob.core.windows.net/",
            "acct",
            "a b/ö",
        ),
        (
            "abfss://fs1@acct.DFS.Core.Windows.Net/x",
            "https://acct.blob.core.windows.net/",
            "acct",
            "x",
        ),
        (
            "abfss://fs1@acct.dfs.core.chinacloudapi.cn/x",
            "https://acct.blob.core.chinacloudapi.cn/",
            "acct",
            "x",
        ),
        (
            "abfss://fs1@acct.z12.dfs.storage.azure.net/x",
            "https://acct.z12.blob.storage.azure.net/",
            "acct",
            "x",
        ),
    ] {
        let expected = [endpoint, account, "fs1", prefix, "Entra ID"];
        assert_eq!(azure(&[("LAKE_URL", text)]), expected, "{text}");
    }
}

#[test]
fn an_azure_lake_by_its_account() {
    let name = ("AZURE_STORAGE_ACCOUNT_NAME", "acct");
    let public = "https://acct.blob.core.windows.net/";
    assert_eq!(
        azure(&[name]),
        [public, "acct", "changestreams", "", "Entra ID"]
    );
    let filesystem = ("AZURE_ADLS_FILESYSTEM", "fs1");
    assert_eq!(
        azure(&[name, filesystem, KEY]),
        [public, "acct", "fs1", "", "account key"]
    );
    let sas = ("AZURE_STORAGE_SAS_TOKEN", "?sv=1&sig=x");
    assert_eq!(azure(&[name, sas])[4], "shared access signature");
    let endpoint = (ENDPOINT, "https://acct.privatelink.blob.core.windows.net");
    assert_eq!(
        azure(&[name, endpoint])[0],
        "https://acct.privatelink.blob.core.windows.net/"
    );
    let endpoint = (ENDPOINT, "https://lake.example.com");
    assert_eq!(azure(&[name, endpoint])[0], "https://lake.example.com/");
}

#[test]
fn azurite() {
    let name = ("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1");
    let lake = [
        AZURITE.1,
        "devstoreaccount1",
        "changestreams",
        "",
        "account key",
    ];
    assert_eq!(azure(&[name, KEY, AZURITE]), lake);
    assert_eq!(azure(&[(CONNECTION, "UseDevelopmentStorage=true")]), lake);
    let url = (
        "LAKE_URL",
        "abfss://changestreams@devstoreaccount1.dfs.core.windows.net/",
    );
    assert_eq!(azure(&[url, KEY, AZURITE]), lake);

    let other_port = (ENDPOINT, "http://127.0.0.1:4000/devstoreaccount1");
    let found = azure(&[(CONNECTION, "UseDevelopmentStorage=true"), other_port]);
    assert_eq!(found[0], other_port.1);
    let settings = given(&[name, KEY, AZURITE]).settings();
    assert_eq!(
        settings.lake.url_for_people,
        "http://127.0.0.1:10000/devstoreaccount1/changestreams"
    );
}

#[test]
fn a_connection_string_with_other_settings() {
    let string = (CONNECTION, "AccountName=acct;AccountKey=a2V5");
    let url = ("LAKE_URL", "abfss://fs1@acct.dfs.core.windows.net/x");
    let public = "https://acct.blob.core.windows.net/";
    assert_eq!(
        azure(&[string]),
        [public, "acct", "changestreams", "", "account key"]
    );
    assert_eq!(
        azure(&[string, url]),
        [public, "acct", "fs1", "x", "account key"]
    );
    assert_eq!(
        azure(&[string, ("AZURE_STORAGE_ACCOUNT_NAME", "acct")])[1],
        "acct"
    );
    let same = (
        CONNECTION,
        "BlobEndpoint=https://acct.blob.core.windows.net;SharedAccessSignature=sig=x",
    );
    assert_eq!(azure(&[same, (ENDPOINT, public)])[0], public);
}

#[test]
fn no_lake_is_an_error_and_never_a_local_default() {
    for values in [
        &[][..],
        &[KEY],
        &[AZURITE],
        &[("AZURE_ADLS_FILESYSTEM", "fs1")],
    ] {
        let problem = given(values).problem();
        assert!(
            problem.starts_with("LAKE_URL: no lake is set; set it to abfss://"),
            "{problem}"
        );
        assert!(problem.ends_with("or set AZURE_STORAGE_ACCOUNT_NAME"));
    }
}

#[test]
fn contradictions_are_refused() {
    let url = ("LAKE_URL", "abfss://fs1@acct.dfs.core.windows.net");
    let name = ("AZURE_STORAGE_ACCOUNT_NAME", "acct");
    let other_name = ("AZURE_STORAGE_ACCOUNT_NAME", "other");
    let string = (CONNECTION, "AccountName=acct;AccountKey=a2V5");
    let spelled_out = (
        CONNECTION,
        "AccountName=acct;AccountKey=a2V5;BlobEndpoint=https://acct.blob.core.windows.net",
    );
    let sas = ("AZURE_STORAGE_SAS_TOKEN", "sig=x");
    for (values, start) in [
        (
            vec![url, other_name],
            "AZURE_STORAGE_ACCOUNT_NAME=other: LAKE_URL names another account, acct",
        ),
        (
            vec![string, other_name],
            "AZURE_STORAGE_ACCOUNT_NAME=other: the connection string names another",
        ),
        (
            vec![
                ("LAKE_URL", "abfss://fs1@other.dfs.core.windows.net"),
                string,
            ],
            "AZURE_STORAGE_CONNECTION_STRING: LAKE_URL names another account, other",
        ),
        (
            vec![url, ("AZURE_ADLS_FILESYSTEM", "fs2")],
            "AZURE_ADLS_FILESYSTEM=fs2: LAKE_URL names another file system, fs1",
        ),
        (
            vec![name, KEY, sas],
            "AZURE_STORAGE_SAS_TOKEN: AZURE_STORAGE_ACCOUNT_KEY and AZURE_STORAGE_SAS_TOKEN are set together",
        ),
        (
            vec![string, KEY],
            "AZURE_STORAGE_CONNECTION_STRING: AZURE_STORAGE_ACCOUNT_KEY and AZURE_STORAGE_CONNECTION_STRING are",
        ),
        (
            vec![name, AZURITE, KEY],
            "AZURE_STORAGE_ENDPOINT=http://127.0.0.1:10000/devstoreaccount1: it is not the account's, acct",
        ),
        (
            vec![name, (ENDPOINT, "https://other.blob.core.windows.net")],
            "AZURE_STORAGE_ENDPOINT=https://other.blob.core.windows.net: it is",
        ),
        (
            vec![spelled_out, (ENDPOINT, "https://acct.blob.x.net")],
            "AZURE_STORAGE_ENDPOINT=https://acct.blob.x.net: the connection string",
        ),
        (
            vec![("AZURE_STORAGE_ACCOUNT_NAME", "devstoreaccount1"), AZURITE],
            "AZURE_STORAGE_ENDPOINT=http://127.0.0.1:10000/devstoreaccount1: http:// takes no Entra",
        ),
    ] {
        let problem = given(&values).problem();
        assert!(problem.starts_with(start), "{problem}");
    }
}

#[test]
fn a_local_lake_goes_with_no_azure_location() {
    let local = ("LAKE_URL", "file:///lake");
    for other in [
        ("AZURE_STORAGE_ACCOUNT_NAME", "acct"),
        ("AZURE_ADLS_FILESYSTEM", "changestreams"),
        (CONNECTION, "UseDevelopmentStorage=true"),
        AZURITE,
    ] {
        let problem = given(&[local, other]).problem();
        assert!(problem.starts_with(other.0), "{problem}");
        assert!(problem.contains("LAKE_URL is a local folder; set one of the two"));
    }
    let loaded = given(&[local, KEY]).load().unwrap();
    assert_eq!(
        loaded.warnings,
        ["AZURE_STORAGE_ACCOUNT_KEY isn't used: LAKE_URL is a local folder"]
    );
}

#[test]
fn bad_addresses() {
    for text in [
        "lake",
        "/lake",
        "./lake",
        "file:/lake",
        "file://lake",
        "file://lake/x",
        "file:///",
        "file:////",
        "file:///a/../b",
        "file:///a/./b",
        "file:///a/%2e%2E/b",
        "file:///a%00b",
        "file:///a%zz",
        "file:///a%ff",
        "file:///a?b",
        "file:///a#b",
        "abfs://fs1@acct.dfs.core.windows.net",
        "https://acct.dfs.core.windows.net/fs1",
        "abfss://acct.dfs.core.windows.net/fs1",
        "abfss://fs1@acct",
        "abfss://fs1@acct.blob.core.windows.net",
        "abfss://fs1@acct.dfs",
        "abfss://fs1@acct.dfs.",
        "abfss://fs1@.dfs.core.windows.net",
        "abfss://fs1@acct.dfs.core.windows.net:443",
        "abfss://fs1@acct.dfs.core windows.net",
        "abfss://fs1@Acct_1.dfs.core.windows.net",
        "abfss://FS1@acct.dfs.core.windows.net",
        "abfss://$root@acct.dfs.core.windows.net",
        "abfss://fs1@x@acct.dfs.core.windows.net",
        "abfss://fs1@acct.dfs.core.windows.net//a",
        "abfss://fs1@acct.dfs.core.windows.net/a//b",
        "abfss://fs1@acct.dfs.core.windows.net/a//",
        "abfss://fs1@acct.dfs.core.windows.net/../a",
        "abfss://fs1@acct.dfs.core.windows.net/a/%2E%2E",
        "abfss://fs1@acct.dfs.core.windows.net/a\\b",
        "abfss://fs1@acct.dfs.core.windows.net/a./b",
        "abfss://fs1@acct.dfs.core.windows.net/a%0Ab",
        "abfss://fs1@acct.dfs.core.windows.net/a%",
        "abfss://fs1@acct.dfs.core.windows.net/a?sig=b",
        "s3://bucket",
        "wasbs://fs1@acct.blob.core.windows.net",
        "ABFSS:",
        "://",
        "",
        &format!("abfss://fs1@acct.dfs.core.windows.net/{}", "x".repeat(701)),
    ] {
        let problem = given(&[("LAKE_URL", text)]).problem();
        assert!(problem.starts_with("LAKE_URL"), "{text}: {problem}");
    }
}
