//! Talking to a gateway, as any script would: over its REST API.

use std::path::Path;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Certificate, Client, Identity, Method, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use slipstream_cluster::Secret;

use crate::cli::GatewayArgs;
use crate::failure::{Failure, chain};

/// How long an answer may take; a start copies nothing before it answers.
const DEADLINE: Duration = Duration::from_mins(1);

/// What stays as it is in a path segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// What holds the password where no file does.
const PASSWORD: &str = "SLIPSTREAM_PASSWORD";

/// A gateway.
pub(crate) struct Gateway {
    base: Url,
    http: Client,
    /// Name and password.
    user: Option<(String, Secret)>,
}

/// Where one following index stands, as the gateway tells it.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the answer")]
pub(crate) struct Index {
    pub(crate) follower_index: String,
    pub(crate) leader_alias: String,
    pub(crate) leader_index: String,
    pub(crate) phase: String,
    pub(crate) reason: String,
    pub(crate) waiting_for: Option<String>,
    pub(crate) shards: Vec<Shard>,
    /// While it begins with the leader's files.
    #[serde(default)]
    pub(crate) files: Option<Files>,
    pub(crate) warnings: Vec<String>,
}

/// How far the copying of files has come.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Files {
    pub(crate) bytes_total: u64,
    pub(crate) bytes_received: u64,
    pub(crate) bytes_restored: u64,
    pub(crate) stage: String,
    pub(crate) bytes_per_second: Option<u64>,
    pub(crate) seconds_left: Option<u64>,
}

/// Where one of its shards stands.
#[derive(Debug, Clone, Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the answer")]
pub(crate) struct Shard {
    pub(crate) shard: u32,
    pub(crate) leader_checkpoint: i64,
    pub(crate) follower_checkpoint: i64,
    pub(crate) scanned: i64,
    pub(crate) bootstrap_through: Option<i64>,
    pub(crate) reader: Option<String>,
    pub(crate) lag_seconds: f64,
    pub(crate) operations_written: u64,
    pub(crate) retries: u64,
}

impl Gateway {
    /// A gateway at this address, which is not asked anything yet.
    pub(crate) fn at(args: &GatewayArgs) -> Result<Gateway, Failure> {
        _ = rustls::crypto::ring::default_provider().install_default();
        let base = Url::parse(&args.gateway)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            Failure::usage("the address of the gateway is not a URL")
                .advise("give --gateway http://HOST:PORT or set SLIPSTREAM_GATEWAY")
        })?;
        let mut builder = Client::builder().timeout(DEADLINE).no_proxy();
        if let Some(path) = &args.ca_file {
            let authorities = Certificate::from_pem_bundle(&read_file(path)?);
            builder = builder.tls_certs_only(authorities.map_err(|error| unusable(path, &error))?);
        }
        if let (Some(cert), Some(key)) = (&args.cert_file, &args.key_file) {
            let pair = [read_file(key)?, b"\n".to_vec(), read_file(cert)?].concat();
            builder = builder.identity(Identity::from_pem(&pair).map_err(|error| unusable(cert, &error))?);
        }
        let http = builder.build().map_err(|error| {
            Failure::failed(format!("the HTTP client cannot be set up: {}", chain(&error)))
        })?;
        Ok(Gateway {
            base,
            http,
            user: user(args)?,
        })
    }

    /// One call; refusals come back as what the gateway said.
    pub(crate) async fn call(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let (status, answer) = self.ask(method, segments, body).await?;
        if status.is_success() {
            Ok(answer)
        } else {
            Err(refusal(status, &answer))
        }
    }

    /// All following indices.
    pub(crate) async fn indices(&self) -> Result<Value, Failure> {
        self.call(Method::GET, &["_slipstream", "v1", "indices"], None)
            .await
    }

    /// One following index; `None` if it does not follow.
    pub(crate) async fn index(&self, index: &str) -> Result<Option<Value>, Failure> {
        let (status, answer) = self
            .ask(Method::GET, &["_slipstream", "v1", "indices", index], None)
            .await?;
        match status {
            StatusCode::NOT_FOUND if answer["error"]["type"] == "resource_not_found_exception" => Ok(None),
            status if status.is_success() => Ok(Some(answer)),
            status => Err(refusal(status, &answer)),
        }
    }

    async fn ask(
        &self,
        method: Method,
        segments: &[&str],
        body: Option<&Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let mut url = self.base.clone();
        let encoded: Vec<String> = segments
            .iter()
            .map(|segment| utf8_percent_encode(segment, SEGMENT).to_string())
            .collect();
        url.set_path(&format!(
            "{}/{}",
            self.base.path().trim_end_matches('/'),
            encoded.join("/")
        ));
        let mut request = self.http.request(method, url);
        if let Some((name, password)) = &self.user {
            request = request.basic_auth(name, Some(password.expose()));
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let failed = |error: reqwest::Error| {
            Failure::failed(format!(
                "no answer from the gateway at {}: {}",
                self.shown(),
                chain(&error.without_url())
            ))
            .advise(if self.base.scheme() == "https" {
                "check that the follower agent runs, its address (--gateway or SLIPSTREAM_GATEWAY), and the CA of its certificate \
                 (--ca-file)"
            } else {
                "check that the follower agent runs, and its address: --gateway or SLIPSTREAM_GATEWAY"
            })
        };
        let response = request.send().await.map_err(failed)?;
        let status = response.status();
        let bytes = response.bytes().await.map_err(failed)?;
        let answer = serde_json::from_slice(&bytes).map_err(|_| {
            Failure::failed(format!(
                "what answers at {} is not a slipstream gateway (status {status})",
                self.shown()
            ))
            .advise("check the address: --gateway or SLIPSTREAM_GATEWAY")
        })?;
        Ok((status, answer))
    }

    /// The address without credentials.
    pub(crate) fn shown(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self
            .base
            .port()
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{}://{host}{port}", self.base.scheme())
    }
}

/// What a gateway answers, as what was asked for.
pub(crate) fn read<T: DeserializeOwned>(answer: &Value) -> Result<T, Failure> {
    T::deserialize(answer).map_err(|error| {
        Failure::failed(format!("the gateway's answer cannot be read: {error}"))
            .advise("use the same release of slipstream here and there")
    })
}

/// Who the caller says he is.
fn user(args: &GatewayArgs) -> Result<Option<(String, Secret)>, Failure> {
    let Some(name) = &args.user else {
        return match &args.password_file {
            Some(_) => Err(Failure::usage("a password is given, and nobody whose it is")
                .advise("give --user NAME or set SLIPSTREAM_USER")),
            None => Ok(None),
        };
    };
    let password = match &args.password_file {
        Some(path) => String::from_utf8(read_file(path)?)
            .map_err(|_| Failure::usage(format!("{} is not text", path.display())))?
            .lines()
            .next()
            .map(str::to_owned),
        None => std::env::var(PASSWORD).ok(),
    };
    match password.filter(|password| !password.is_empty()) {
        Some(password) => Ok(Some((name.clone(), Secret::new(password)))),
        None => Err(Failure::usage(format!("there is no password for {name}"))
            .advise(format!("give --password-file FILE or set {PASSWORD}"))),
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::usage(format!("cannot read {}: {error}", path.display())).advise("name a file that is there")
    })
}

fn unusable(path: &Path, error: &reqwest::Error) -> Failure {
    Failure::usage(format!("{} cannot be used: {}", path.display(), chain(error)))
        .advise("name a PEM file with what the option asks for")
}

fn refusal(status: StatusCode, answer: &Value) -> Failure {
    let error = &answer["error"];
    let reason = error["reason"]
        .as_str()
        .or(error.as_str())
        .unwrap_or("no reason given");
    let failure = Failure::failed(format!("the gateway refused ({}): {reason}", status.as_u16()));
    match status {
        StatusCode::UNAUTHORIZED => failure.advise(format!(
            "say who you are: --user with --password-file or {PASSWORD}, or --cert-file and --key-file"
        )),
        _ => failure,
    }
}
