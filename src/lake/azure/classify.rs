//! Azure's errors by meaning.
//! <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>

use azure_core::error::ErrorKind;
use azure_storage_blob::StorageError;

use super::super::{LakeError, LakePath};

/// What a request was about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) filesystem: &'a str,
    pub(super) path: Option<&'a LakePath>,
}

impl Target<'_> {
    fn name(self) -> String {
        match self.path {
            Some(path) => path.to_string(),
            None => format!("file system {}", self.filesystem),
        }
    }
}

/// What the service said, without anything secret.
struct Answer {
    status: u16,
    code: String,
    reason: String,
    after_ms: Option<u64>,
    /// How far this machine's clock is off, if that is far.
    skew: String,
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
            let is_passing = is_passing(&error);
            return LakeError::NoToken {
                reason: with_causes(&error),
                is_passing,
                mend: if is_passing {
                    "look at the way to Entra ID (login.microsoftonline.com, or AZURE_AUTHORITY_HOST)"
                } else {
                    "look at the workload identity, managed identity or AZURE_ variables of the \
                     credential"
                },
            };
        }
        _ => {
            let reason = with_causes(&error);
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
    // Not in the message: the same trouble must read the same at every try.
    let request_id = header("x-ms-request-id").unwrap_or_default();
    tracing::debug!(status, code, request_id, "refused by the lake");
    let reason = reason(status, &code, error);
    sort(
        target,
        Answer {
            status,
            code,
            reason,
            after_ms,
            skew,
        },
    )
}

fn sort(target: Target<'_>, answer: Answer) -> LakeError {
    let Answer {
        status,
        code,
        reason,
        after_ms,
        skew,
    } = answer;
    let path = target.name();
    match (status, code.as_str()) {
        // These come with 412 like a stale condition.
        (_, "LeaseIdMissing" | "LeaseIdMismatchWithBlobOperation" | "LeaseLost") => {
            LakeError::Blocked { path, reason }
        }
        (412, _)
        | (404, "BlobNotFound")
        | (409, "BlobAlreadyExists" | "ContainerAlreadyExists" | "PathAlreadyExists")
        // Another writer's commit has dropped the blocks that we had staged.
        | (400, "InvalidBlockList") => LakeError::Stale { path },
        (404, "ContainerNotFound" | "FilesystemNotFound") => {
            LakeError::NoRoot { root: format!("file system {}", target.filesystem), reason }
        }
        (401 | 403, _) if is_unauthenticated(status, &code, &reason) => {
            LakeError::Unauthenticated {
                reason: format!("{reason}{skew}"),
                mend: "check AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, its expiry, and \
                       that this machine's clock is right to 15 minutes",
            }
        }
        (403, "AccountIsDisabled") => LakeError::Forbidden {
            reason,
            mend: "enable the storage account again",
        },
        (403, _) => LakeError::Forbidden {
            reason,
            mend: "grant Storage Blob Data Contributor (or the SAS rights rwl) on the file system, \
                   and let its firewall admit this machine",
        },
        (
            409,
            "BlobImmutableDueToPolicy" | "InvalidBlobType" | "BlobArchived"
            | "InvalidFlushOperation" | "ResourceTypeMismatch" | "BlobTypeNotSupported"
            | "BlockCountExceedsLimit" | "RequestEntityTooLargeBlockCountExceedsLimit",
        ) => LakeError::Blocked { path, reason },
        // 409 ContainerBeingDeleted and the like pass.
        (408 | 409 | 429 | 500..=599, _) => {
            LakeError::Unavailable { reason, after_ms, source: None }
        }
        _ => LakeError::Refused {
            reason: format!(
                "{reason}; look its code up in Azure's documentation (Blob service error codes)"
            ),
        },
    }
}

/// 403 is said of a wrong credential and of a good one that lacks a right.
fn is_unauthenticated(status: u16, code: &str, reason: &str) -> bool {
    status == 401
        || matches!(code, "AuthenticationFailed" | "InvalidAuthenticationInfo")
        || reason.contains("failed to authenticate the request")
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

/// Says so if the clocks differ by minutes. Not the time itself: the same trouble must read the same at
/// every try.
fn skew(date: &str, now: chrono::DateTime<chrono::Utc>) -> String {
    const TOLERATED_MINUTES: u64 = 5;
    let Ok(theirs) = chrono::DateTime::parse_from_rfc2822(date) else {
        return String::new();
    };
    let ahead = now.signed_duration_since(theirs).num_minutes();
    let (minutes, way) = (
        ahead.unsigned_abs(),
        if ahead > 0 { "ahead of" } else { "behind" },
    );
    if minutes < TOLERATED_MINUTES {
        return String::new();
    }
    format!(" (this machine's clock is {minutes} minutes {way} the service's)")
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Whether a token didn't come for a reason that passes. The SDK wraps what happened; a file that can't be
/// read or a program that isn't there is no error of its own.
pub(super) fn is_passing(error: &azure_core::Error) -> bool {
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

/// A network error says what happened only in its causes.
fn with_causes(error: &azure_core::Error) -> String {
    let mut text = first_line(&error.to_string());
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let line = first_line(&inner.to_string());
        // A URL may carry a signature.
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
mod tests {
    use super::*;
    use silt_core::failure::Disposition;

    fn sorted(status: u16, code: &str) -> LakeError {
        let path = LakePath {
            folder: "users".into(),
            name: "f".into(),
        };
        let target = Target {
            filesystem: "fs",
            path: Some(&path),
        };
        sort(
            target,
            Answer {
                status,
                code: code.into(),
                reason: format!("{status} {code}"),
                after_ms: Some(7000),
                skew: String::new(),
            },
        )
    }

    #[test]
    fn answers_have_their_disposition() {
        let retry = Disposition::Retry {
            after_ms: Some(7000),
        };
        for (status, code, expected) in [
            (412, "ConditionNotMet", Disposition::Reload),
            (412, "LeaseIdMissing", Disposition::Halt),
            (404, "BlobNotFound", Disposition::Reload),
            (409, "BlobAlreadyExists", Disposition::Reload),
            (400, "InvalidBlockList", Disposition::Reload),
            (404, "ContainerNotFound", Disposition::Halt),
            (401, "", Disposition::Halt),
            (403, "AuthenticationFailed", Disposition::Halt),
            (403, "AuthorizationPermissionMismatch", Disposition::Halt),
            (409, "BlobImmutableDueToPolicy", Disposition::Halt),
            (409, "BlockCountExceedsLimit", Disposition::Halt),
            (409, "ContainerBeingDeleted", retry),
            (429, "", retry),
            (500, "OperationTimedOut", retry),
            (503, "ServerBusy", retry),
            (400, "InvalidHeaderValue", Disposition::Halt),
        ] {
            assert_eq!(
                sorted(status, code).disposition(),
                expected,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn a_token_that_the_network_holds_up_is_waited_for() {
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
                "the login service's words",
            ))
        };
        let io = || std::io::Error::other("no such file");
        let target = Target {
            filesystem: "fs",
            path: None,
        };
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
            // The file of a federated token, or a program that is not there.
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
            let error = classify(target, error);
            assert!(matches!(error, LakeError::NoToken { .. }), "{error}");
            assert_eq!(error.disposition(), disposition, "{text}");
        }
    }

    #[test]
    fn a_clock_that_is_off_is_named_and_one_that_is_right_is_not() {
        let now = "2024-01-15T14:00:30Z".parse().unwrap();
        for (date, expected) in [
            ("Mon, 15 Jan 2024 14:00:00 GMT", ""),
            ("Mon, 15 Jan 2024 14:04:00 GMT", ""),
            ("nonsense", ""),
            (
                "Mon, 15 Jan 2024 14:20:30 GMT",
                " (this machine's clock is 20 minutes behind the service's)",
            ),
            (
                "Mon, 15 Jan 2024 13:43:00 GMT",
                " (this machine's clock is 17 minutes ahead of the service's)",
            ),
        ] {
            assert_eq!(skew(date, now), expected, "{date}");
        }
    }
}
