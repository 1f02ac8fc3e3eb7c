//! The way to the target cluster: requests pass as they came, with the caller's credentials and never the agent's.
//!
//! Bodies stream both ways. The address is normalised before anything judges it, so that the guard and the target
//! read the same path.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::TryStreamExt;
use reqwest::{Certificate, Client, Url};
use serde_json::{Map, Value};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// How long the target may take to accept a connection.
const CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Bytes of an answer that the gateway reads to add to it.
const ANSWER_LIMIT: usize = 32 << 20;
/// KiB of request bodies that the gateway may hold at a time to look into them.
const HELD_KIB: usize = 128 << 10;
/// Bytes of one such body; the engines' own default limit.
pub(crate) const BODY_LIMIT: usize = 100 << 20;

/// Headers that are about one connection, not about the request.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
    header::EXPECT,
];

/// Why there is no way to the target.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The address cannot be one of a cluster.
    #[error(
        "cannot pass requests on to [{0}]: give http://HOST:PORT or https://HOST:PORT without credentials"
    )]
    Url(String),
    /// The client or its trusted authorities cannot be set up.
    #[error("cannot pass requests on to [{url}]: TLS cannot be set up; check the CA file")]
    Client {
        /// Where to.
        url: String,
        /// What the client said.
        #[source]
        source: reqwest::Error,
    },
}

/// A way to the target cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Proxy {
    base: Url,
    client: Client,
    held: Arc<Semaphore>,
}

/// What the target answered to a request whose answer the gateway adds to.
pub(crate) enum Passed {
    /// Success, with an object.
    Json(Map<String, Value>),
    /// Anything else; to be handed on.
    Refused(Response),
}

impl Proxy {
    /// A way to `url`, trusting only the authorities of `ca_pem` if given, else the system's.
    pub fn to(url: &str, ca_pem: Option<&[u8]>) -> Result<Proxy, ProxyError> {
        // The first of a process wins; all parts of slipstream mean the same one.
        _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = || ProxyError::Url(url.to_owned());
        let base = Url::parse(url).map_err(|_| wrong())?;
        let plain = base.username().is_empty() && base.password().is_none() && base.query().is_none();
        if !plain || !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong());
        }
        let failed = |source| ProxyError::Client {
            url: url.to_owned(),
            source,
        };
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_WAIT)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = ca_pem {
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(pem).map_err(failed)?);
        }
        let client = builder.build().map_err(failed)?;
        Ok(Proxy {
            base,
            client,
            held: Arc::new(Semaphore::new(HELD_KIB)),
        })
    }

    /// The target's address of a request.
    pub(crate) fn address(&self, uri: &Uri) -> Result<Address, ApiError> {
        let prefix = self.base.path().trim_end_matches('/').to_owned();
        let mut url = self.base.clone();
        url.set_path(&format!("{prefix}{}", uri.path()));
        url.set_query(uri.query());
        match url.path().strip_prefix(&prefix).map(str::to_owned) {
            Some(path) => Ok(Address { url, path }),
            None => Err(ApiError::illegal(format!(
                "path [{}] leads out of the target",
                uri.path()
            ))),
        }
    }

    /// Passes a request on; the answer streams.
    pub(crate) async fn pass(
        &self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Response, ApiError> {
        let body = if body.is_end_stream() {
            // A stream of nothing would be sent as one, in chunks.
            reqwest::Body::default()
        } else {
            reqwest::Body::wrap_stream(body.into_data_stream())
        };
        Ok(respond(self.send(method, url, passable(headers), body).await?))
    }

    /// Passes a request on whose body has been looked into.
    pub(crate) async fn pass_held(
        &self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Response, ApiError> {
        let mut headers = passable(headers);
        headers.remove(header::CONTENT_LENGTH);
        Ok(respond(self.send(method, url, headers, body.into()).await?))
    }

    /// As [`Self::pass_held`], for an answer that is to be added to.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        url: Url,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Result<Passed, ApiError> {
        let mut headers = passable(headers);
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::ACCEPT_ENCODING);
        // Only JSON can be added to.
        headers.remove(header::ACCEPT);
        let response = self.send(method, url, headers, body.into()).await?;
        if !response.status().is_success() {
            return Ok(Passed::Refused(respond(response)));
        }
        let bytes = axum::body::to_bytes(respond(response).into_body(), ANSWER_LIMIT)
            .await
            .map_err(|_| {
                ApiError::unavailable("the target's answer broke off or is too long to be added to")
            })?;
        match serde_json::from_slice(&bytes) {
            Ok(object) => Ok(Passed::Json(object)),
            Err(_) => Err(ApiError::unavailable("the target's answer is not a JSON object")),
        }
    }

    /// Repeats a `GET` at the target and takes its object.
    pub(crate) async fn get_json(&self, uri: &Uri, headers: &HeaderMap) -> Result<Passed, ApiError> {
        self.exchange(Method::GET, self.address(uri)?.url, headers, Bytes::new())
            .await
    }

    /// Sends an object in place of the request's own.
    pub(crate) async fn send_json(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
        body: &Value,
    ) -> Result<Passed, ApiError> {
        let mut headers = headers.clone();
        // This body is ours, whatever the caller's was packed in.
        headers.remove(header::CONTENT_ENCODING);
        self.exchange(method, self.address(uri)?.url, &headers, body.to_string().into())
            .await
    }

    /// Room for this many bytes of a body that has to be looked into; waits for it. Keep it as long as the body.
    pub(crate) async fn hold(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ApiError> {
        let kib = bytes.min(BODY_LIMIT).div_ceil(1024);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        let closed = |_| ApiError::unavailable("the gateway is ending");
        Arc::clone(&self.held)
            .acquire_many_owned(kib)
            .await
            .map_err(closed)
    }

    async fn send(
        &self,
        method: Method,
        url: Url,
        headers: HeaderMap,
        body: reqwest::Body,
    ) -> Result<reqwest::Response, ApiError> {
        let request = self.client.request(method, url).headers(headers).body(body);
        request.send().await.map_err(|error| {
            let error = error.without_url();
            let url = &self.base;
            tracing::warn!(%url, error = &error as &dyn std::error::Error, "cannot pass a request on");
            ApiError::new(
                StatusCode::BAD_GATEWAY,
                "no_node_available_exception",
                format!(
                    "the target cluster at {url} does not answer: check that the node is up and its address"
                ),
            )
        })
    }
}

/// Where a request goes.
#[derive(Debug)]
pub(crate) struct Address {
    /// The whole address.
    pub(crate) url: Url,
    /// The part that the engine reads: normalised, without the target's own prefix.
    pub(crate) path: String,
}

/// The headers that are about the request.
fn passable(headers: &HeaderMap) -> HeaderMap {
    let mut passed = headers.clone();
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        passed.remove(name);
    }
    passed
}

fn respond(answer: reqwest::Response) -> Response {
    let status = answer.status();
    let headers = passable(answer.headers());
    let body = Body::from_stream(answer.bytes_stream().map_err(reqwest::Error::without_url));
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(uri: &str) -> String {
        let proxy = Proxy::to("http://127.0.0.1:9200/prefix/", None).unwrap();
        proxy
            .address(&uri.parse().unwrap())
            .map_or_else(|e| e.reason().to_owned(), |address| address.path)
    }

    #[test]
    fn the_guard_reads_the_path_that_the_target_gets() {
        assert_eq!(path("/a/_doc/1?x=y"), "/a/_doc/1");
        assert_eq!(path("/a/../f1/_doc/1"), "/f1/_doc/1");
        assert_eq!(path("/a/%2e%2e/f1/_doc/1"), "/f1/_doc/1");
        assert_eq!(path("/../../f1"), "path [/../../f1] leads out of the target");
    }

    #[test]
    fn addresses_with_credentials_or_of_other_kinds_are_refused() {
        for url in ["http://u:p@h:9200", "ftp://h", "h:9200", "", "http://h/?a=b"] {
            assert!(matches!(Proxy::to(url, None), Err(ProxyError::Url(_))), "{url}");
        }
    }

    #[test]
    fn headers_of_the_connection_stay_behind() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("connection", "x-a, close"),
            ("x-a", "1"),
            ("host", "h"),
            ("authorization", "Basic x"),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let passed = passable(&headers);
        assert_eq!(
            passed.keys().map(HeaderName::as_str).collect::<Vec<_>>(),
            ["authorization"]
        );
    }
}
