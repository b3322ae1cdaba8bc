//! Turns errors of the SDK into [`LakeError`]s.

use azure_core::error::ErrorKind;
use azure_storage_blob::StorageError;

use super::super::{LakeError, LakePath};
use super::error_codes::{Meaning, meaning};

/// What a request was for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) filesystem: &'a str,
    pub(super) path: Option<&'a LakePath>,
    /// The proxy that requests go through, without its password.
    pub(super) proxy: Option<&'a str>,
}

impl Target<'_> {
    fn name(self) -> String {
        match self.path {
            Some(path) => path.to_string(),
            None => self.root(),
        }
    }

    fn root(self) -> String {
        format!("file system {}", self.filesystem)
    }

    /// What to check where the proxy may be at fault; empty without one.
    fn proxy_remedy(self) -> String {
        let Some(proxy) = self.proxy else {
            return String::new();
        };
        format!(
            "; requests go through the proxy {proxy}: check HTTP_PROXY and HTTPS_PROXY, or add the \
             host to NO_PROXY"
        )
    }
}

/// An error response, without anything secret.
#[derive(Debug)]
struct Response {
    status: u16,
    code: String,
    reason: String,
    /// Delay that the service asks for.
    after_ms: Option<u64>,
    /// How far this machine's clock is off, if that is far.
    skew: String,
    /// Whether the service sent it, and not a proxy.
    is_from_service: bool,
}

/// Sorts an error of the SDK.
pub(super) fn classify(target: Target<'_>, error: azure_core::Error) -> LakeError {
    let (status, code, response) = match error.kind() {
        ErrorKind::HttpResponse {
            status,
            error_code,
            raw_response,
        } => (
            u16::from(*status),
            error_code.clone(),
            raw_response.as_deref(),
        ),
        ErrorKind::Credential => {
            let is_transient = is_transient(&error);
            let proxy = proxy_if(is_transient, target);
            return LakeError::NoToken {
                reason: format!("{}{proxy}", with_causes(&error)),
                is_transient,
                remedy: if is_transient {
                    "check the network to Entra ID (login.microsoftonline.com, or AZURE_AUTHORITY_HOST)"
                } else {
                    "check the workload identity, the managed identity or the AZURE_ variables of the \
                     credential"
                },
            };
        }
        _ => {
            let reason = format!("{}{}", with_causes(&error), target.proxy_remedy());
            return LakeError::Unavailable {
                reason,
                after_ms: None,
                source: Some(Box::new(error)),
            };
        }
    };
    let header = |name: &'static str| {
        response.and_then(|response| response.headers().get_optional_str(&name.into()))
    };
    let after_ms = header("retry-after")
        .and_then(|seconds| seconds.trim().parse::<u64>().ok())
        .map(|seconds| seconds.saturating_mul(1000));
    let skew = skew(header("date").unwrap_or_default(), chrono::Utc::now());
    let code = code.unwrap_or_default();
    // The id is not part of the message: the same error must read the same at every attempt.
    let request_id = header("x-ms-request-id");
    let is_from_service = request_id.is_some();
    tracing::debug!(status, code, request_id, "the lake returned an error");
    let reason = reason(status, &code, error);
    sort(
        target,
        Response {
            status,
            code,
            reason,
            after_ms,
            skew,
            is_from_service,
        },
    )
}

fn sort(target: Target<'_>, response: Response) -> LakeError {
    let Response {
        status,
        code,
        mut reason,
        after_ms,
        skew,
        is_from_service,
    } = response;
    let path = target.name();
    let blocked = |reason: String, remedy: &'static str| LakeError::Blocked {
        path: path.clone(),
        reason,
        remedy,
    };
    let forbidden = |reason: String, remedy: &'static str| LakeError::Forbidden { reason, remedy };
    match meaning(status, &code) {
        Meaning::Stale => LakeError::Stale { path },
        Meaning::NoRoot => LakeError::NoRoot {
            root: target.root(),
            reason,
        },
        Meaning::Forbidden if reason.contains(FAILED_TO_AUTHENTICATE) => {
            unauthenticated(&reason, &skew)
        }
        Meaning::Unauthenticated => unauthenticated(&reason, &skew),
        Meaning::Forbidden => {
            reason.push_str(&proxy_if(!is_from_service, target));
            forbidden(
                reason,
                "grant Storage Blob Data Contributor (or the SAS permissions rwl) on the file system, and \
                 let its firewall admit this machine",
            )
        }
        Meaning::Disabled => forbidden(
            reason,
            "enable the storage account or the file system again",
        ),
        Meaning::NoKey => forbidden(
            reason,
            "give the storage account access to its customer-managed key in Key Vault",
        ),
        Meaning::Protected => blocked(
            reason,
            "remove the lease, policy, tier or snapshot that protects it, or move the file out of the lake",
        ),
        Meaning::Foreign => blocked(
            reason,
            "another tool or API wrote it (such as the Data Lake API), so silt can't add blocks to it: move \
             the file out of the lake, or copy it to the same name with the Blob API",
        ),
        Meaning::Full => blocked(
            reason,
            "lower MAX_FILE_COMMITS; Azure drops uncommitted blocks after a week",
        ),
        Meaning::ProxyAuthentication => LakeError::Refused {
            reason: format!(
                "{reason}: the proxy wants credentials{}",
                if target.proxy.is_some() {
                    target.proxy_remedy()
                } else {
                    "; check the proxy on the way to the lake".to_owned()
                }
            ),
        },
        Meaning::Busy => {
            reason.push_str(&proxy_if(!is_from_service, target));
            LakeError::Unavailable {
                reason,
                after_ms,
                source: None,
            }
        }
        Meaning::Unexpected => LakeError::Refused {
            reason: format!(
                "{reason}; look up the code in Azure's documentation (Blob service error codes){}",
                proxy_if(!is_from_service, target)
            ),
        },
    }
}

/// 403 is sent for a wrong credential and for one that lacks a permission. Only the text tells them apart where
/// the code is missing.
const FAILED_TO_AUTHENTICATE: &str = "failed to authenticate the request";

fn unauthenticated(reason: &str, skew: &str) -> LakeError {
    LakeError::Unauthenticated {
        reason: format!("{reason}{skew}"),
        remedy: "check AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, its expiry, and that this \
                 machine's clock is right to 15 minutes",
    }
}

fn proxy_if(is_suspect: bool, target: Target<'_>) -> String {
    if is_suspect {
        target.proxy_remedy()
    } else {
        String::new()
    }
}

fn reason(status: u16, code: &str, error: azure_core::Error) -> String {
    let message = StorageError::try_from(error)
        .ok()
        .and_then(|error| error.message)
        .map(|message| format!(": {}", first_line(&message)))
        .unwrap_or_default();
    let code = if code.is_empty() {
        String::new()
    } else {
        format!(" {code}")
    };
    format!("{status}{code}{message}")
}

/// Describes the difference between the clocks if it is several minutes. The times themselves are left out: the
/// same error must read the same at every attempt.
fn skew(date: &str, now: chrono::DateTime<chrono::Utc>) -> String {
    const TOLERATED_MINUTES: u64 = 5;
    let Ok(theirs) = chrono::DateTime::parse_from_rfc2822(date) else {
        return String::new();
    };
    let minutes_fast = now.signed_duration_since(theirs).num_minutes();
    let minutes = minutes_fast.unsigned_abs();
    let direction = if minutes_fast > 0 { "fast" } else { "slow" };
    if minutes < TOLERATED_MINUTES {
        return String::new();
    }
    format!(" (this machine's clock is {minutes} minutes {direction})")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Whether a token request failed because of the network or a busy login service. The SDK wraps the cause. A
/// missing file or program is not among the kinds that it tells apart, so it counts as permanent.
pub(super) fn is_transient(error: &azure_core::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        let kind = inner
            .downcast_ref::<azure_core::Error>()
            .map(azure_core::Error::kind);
        match kind {
            Some(ErrorKind::Connection | ErrorKind::Io) => return true,
            Some(ErrorKind::HttpResponse { status, .. }) => {
                return matches!(u16::from(*status), 408 | 429 | 500..=599);
            }
            _ => cause = inner.source(),
        }
    }
    false
}

/// The message with those of its causes: a network error names its cause only there.
fn with_causes(error: &azure_core::Error) -> String {
    let mut text = first_line(&error.to_string());
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let line = first_line(&inner.to_string());
        // A URL may contain a signature.
        if !text.contains(&line) && !line.contains("://") {
            text = format!("{text}: {line}");
        }
        cause = inner.source();
    }
    match text.split_once(" for url (") {
        Some((before, after)) => {
            let rest = after.split_once(')').map_or("", |(_, rest)| rest);
            format!("{before}{rest}")
        }
        None => text,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use silt_core::failure::Disposition;

    const ROOT: Target<'_> = Target {
        filesystem: "fs",
        path: None,
        proxy: None,
    };

    /// The error for a response of the service about the file `users/f`.
    pub(in super::super) fn classified(status: u16, code: &str) -> LakeError {
        let path = LakePath {
            folder: "users".into(),
            name: "f".into(),
        };
        let target = Target {
            path: Some(&path),
            ..ROOT
        };
        sort(target, response(status, code))
    }

    fn response(status: u16, code: &str) -> Response {
        Response {
            status,
            code: code.into(),
            reason: format!("{status} {code}"),
            after_ms: None,
            skew: String::new(),
            is_from_service: true,
        }
    }

    #[test]
    fn the_delay_that_the_service_asks_for_is_kept() {
        let busy = Response {
            after_ms: Some(7000),
            ..response(503, "ServerBusy")
        };
        let expected = Disposition::Retry {
            after_ms: Some(7000),
        };
        assert_eq!(sort(ROOT, busy).disposition(), expected);
    }

    #[test]
    fn a_proxy_is_named_where_it_may_be_at_fault() {
        let target = Target {
            proxy: Some("http://proxy:3128"),
            ..ROOT
        };
        let from_proxy = |status| Response {
            is_from_service: false,
            ..response(status, "")
        };
        let cut = azure_core::Error::with_message(ErrorKind::Connection, "refused");
        for (error, names_it) in [
            (classify(target, cut), true),
            (sort(target, from_proxy(502)), true),
            (sort(target, from_proxy(403)), true),
            (sort(target, from_proxy(407)), true),
            (sort(target, response(503, "ServerBusy")), false),
            (sort(ROOT, from_proxy(502)), false),
        ] {
            let error = error.to_string();
            assert_eq!(error.contains("http://proxy:3128"), names_it, "{error}");
            assert_eq!(error.contains("HTTPS_PROXY"), names_it, "{error}");
        }
    }

    #[test]
    fn a_token_request_is_retried_if_the_network_is_at_fault() {
        let wrapped = |inner: azure_core::Error| {
            let inner = azure_core::Error::with_error(ErrorKind::Credential, inner, "one fails");
            azure_core::Error::with_error(ErrorKind::Credential, inner, "all fail")
        };
        let refused = |status: u16| {
            wrapped(azure_core::Error::new(
                ErrorKind::HttpResponse {
                    status: status.into(),
                    error_code: None,
                    raw_response: None,
                },
                "the login service's message",
            ))
        };
        let io = || std::io::Error::other("no such file");
        for (error, disposition) in [
            (
                wrapped(azure_core::Error::new(ErrorKind::Connection, io())),
                Disposition::RETRY,
            ),
            (
                wrapped(azure_core::Error::new(ErrorKind::Io, io())),
                Disposition::RETRY,
            ),
            (refused(503), Disposition::RETRY),
            (refused(429), Disposition::RETRY),
            (refused(400), Disposition::Halt),
            (refused(401), Disposition::Halt),
            // A federated token file or a program that does not exist.
            (
                azure_core::Error::new(ErrorKind::Credential, io()),
                Disposition::Halt,
            ),
            (
                azure_core::Error::with_message(ErrorKind::Credential, "no identity"),
                Disposition::Halt,
            ),
        ] {
            let text = format!("{error:?}");
            let error = classify(ROOT, error);
            assert!(matches!(error, LakeError::NoToken { .. }), "{error}");
            assert_eq!(error.disposition(), disposition, "{text}");
        }
    }

    #[test]
    fn a_clock_is_named_if_it_is_off_by_minutes() {
        let now = "2024-01-15T14:00:30Z".parse().unwrap();
        for (date, expected) in [
            ("Mon, 15 Jan 2024 14:00:00 GMT", ""),
            ("Mon, 15 Jan 2024 14:04:00 GMT", ""),
            ("nonsense", ""),
            (
                "Mon, 15 Jan 2024 14:20:30 GMT",
                " (this machine's clock is 20 minutes slow)",
            ),
            (
                "Mon, 15 Jan 2024 13:43:00 GMT",
                " (this machine's clock is 17 minutes fast)",
            ),
        ] {
            assert_eq!(skew(date, now), expected, "{date}");
        }
    }
}
