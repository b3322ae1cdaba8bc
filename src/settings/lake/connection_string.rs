//! Connection strings of Azure storage accounts, as the Azure portal and tools write them:
//! <https://learn.microsoft.com/azure/storage/common/storage-configure-connection-string>

use url::Url;

use crate::settings::lake::azure::{
    AzureCredential, DEVELOPMENT_ENDPOINT, PUBLIC_CLOUD, account_of_endpoint, endpoint_of,
    parse_account, parse_endpoint, parse_key, parse_sas,
};
use crate::settings::problems::Fault;

/// Azurite's documented account:
/// <https://learn.microsoft.com/azure/storage/common/storage-connect-azurite>
const DEVELOPMENT_ACCOUNT: &str = "devstoreaccount1";
const DEVELOPMENT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A parsed connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::settings) struct Connection {
    pub(in crate::settings) account: String,
    pub(in crate::settings) endpoint: Url,
    /// Whether it contains the endpoint, so that no other setting may differ.
    pub(in crate::settings) is_endpoint_fixed: bool,
    pub(in crate::settings) credential: AzureCredential,
}

/// The fields of a connection string that silt needs.
#[derive(Default)]
struct Fields<'a> {
    account: Option<&'a str>,
    key: Option<&'a str>,
    sas: Option<&'a str>,
    endpoint: Option<&'a str>,
    protocol: Option<&'a str>,
    suffix: Option<&'a str>,
    development: Option<&'a str>,
}

/// Fields of other services, which silt doesn't need.
const OTHER_FIELDS: [&str; 10] = [
    "queueendpoint",
    "tableendpoint",
    "fileendpoint",
    "dfsendpoint",
    "webendpoint",
    "blobsecondaryendpoint",
    "queuesecondaryendpoint",
    "tablesecondaryendpoint",
    "filesecondaryendpoint",
    "developmentstorageproxyuri",
];

impl<'a> Fields<'a> {
    fn of(text: &'a str) -> Result<Self, Fault> {
        let mut fields = Self::default();
        let parts = text.split(';').map(str::trim).enumerate();
        for (at, part) in parts.filter(|(_, part)| !part.is_empty()) {
            let number = at + 1;
            // Not even a field's name is shown: it may be the end of a key with a `;` in it.
            let Some((name, value)) = part.split_once('=') else {
                return Err(Fault::new(format!("its part {number} has no `=`")));
            };
            let name = name.trim().to_ascii_lowercase();
            let field = match name.as_str() {
                "accountname" => &mut fields.account,
                "accountkey" => &mut fields.key,
                "sharedaccesssignature" => &mut fields.sas,
                "blobendpoint" => &mut fields.endpoint,
                "defaultendpointsprotocol" => &mut fields.protocol,
                "endpointsuffix" => &mut fields.suffix,
                "usedevelopmentstorage" => &mut fields.development,
                other if OTHER_FIELDS.contains(&other) => continue,
                _ => return Err(Fault::new(format!("its part {number} has an unknown name"))),
            };
            if field.replace(value.trim()).is_some() {
                return Err(Fault::new(format!(
                    "its part {number} repeats an earlier one"
                )));
            }
        }
        Ok(fields)
    }
}

impl Connection {
    /// Parses a connection string. No message quotes any of it.
    pub(in crate::settings) fn parse(text: &str) -> Result<Self, Fault> {
        let fields = Fields::of(text)?;
        if let Some(development) = fields.development {
            return Self::development(development, &fields);
        }
        let credential = match (fields.key, fields.sas) {
            (Some(key), None) => AzureCredential::SharedKey(parse_key(key)?),
            (None, Some(sas)) => AzureCredential::Sas(parse_sas(sas)?),
            (Some(_), Some(_)) => {
                let what = "it has both AccountKey and SharedAccessSignature";
                return Err(Fault::with_fix(what, "remove one of them"));
            }
            (None, None) => {
                let what = "it has neither AccountKey nor SharedAccessSignature";
                return Err(Fault::new(what));
            }
        };
        let (account, endpoint) = fields.account_and_endpoint()?;
        let is_endpoint_fixed = fields.endpoint.is_some();
        Ok(Self {
            account,
            endpoint,
            is_endpoint_fixed,
            credential,
        })
    }

    fn development(value: &str, fields: &Fields) -> Result<Self, Fault> {
        let others = [fields.account, fields.key, fields.sas, fields.endpoint];
        if !value.eq_ignore_ascii_case("true") || others.iter().any(Option::is_some) {
            let what = "UseDevelopmentStorage is not `true`, or not alone";
            return Err(Fault::new(what));
        }
        Ok(Self {
            account: DEVELOPMENT_ACCOUNT.to_owned(),
            endpoint: parse_endpoint(DEVELOPMENT_ENDPOINT)?,
            is_endpoint_fixed: false,
            credential: AzureCredential::SharedKey(parse_key(DEVELOPMENT_KEY)?),
        })
    }
}

impl Fields<'_> {
    fn account_and_endpoint(&self) -> Result<(String, Url), Fault> {
        let account = self.account.map(parse_account).transpose()?;
        if let Some(endpoint) = self.endpoint {
            let endpoint = parse_endpoint(endpoint)
                .map_err(|fault| Fault::new(format!("BlobEndpoint: {}", fault.what)))?;
            let named = account_of_endpoint(&endpoint);
            return match (account, named) {
                (Some(account), Some(named)) if account != named => Err(Fault::new(
                    "AccountName and BlobEndpoint name different accounts",
                )),
                (Some(account), _) => Ok((account, endpoint)),
                (None, Some(named)) => Ok((parse_account(&named)?, endpoint)),
                (None, None) => Err(Fault::new("it has no AccountName")),
            };
        }
        let account = account.ok_or_else(|| Fault::new("it has no AccountName"))?;
        if !self
            .protocol
            .unwrap_or("https")
            .eq_ignore_ascii_case("https")
        {
            return Err(Fault::new("DefaultEndpointsProtocol is not https"));
        }
        let endpoint = endpoint_of(&account, self.suffix.unwrap_or(PUBLIC_CLOUD))?;
        Ok((account, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connection_strings() {
        let key = DEVELOPMENT_KEY;
        for (text, account, endpoint, kind, is_fixed) in [
            (
                format!("DefaultEndpointsProtocol=https;AccountName=acct;AccountKey={key};EndpointSuffix=core.windows.net"),
                "acct", "https://acct.blob.core.windows.net/", "account key", false,
            ),
            (
                format!(" accountname=acct ; ACCOUNTKEY={key};EndpointSuffix=core.chinacloudapi.cn;"),
                "acct", "https://acct.blob.core.chinacloudapi.cn/", "account key", false,
            ),
            (
                "BlobEndpoint=https://acct.blob.core.windows.net/;QueueEndpoint=https://x/;SharedAccessSignature=sv=1&sig=a%3D".into(),
                "acct", "https://acct.blob.core.windows.net/", "shared access signature", true,
            ),
            (
                format!("DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={key};BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"),
                "devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1", "account key", true,
            ),
            (
                "UseDevelopmentStorage=true".into(),
                "devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1", "account key", false,
            ),
        ] {
            let connection = Connection::parse(&text).unwrap();
            assert_eq!(connection.account, account);
            assert_eq!(connection.endpoint.as_str(), endpoint);
            assert_eq!(connection.credential.kind(), kind);
            assert_eq!(connection.is_endpoint_fixed, is_fixed);
        }
    }

    #[test]
    fn bad_connection_strings_are_refused_without_being_quoted() {
        let key = DEVELOPMENT_KEY;
        for text in [
            "CANARY".to_owned(),
            "CANARY=1".to_owned(),
            "AccountName=CANARY".to_owned(),
            "AccountName=acct;AccountKey=CANARY!".to_owned(),
            format!("AccountKey={key}"),
            format!("AccountName=acct;AccountKey={key};SharedAccessSignature=sig=CANARY"),
            format!("AccountName=acct;AccountName=acct;AccountKey={key}"),
            format!("AccountName=acct;AccountKey={key};DefaultEndpointsProtocol=http"),
            format!("AccountName=acct;AccountKey={key};DefaultEndpointsProtocol=CANARY"),
            format!("AccountName=acct;AccountKey={key};EndpointSuffix=CANARY/x"),
            format!("AccountName=acct;AccountKey={key};EndpointSuffix=u@CANARY"),
            format!("AccountName=acct;AccountKey={key};EndpointSuffix="),
            format!("AccountName=acct;AccountKey={key};BlobEndpoint=CANARY"),
            format!("AccountName=acct;AccountKey={key};BlobEndpoint=http://CANARY/"),
            format!(
                "AccountName=acct;AccountKey={key};BlobEndpoint=https://canary.dfs.core.windows.net/"
            ),
            format!(
                "AccountName=acct;AccountKey={key};BlobEndpoint=https://canary.blob.core.windows.net"
            ),
            "BlobEndpoint=https://lake.example.com;SharedAccessSignature=sig=CANARY".to_owned(),
            "BlobEndpoint=https://acct.blob.core.windows.net;SharedAccessSignature=CANARY"
                .to_owned(),
            "UseDevelopmentStorage=CANARY".to_owned(),
            "UseDevelopmentStorage=true;AccountName=CANARY".to_owned(),
            ";".to_owned(),
        ] {
            let fault = Connection::parse(&text).unwrap_err();
            let said = format!("{fault:?}").to_ascii_lowercase();
            assert!(
                !said.contains("canary") && !said.contains("eby8"),
                "{text} {said}"
            );
        }
    }
}
