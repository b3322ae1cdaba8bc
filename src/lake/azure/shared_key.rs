//! Shared Key authorization, which the SDK lacks.
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::Secret;
use azure_core::hmac::hmac_sha256;
use azure_core::http::policies::{Policy, PolicyResult};
use azure_core::http::{Context, Request, Url};

/// Headers of the string to sign, in order. `content-length` comes after the second one.
const SIGNED_HEADERS: [&str; 10] = [
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

/// Signs each attempt of a request with the account's key.
pub(super) struct SharedKeyPolicy {
    account: String,
    key: Secret,
}

impl SharedKeyPolicy {
    pub(super) fn new(account: String, key: Secret) -> Self {
        Self { account, key }
    }
}

impl fmt::Debug for SharedKeyPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedKeyPolicy({})", self.account)
    }
}

#[async_trait]
impl Policy for SharedKeyPolicy {
    async fn send(
        &self,
        context: &Context,
        request: &mut Request,
        next: &[Arc<dyn Policy>],
    ) -> PolicyResult {
        let date = chrono::Utc::now()
            .format("%a, %d %b %Y %H:%M:%S GMT")
            .to_string();
        request.insert_header("x-ms-date", date);
        let content_len_bytes = request.body().len().unwrap_or(0);
        let headers: BTreeMap<String, String> = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str().to_lowercase(), value.as_str().to_owned()))
            .collect();
        let text = string_to_sign(
            request.method().as_str(),
            &headers,
            content_len_bytes,
            &self.account,
            request.url(),
        );
        let signature = hmac_sha256(&text, &self.key)?;
        request.insert_header(
            "authorization",
            format!("SharedKey {}:{signature}", self.account),
        );
        let (first, rest) = next.split_first().ok_or_else(|| {
            azure_core::Error::with_message(azure_core::error::ErrorKind::Other, "no transport")
        })?;
        first.send(context, request, rest).await
    }
}

/// The canonical form of a request, as Microsoft documents it.
fn string_to_sign(
    method: &str,
    headers: &BTreeMap<String, String>,
    content_len_bytes: u64,
    account: &str,
    url: &Url,
) -> String {
    let mut text = format!("{method}\n");
    for (at, name) in SIGNED_HEADERS.iter().enumerate() {
        if at == 2 {
            if content_len_bytes > 0 {
                text.push_str(&content_len_bytes.to_string());
            }
            text.push('\n');
        }
        text.push_str(headers.get(*name).map_or("", String::as_str));
        text.push('\n');
    }
    for (name, value) in headers.iter().filter(|(name, _)| name.starts_with("x-ms-")) {
        text.extend([name, ":", value.trim(), "\n"]);
    }
    text.extend(["/", account, url.path()]);
    let mut query: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in url.query_pairs() {
        query
            .entry(name.to_lowercase())
            .or_default()
            .push(value.into_owned());
    }
    for (name, mut values) in query {
        values.sort();
        text.extend(["\n", &name, ":", &values.join(",")]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_canonical_form_is_microsofts() {
        let headers = [
            ("content-type", "text/plain; charset=UTF-8"),
            ("x-ms-date", "Sun, 20 Sep 2009 20:36:40 GMT"),
            ("x-ms-version", "2009-09-19"),
            ("if-match", "\"0x1\""),
        ];
        let headers = headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into_iter()
            .collect();
        let url = Url::parse("https://a.blob.core.windows.net/c/f%2Fx?comp=block&blockid=QQ%3D%3D")
            .unwrap();
        assert_eq!(
            string_to_sign("PUT", &headers, 3, "a", &url),
            "PUT\n\n\n3\n\ntext/plain; charset=UTF-8\n\n\n\"0x1\"\n\n\n\n\
             x-ms-date:Sun, 20 Sep 2009 20:36:40 GMT\nx-ms-version:2009-09-19\n\
             /a/c/f%2Fx\nblockid:QQ==\ncomp:block"
        );
    }
}
