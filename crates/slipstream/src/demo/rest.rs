//! What a user has: an HTTP client and an address.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

use crate::failure::{Failure, chain};

/// How long any answer may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// An address to talk to.
pub(super) struct Rest {
    http: Client,
    base: String,
}

/// A document as a search shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    pub(super) id: String,
    pub(super) version: i64,
    pub(super) source: Value,
}

impl Rest {
    pub(super) fn at(base: &str) -> Result<Rest, Failure> {
        _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder()
            .timeout(DEADLINE)
            .no_proxy()
            .build()
            .map_err(|error| Failure::of(&error))?;
        Ok(Rest {
            http,
            base: base.to_owned(),
        })
    }

    /// One request and its answer, whatever its status.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(u16, Value), Failure> {
        let failed =
            |error: reqwest::Error| Failure::failed(format!("no answer to {path}: {}", chain(&error)));
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let response = request.send().await.map_err(failed)?;
        let status = response.status().as_u16();
        let bytes = response.bytes().await.map_err(failed)?;
        let answer = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok((status, answer))
    }

    /// One request that has to succeed.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value, Failure> {
        let what = format!("{method} {path}");
        match self.ask(method, path, body).await? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => Err(Failure::failed(format!("{what} answered {status}: {answer}"))),
        }
    }

    /// What a search finds in an index, by id.
    pub(super) async fn documents(&self, index: &str) -> Result<Vec<Document>, Failure> {
        let answer = self
            .call(
                Method::GET,
                &format!("/{index}/_search?version=true&size=100"),
                None,
            )
            .await?;
        let mut documents: Vec<Document> = answer["hits"]["hits"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|hit| Document {
                id: hit["_id"].as_str().unwrap_or_default().to_owned(),
                version: hit["_version"].as_i64().unwrap_or_default(),
                source: hit["_source"].clone(),
            })
            .collect();
        documents.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(documents)
    }
}
