//! Sending requests: bounded answers, one error for every way to fail, repetition of what has no side effects.
//!
//! Only `GET` and `HEAD` are repeated, and only when the first attempt surely came to nothing or was turned away
//! (unreachable, throttled, 502 to 504). Everything else is the caller's to repeat, who knows what it would do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use slipstream_model::{IndexName, event};
use tokio::sync::OnceCell;

use crate::answer::Refusal;
use crate::config::{Auth, ClusterConfig, Secret, Timeouts};
use crate::error::{ClusterError, ErrorKind, Result};
use crate::identity::ClusterIdentity;
use crate::{path, tls};

/// Answers that are not pages: state, statistics, mappings, outcomes of bulks.
pub(crate) const ANSWER_LIMIT: usize = 256 << 20;
/// Bodies of refusals, whatever the limit for the answer itself.
const REFUSAL_LIMIT: usize = 1 << 20;
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// A connection pool to one cluster. Clones share it.
#[derive(Debug, Clone)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    /// Without a trailing slash.
    url: String,
    auth: Auth,
    timeouts: Timeouts,
    identity: OnceCell<Arc<ClusterIdentity>>,
    /// The distribution turned out to have no points in time although the release has.
    lacks_pit: AtomicBool,
    /// Whether the log has it that the cluster cannot be reached.
    unreachable: AtomicBool,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// Encoded, without parameters.
    pub(crate) path: String,
    /// Encoded, without the question mark; may be empty.
    pub(crate) query: String,
    body: Option<(Bytes, &'static str)>,
    opaque_id: Option<String>,
    /// The `Authorization` of somebody else, in place of ours.
    shown: Option<Secret>,
    /// Moves or changes much, so it has the longer deadline.
    heavy: bool,
    limit: usize,
}

/// An answer of any status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>, query: impl Into<String>) -> Self {
        Call {
            method,
            path: path.into(),
            query: query.into(),
            body: None,
            opaque_id: None,
            shown: None,
            heavy: false,
            limit: ANSWER_LIMIT,
        }
    }

    pub(crate) fn get(path: impl Into<String>, query: impl Into<String>) -> Self {
        Call::new(Method::GET, path, query)
    }

    pub(crate) fn post(path: impl Into<String>, query: impl Into<String>) -> Self {
        Call::new(Method::POST, path, query)
    }

    pub(crate) fn put(path: impl Into<String>, query: impl Into<String>) -> Self {
        Call::new(Method::PUT, path, query)
    }

    pub(crate) fn heavy(mut self) -> Self {
        self.heavy = true;
        self
    }

    pub(crate) fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    pub(crate) fn body(mut self, bytes: Bytes, content_type: &'static str) -> Self {
        self.body = Some((bytes, content_type));
        self
    }

    pub(crate) fn shows(mut self, authorization: Option<&Secret>) -> Self {
        self.shown = authorization.cloned();
        self
    }

    pub(crate) fn opaque_id(mut self, id: &str) -> Self {
        self.opaque_id = Some(id.to_owned());
        self
    }
}

impl Cluster {
    /// A client for the configured cluster. Reads certificates but does not touch the network.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the address, a certificate or a credential cannot be used.
    pub fn new(config: &ClusterConfig) -> Result<Cluster> {
        let bad = |reason: &str| ClusterError::new(ErrorKind::Config, redacted(&config.url), reason);
        let url = Url::parse(&config.url)
            .map_err(|e| bad("the address of the cluster is no URL").with_source(e))?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad(
                "the address of the cluster must begin with http:// or https:// and name a host",
            ));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad(
                "the address of the cluster must not hold credentials: give them by their own settings",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(bad("the address of the cluster must end with its path"));
        }
        let tls = tls::client_config(config, url.scheme() == "https")
            .map_err(|e| bad("TLS towards the cluster cannot be set up").with_source(e))?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(config.timeouts.connect)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_keepalive(Duration::from_secs(30))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .build()
            .map_err(|e| bad("the HTTP client cannot be set up").with_source(e))?;
        Ok(Cluster {
            inner: Arc::new(Inner {
                http,
                url: url.as_str().trim_end_matches('/').to_owned(),
                auth: config.auth.clone(),
                timeouts: config.timeouts,
                identity: OnceCell::new(),
                lacks_pit: AtomicBool::new(false),
                unreachable: AtomicBool::new(false),
            }),
        })
    }

    /// The cluster's address, without a trailing slash.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Where the identity is remembered.
    pub(crate) fn identity_cell(&self) -> &OnceCell<Arc<ClusterIdentity>> {
        &self.inner.identity
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        self.inner.timeouts
    }

    pub(crate) fn lacks_pit(&self) -> bool {
        self.inner.lacks_pit.load(Ordering::Relaxed)
    }

    pub(crate) fn set_lacks_pit(&self) {
        self.inner.lacks_pit.store(true, Ordering::Relaxed);
    }

    /// The path segment of an index.
    pub(crate) fn segment(&self, index: &IndexName) -> Result<String> {
        path::segment(index).ok_or_else(|| {
            let reason = format!("`{index}` cannot be the name of an index");
            ClusterError::new(ErrorKind::BadRequest, self.url(), reason)
        })
    }

    /// An error about a request.
    pub(crate) fn error(&self, kind: ErrorKind, call: &Call) -> ClusterError {
        ClusterError::of_request(kind, self.url(), call.method.as_str(), &call.path)
    }

    /// What an answer that is not 2xx means.
    pub(crate) fn refused(&self, call: &Call, answer: &Answer) -> ClusterError {
        let refusal = Refusal::of_body(&answer.body);
        let error = self
            .error(refusal.classify(answer.status), call)
            .with_status(answer.status);
        let error = if refusal.reason.is_empty() {
            error
        } else {
            error.with_reason(refusal.reason)
        };
        error.with_engine_type(refusal.kind)
    }

    /// An answer of status 2xx, read as JSON.
    pub(crate) async fn json<T: DeserializeOwned>(&self, call: &Call) -> Result<T> {
        let answer = self.ok(call).await?;
        self.parse(call, &answer.body)
    }

    /// Reads a body as JSON.
    pub(crate) fn parse<T: DeserializeOwned>(&self, call: &Call, body: &[u8]) -> Result<T> {
        serde_json::from_slice(body).map_err(|e| {
            self.error(ErrorKind::Protocol, call)
                .with_reason("the answer is not what an engine answers")
                .with_source(e)
        })
    }

    /// A JSON body.
    pub(crate) fn to_json(&self, value: &(impl Serialize + ?Sized)) -> Result<Bytes> {
        serde_json::to_vec(value).map(Bytes::from).map_err(|e| {
            ClusterError::new(
                ErrorKind::BadRequest,
                self.url(),
                "the request cannot be written as JSON",
            )
            .with_source(e)
        })
    }

    /// An answer of status 2xx.
    pub(crate) async fn ok(&self, call: &Call) -> Result<Answer> {
        let answer = self.send(call).await?;
        if (200..300).contains(&answer.status) {
            Ok(answer)
        } else {
            Err(self.refused(call, &answer))
        }
    }

    /// An answer of any status; reads are repeated where that cannot do harm.
    pub(crate) async fn send(&self, call: &Call) -> Result<Answer> {
        let attempts = if matches!(call.method, Method::GET | Method::HEAD) {
            ATTEMPTS
        } else {
            1
        };
        let mut attempt = 1;
        loop {
            let outcome = self.attempt(call).await;
            let again = match &outcome {
                Ok(answer) => matches!(answer.status, 429 | 502..=504),
                Err(error) => error.kind == ErrorKind::Unreachable,
            };
            if !again || attempt == attempts {
                return outcome;
            }
            let pause = FIRST_PAUSE * 4u32.pow(attempt - 1);
            tracing::debug!(method = %call.method, path = call.path, attempt, "repeating a read");
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            attempt += 1;
        }
    }

    async fn attempt(&self, call: &Call) -> Result<Answer> {
        let Inner {
            http,
            url,
            auth,
            timeouts,
            ..
        } = &*self.inner;
        let mark = if call.query.is_empty() { "" } else { "?" };
        let target = format!("{url}{}{mark}{}", call.path, call.query);
        let mut request = http.request(call.method.clone(), target).timeout(if call.heavy {
            timeouts.bulk
        } else {
            timeouts.read
        });
        let secret = |text: &str, wrong: &str| {
            let mut value =
                HeaderValue::try_from(text).map_err(|_| ClusterError::new(ErrorKind::Config, url, wrong))?;
            value.set_sensitive(true);
            Ok::<_, ClusterError>(value)
        };
        request = match (&call.shown, auth) {
            (Some(shown), _) => {
                let wrong = "the credentials hold characters that no header has";
                request.header(AUTHORIZATION, secret(shown.expose(), wrong)?)
            }
            (None, Auth::None) => request,
            (None, Auth::Basic { username, password }) => {
                request.basic_auth(username, Some(password.expose()))
            }
            (None, Auth::ApiKey(key)) => {
                let wrong = "the API key holds characters that no key has";
                request.header(AUTHORIZATION, secret(&format!("ApiKey {}", key.expose()), wrong)?)
            }
        };
        if let Some((bytes, content_type)) = &call.body {
            request = request.header(CONTENT_TYPE, *content_type).body(bytes.clone());
        }
        if let Some(id) = &call.opaque_id {
            request = request.header("X-Opaque-Id", id);
        }
        let response = request.send().await.map_err(|e| self.broken(call, e))?;
        self.answered();
        let status = response.status().as_u16();
        let limit = if response.status().is_success() {
            call.limit
        } else {
            REFUSAL_LIMIT
        };
        let body = self.read_body(call, response, limit).await?;
        Ok(Answer { status, body })
    }

    async fn read_body(&self, call: &Call, mut response: reqwest::Response, limit: usize) -> Result<Bytes> {
        let too_large = || {
            let reason = format!("the answer is larger than {limit} bytes");
            self.error(ErrorKind::TooLarge, call).with_reason(reason)
        };
        // `HEAD` answers tell the length of a body that does not come.
        let told = if call.method == Method::HEAD {
            0
        } else {
            response.content_length().unwrap_or(0)
        };
        if told > limit as u64 {
            return Err(too_large());
        }
        let mut body = BytesMut::with_capacity(told as usize);
        while let Some(chunk) = response.chunk().await.map_err(|e| self.broken(call, e))? {
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// A request that got no whole answer.
    fn broken(&self, call: &Call, error: reqwest::Error) -> ClusterError {
        let kind = if error.is_connect() {
            ErrorKind::Unreachable
        } else if error.is_builder() {
            ErrorKind::BadRequest
        } else {
            ErrorKind::Unknown
        };
        let error = self.error(kind, call).with_source(error.without_url());
        if kind == ErrorKind::Unreachable {
            self.unreachable(&error);
        }
        error
    }

    /// Says once that the cluster takes no connections.
    fn unreachable(&self, error: &ClusterError) {
        if !self.inner.unreachable.swap(true, Ordering::Relaxed) {
            let (url, reason) = (self.url(), slipstream_model::words::chain(error));
            tracing::warn!(
                event = event::CLUSTER_UNREACHABLE,
                url,
                reason,
                "the cluster cannot be reached"
            );
        }
    }

    /// Says once that it does again.
    fn answered(&self) {
        if self.inner.unreachable.load(Ordering::Relaxed)
            && self.inner.unreachable.swap(false, Ordering::Relaxed)
        {
            tracing::info!(
                event = event::CLUSTER_BACK,
                url = self.url(),
                "the cluster answers again"
            );
        }
    }
}

/// The address as far as it may be shown when it turned out to be unusable.
fn redacted(url: &str) -> String {
    match url.rsplit_once('@') {
        Some((front, host)) => format!(
            "{}…@{host}",
            front
                .split_once("://")
                .map_or("", |(scheme, _)| &url[..scheme.len() + 3])
        ),
        None => url.to_owned(),
    }
}
