//! A small HTTP client for tests, independent of the product's: what a test sends and sees must not pass through
//! the code under test.

use std::{fmt::Display, time::Duration};

use serde_json::Value;
use tokio::time::Instant;

use crate::aside;

/// A server that hangs must not hang a test; a merge of two busy servers on two cores may well take half a minute.
const REQUEST_LIMIT: Duration = Duration::from_mins(1);

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
#[error("{method} {url} got no answer")]
pub struct NoAnswer {
    /// The method.
    pub method: &'static str,
    /// The whole URL.
    pub url: String,
    /// What went wrong on the way.
    #[source]
    pub source: reqwest::Error,
}

/// A client of one server. Clones share connections.
#[derive(Debug, Clone)]
pub struct Es {
    url: String,
    http: reqwest::Client,
    login: Option<Login>,
}

/// How a client says who it is.
#[derive(Debug, Clone)]
enum Login {
    Password(String, String),
    /// The whole of the header.
    Header(String),
}

impl Es {
    /// A client of the server at `url`, such as `http://127.0.0.1:9200`; an agent's gateway is as good.
    pub fn new(url: &str) -> Self {
        Self::trusting(url, None)
    }

    /// A client that trusts this CA, given as PEM.
    pub fn trusting(url: &str, ca_pem: Option<&[u8]>) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            http: http_client(ca_pem),
            login: None,
        }
    }

    /// The same client as somebody; connections are shared.
    #[must_use]
    pub fn as_user(&self, name: &str, password: &str) -> Self {
        Self {
            login: Some(Login::Password(name.to_owned(), password.to_owned())),
            ..self.clone()
        }
    }

    /// The same client with this in the header `Authorization`, such as `ApiKey …`.
    #[must_use]
    pub fn showing(&self, authorization: &str) -> Self {
        Self {
            login: Some(Login::Header(authorization.to_owned())),
            ..self.clone()
        }
    }

    /// The same client as nobody.
    #[must_use]
    pub fn as_nobody(&self) -> Self {
        Self {
            login: None,
            ..self.clone()
        }
    }

    /// The server's URL, without a slash at its end.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// GET; status and JSON body (`null` where it is not JSON). Panics where no answer comes.
    pub async fn get(&self, path: &str) -> (u16, Value) {
        must(self.try_get(path).await)
    }

    /// GET; status and the body's very bytes. Panics where no answer comes.
    pub async fn get_bytes(&self, path: &str) -> (u16, Vec<u8>) {
        must(self.try_send("GET", path, None).await)
    }

    /// GET that reports a missing answer instead of panicking.
    pub async fn try_get(&self, path: &str) -> Result<(u16, Value), NoAnswer> {
        self.try_send("GET", path, None).await.map(parse)
    }

    /// PUT of a JSON body. Panics where no answer comes.
    pub async fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.put_bytes(path, body.to_string().into_bytes()).await
    }

    /// PUT of a body exactly as it is, declared as JSON. Panics where no answer comes.
    pub async fn put_bytes(&self, path: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        parse(must(
            self.try_send("PUT", path, Some(("application/json", body.into())))
                .await,
        ))
    }

    /// POST of a JSON body. Panics where no answer comes.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.post_bytes(path, body.to_string().into_bytes()).await
    }

    /// POST of a body exactly as it is, declared as JSON. Panics where no answer comes.
    pub async fn post_bytes(&self, path: &str, body: impl Into<Vec<u8>>) -> (u16, Value) {
        parse(must(
            self.try_send("POST", path, Some(("application/json", body.into())))
                .await,
        ))
    }

    /// `POST _bulk` of lines exactly as they are. Panics where no answer comes.
    pub async fn bulk(&self, path: &str, lines: impl Into<Vec<u8>>) -> (u16, Value) {
        parse(must(
            self.try_send("POST", path, Some(("application/x-ndjson", lines.into())))
                .await,
        ))
    }

    /// DELETE. Panics where no answer comes.
    pub async fn delete(&self, path: &str) -> (u16, Value) {
        parse(must(self.try_send("DELETE", path, None).await))
    }

    /// Refreshes an index, so that a search sees every write before.
    pub async fn refresh(&self, index: &str) {
        let (status, answer) = self.post_bytes(&format!("/{index}/_refresh"), "").await;
        assert_eq!(status, 200, "refresh of {index}: {answer}");
    }

    /// Any request: status and the body's very bytes. `body` is a content type and the bytes.
    pub async fn try_send(
        &self,
        method: &'static str,
        path: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<(u16, Vec<u8>), NoAnswer> {
        let url = format!("{}{path}", self.url);
        let failed = |source| NoAnswer {
            method,
            url: url.clone(),
            source,
        };
        let verb = reqwest::Method::from_bytes(method.as_bytes()).unwrap_or(reqwest::Method::GET);
        let mut request = self.http.request(verb, &url);
        request = match &self.login {
            Some(Login::Password(name, password)) => request.basic_auth(name, Some(password)),
            Some(Login::Header(value)) => request.header("authorization", value),
            None => request,
        };
        if let Some((content_type, body)) = body {
            request = request.header("content-type", content_type).body(body);
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(failed)?;
        Ok((status, bytes.to_vec()))
    }
}

#[expect(
    clippy::expect_used,
    reason = "with constant options, and a CA that the tests made, building a client cannot fail"
)]
fn http_client(ca_pem: Option<&[u8]>) -> reqwest::Client {
    // The client wants to know how it would speak TLS even where it does not. A provider installed earlier is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .timeout(REQUEST_LIMIT)
        .connect_timeout(Duration::from_secs(5))
        .no_proxy();
    if let Some(pem) = ca_pem {
        builder = builder.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem).expect("a CA"));
    }
    builder.build().expect("an HTTP client")
}

#[expect(
    clippy::panic,
    reason = "called from tests only, where a missing answer is a failure"
)]
#[track_caller]
fn must<T>(result: Result<T, NoAnswer>) -> T {
    match result {
        Ok(answer) => answer,
        Err(error) => panic!("{error}: {:?}", error.source),
    }
}

fn parse((status, body): (u16, Vec<u8>)) -> (u16, Value) {
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Escapes a document id, routing value or index name as one segment of a path.
pub fn escape(segment: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A wait as long as this is told.
const SLOW: Duration = Duration::from_secs(3);

/// Polls `check` until it succeeds and returns what it found; panics when `limit` has passed, telling `what` was
/// awaited and why the last check was not content.
pub async fn eventually<T, E: Display>(
    what: &str,
    limit: Duration,
    mut check: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let begun = Instant::now();
    let deadline = begun + limit;
    let mut pause = Duration::from_millis(10);
    let mut last = String::new();
    loop {
        let why = match tokio::time::timeout_at(deadline, check()).await {
            Ok(Ok(value)) => {
                // Where the time of a suite goes.
                if begun.elapsed() > SLOW {
                    aside(&format!("{:.1} s until {what}", begun.elapsed().as_secs_f64()));
                }
                return value;
            }
            Ok(Err(why)) => why.to_string(),
            Err(_) if last.is_empty() => "the check itself did not end".to_owned(),
            Err(_) => format!("the check was running again; before that: {last}"),
        };
        assert!(
            Instant::now() < deadline,
            "waited {limit:?} in vain for \"{what}\": {why}"
        );
        last = why;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_segments_survive() {
        assert_eq!(escape("a/b?c#d%e f.é"), "a%2Fb%3Fc%23d%25e%20f%2E%C3%A9");
    }

    #[tokio::test]
    async fn polling_returns_what_was_awaited() {
        let mut tries = 0;
        let found = eventually("three tries", Duration::from_secs(5), async || {
            tries += 1;
            if tries == 3 { Ok(tries) } else { Err("not yet") }
        })
        .await;
        assert_eq!(found, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "\"pigs fly\": still walking")]
    async fn polling_tells_what_it_waited_for() {
        eventually("pigs fly", Duration::from_millis(30), async || {
            Err::<(), _>("still walking")
        })
        .await;
    }
}
