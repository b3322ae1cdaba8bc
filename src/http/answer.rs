//! Answers, and the headers that all of them have.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};
use serde::Serialize;

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer(Response<Full<Bytes>>);

impl Answer {
    /// An answer of a media type.
    pub(super) fn new(status: StatusCode, media_type: &'static str, body: String) -> Self {
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        let answer = Self(response);
        answer
            .with(CONTENT_TYPE, media_type)
            .with(CACHE_CONTROL, "no-store")
            .with(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// Adds a header.
    pub(super) fn with(self, name: hyper::header::HeaderName, value: &'static str) -> Self {
        self.with_value(name, HeaderValue::from_static(value))
    }

    /// Adds a header that was made.
    pub(super) fn with_value(
        mut self,
        name: hyper::header::HeaderName,
        value: HeaderValue,
    ) -> Self {
        self.0.headers_mut().insert(name, value);
        self
    }

    /// Hands it over to be sent.
    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        self.0
    }

    #[cfg(test)]
    pub(super) fn status(&self) -> StatusCode {
        self.0.status()
    }

    #[cfg(test)]
    pub(super) fn header(&self, name: &hyper::header::HeaderName) -> &str {
        self.0.headers()[name].to_str().unwrap()
    }

    #[cfg(test)]
    pub(super) fn text(self) -> String {
        use futures::FutureExt as _;
        use http_body_util::BodyExt as _;

        let body = self.0.into_body().collect().now_or_never().unwrap();
        String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
    }
}

/// A JSON document on a line.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    match silt_core::json::to_line(body) {
        Ok(body) => Answer::new(status, "application/json", body + "\n"),
        Err(error) => Answer::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "text/plain; charset=utf-8",
            error.to_string(),
        ),
    }
}

/// A refusal that says why: `{"error":"…"}`.
pub(super) fn refusal(status: StatusCode, why: &str) -> Answer {
    #[derive(Serialize)]
    struct Refusal<'a> {
        error: &'a str,
    }
    json(status, &Refusal { error: why })
}
