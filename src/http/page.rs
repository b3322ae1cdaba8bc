//! `/`: the page, one file that carries its style and its script.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY, X_FRAME_OPTIONS};
use sha2::{Digest as _, Sha256};

use super::answer::Answer;

const PAGE: &str = include_str!("page/index.html");

/// Nothing but what the page itself carries runs or is fetched.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        digest_of("style"),
        digest_of("script")
    );
    // Letters, digits and punctuation; should that ever be wrong, nothing runs at all.
    HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
});

/// The page as an answer.
pub(super) fn page() -> Answer {
    Answer::new(StatusCode::OK, "text/html; charset=utf-8", PAGE.to_owned())
        .with_value(CONTENT_SECURITY_POLICY, POLICY.clone())
        .with(REFERRER_POLICY, "no-referrer")
        .with(X_FRAME_OPTIONS, "DENY")
}

/// The digest of an element's text, by which the policy allows it.
fn digest_of(element: &str) -> String {
    STANDARD.encode(Sha256::digest(text_of(element).unwrap_or_default()))
}

fn text_of(element: &str) -> Option<&'static str> {
    let (_, behind) = PAGE.split_once(&format!("<{element}>"))?;
    let (text, _) = behind.split_once(&format!("</{element}>"))?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_allows_the_pages_own_style_and_script_and_nothing_else() {
        for element in ["style", "script"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "{element}");
            assert!(!text_of(element).unwrap().is_empty());
        }
        let answer = page();
        let policy = answer.header(&CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
        for loophole in [
            " style=",
            " onclick=",
            " onload=",
            "http://",
            "https://",
            "unsafe-",
        ] {
            assert!(
                !PAGE.replace("http://www.w3.org", "").contains(loophole),
                "{loophole}"
            );
        }
    }
}
