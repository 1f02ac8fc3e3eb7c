//! Request bodies that a client has compressed, as the official ones can be told to: gzip, like the engines.

use std::io::Read;

use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use flate2::read::MultiGzDecoder;

use crate::error::ApiError;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// Not at all.
    Plain,
    /// With gzip.
    Gzip,
    /// In a way that the engines do not take either.
    Other,
}

/// What the headers say of the body.
pub(crate) fn coding(headers: &HeaderMap) -> Coding {
    let Some(given) = headers.get(header::CONTENT_ENCODING) else {
        return Coding::Plain;
    };
    match given.to_str().unwrap_or("?").to_ascii_lowercase().as_str() {
        "" | "identity" => Coding::Plain,
        "gzip" | "x-gzip" => Coding::Gzip,
        _ => Coding::Other,
    }
}

/// Unpacks on a thread that may take its time.
pub(crate) async fn unpack(packed: Bytes, limit: usize) -> Result<Bytes, ApiError> {
    let unpacked = tokio::task::spawn_blocking(move || {
        let mut unpacked = Vec::new();
        let mut reader = MultiGzDecoder::new(&packed[..]).take(limit as u64 + 1);
        reader.read_to_end(&mut unpacked).map(|_| unpacked)
    });
    match unpacked.await {
        Ok(Ok(unpacked)) if unpacked.len() <= limit => Ok(unpacked.into()),
        Ok(Ok(_)) => Err(ApiError::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "content_too_long_exception",
            format!(
                "the request body has more than {limit} bytes once unpacked: send it uncompressed or in parts"
            ),
        )),
        Ok(Err(error)) => Err(ApiError::parse(format!("the request body is no gzip: {error}"))),
        Err(_) => Err(ApiError::unavailable("the gateway is ending")),
    }
}
