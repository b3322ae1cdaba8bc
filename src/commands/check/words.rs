//! What network and certificate errors mean, in clear words.

use super::ANSWER_LIMIT;
use crate::checkpoint::CheckpointError;
use crate::lake::LakeError;
use crate::source::SourceError;

/// The lake's words. A check waits no longer than its own limit, so it names no setting that wouldn't
/// lengthen that.
pub(super) fn of_lake(error: &LakeError) -> String {
    let own_limit_ms = ANSWER_LIMIT.as_millis();
    match error {
        LakeError::TimedOut { limit_ms } if u128::from(*limit_ms) >= own_limit_ms => {
            format!("the lake did not respond within {} s", limit_ms / 1000)
        }
        other => other.to_string(),
    }
}

/// The deployment's words, likewise.
pub(super) fn of_source(error: &SourceError) -> String {
    match error {
        SourceError::Unanswered { limit_seconds } if *limit_seconds >= ANSWER_LIMIT.as_secs() => {
            format!("MongoDB gave no answer within {limit_seconds} s")
        }
        other => other.to_string(),
    }
}

/// The store's words, likewise.
pub(super) fn of_store(error: &CheckpointError) -> String {
    match error {
        CheckpointError::Deployment(error) => of_source(error),
        CheckpointError::Lake(error) => of_lake(error),
        CheckpointError::TimedOut { limit_seconds } if *limit_seconds >= ANSWER_LIMIT.as_secs() => {
            format!("no answer within {limit_seconds} s")
        }
        other => other.to_string(),
    }
}

/// What an error of a TLS handshake means, and what to do; `None` if it is of another kind. `address` is
/// the setting that names the server.
pub(super) fn tls(error: &str, address: &str) -> Option<(&'static str, String)> {
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    Some(if has(&["NotValidForName", "not valid for name"]) {
        (
            "the certificate is for another host name",
            format!("name the host in {address} as its certificate does"),
        )
    } else if has(&["NotValidYet", "not valid yet"]) {
        (
            "the certificate isn't valid yet",
            "look at this machine's clock, then at the certificate".to_owned(),
        )
    } else if has(&["Expired", "expired"]) {
        (
            "the certificate has expired",
            "renew it, and look at this machine's clock".to_owned(),
        )
    } else if has(&["UnknownIssuer", "unknown issuer"]) {
        (
            "this machine doesn't know who issued the certificate",
            format!(
                "install the issuer's certificate on this machine{}",
                if address == "MONGODB_URI" {
                    ", or name its file in MONGODB_URI: tlsCAFile=…"
                } else {
                    ""
                }
            ),
        )
    } else if has(&["CertificateRequired", "HandshakeFailure", "BadCertificate"]) {
        (
            "the server refuses the handshake: it may ask for a client's certificate",
            format!("name one in {address}: tlsCertificateKeyFile=…"),
        )
    } else if has(&["InvalidContentType", "corrupt message", "handshake eof"]) {
        (
            "what answers there doesn't speak TLS",
            format!("switch TLS off in {address}, or on at the server"),
        )
    } else if has(&["certificate", "TLS", "tls handshake"]) {
        (
            "the TLS handshake fails",
            format!("look at the certificate, and at {address}"),
        )
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_named_only_where_it_is_what_limits() {
        let lake = |limit_ms| of_lake(&LakeError::TimedOut { limit_ms });
        assert!(lake(5_000).ends_with("within 5000 ms (LAKE_TIMEOUT_SECONDS)"));
        assert!(lake(12_000).ends_with("within 12 s"));
        let source = |limit_seconds| SourceError::Unanswered { limit_seconds };
        assert!(of_source(&source(5)).ends_with("(MONGODB_TIMEOUT_SECONDS)"));
        let store = CheckpointError::Deployment(source(12));
        assert!(of_store(&store).ends_with("within 12 s"));
    }

    #[test]
    fn certificate_trouble_is_named() {
        for (error, what, fix) in [
            (
                "I/O error: invalid peer certificate: UnknownIssuer",
                "doesn't know",
                "tlsCAFile",
            ),
            (
                "invalid peer certificate: NotValidForName",
                "another host name",
                "MONGODB_URI",
            ),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for \"b\"",
                "another host name",
                "MONGODB_URI",
            ),
            ("invalid peer certificate: Expired", "has expired", "clock"),
            (
                "invalid peer certificate: certificate expired: verification time",
                "has expired",
                "clock",
            ),
            (
                "received corrupt message of type InvalidContentType",
                "doesn't speak TLS",
                "TLS off",
            ),
            (
                "received fatal alert: CertificateRequired",
                "client's certificate",
                "tlsCertificateKeyFile",
            ),
            (
                "invalid peer certificate: BadEncoding",
                "handshake fails",
                "certificate",
            ),
        ] {
            let (found, found_fix) = tls(error, "MONGODB_URI").unwrap();
            assert!(found.contains(what), "{error}: {found}");
            assert!(found_fix.contains(fix), "{error}: {found_fix}");
        }
        assert_eq!(
            tls("Connection refused (os error 111)", "MONGODB_URI"),
            None
        );
        let (_, fix) = tls("UnknownIssuer", "AZURE_STORAGE_ENDPOINT").unwrap();
        assert!(!fix.contains("tlsCAFile"), "{fix}");
    }
}
