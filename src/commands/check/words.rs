//! What network and certificate errors mean, in clear words.

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
    fn certificate_trouble_is_named() {
        for (error, what, mend) in [
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
            let (found, found_mend) = tls(error, "MONGODB_URI").unwrap();
            assert!(found.contains(what), "{error}: {found}");
            assert!(found_mend.contains(mend), "{error}: {found_mend}");
        }
        assert_eq!(
            tls("Connection refused (os error 111)", "MONGODB_URI"),
            None
        );
        let (_, mend) = tls("UnknownIssuer", "AZURE_STORAGE_ENDPOINT").unwrap();
        assert!(!mend.contains("tlsCAFile"), "{mend}");
    }
}
