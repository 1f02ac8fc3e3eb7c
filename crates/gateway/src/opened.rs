//! Bodies that the gateway has to look into, because they name the indices that they change: held whole, and unpacked where
//! a client has compressed them.
//!
//! All that are held at a time have a bounded room, so a body waits until there is some. How large a compressed one will be
//! shows only when it is unpacked, so it gets room for what JSON can be expected to shrink by, and no more is unpacked.

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use crate::body;
use crate::error::ApiError;
use crate::proxy::{BODY_LIMIT, Proxy};
use crate::unpack::{Coding, coding, unpack};

/// Bytes that any compressed body may have when it is unpacked.
const UNPACKED_LEAST: usize = 1 << 20;
/// How many times its size a larger one may have.
const UNPACKED_TIMES: usize = 20;

/// A body as it was before it was compressed, and the room that it takes.
pub(crate) struct Opened {
    pub(crate) bytes: Bytes,
    pub(crate) _room: OwnedSemaphorePermit,
}

/// Reads a body whole. `headers` then describe what was read.
pub(crate) async fn open(proxy: &Proxy, headers: &mut HeaderMap, body: Body) -> Result<Opened, ApiError> {
    let text = |name| {
        let value = headers.get(name).and_then(|v| v.to_str().ok());
        value.unwrap_or_default().to_ascii_lowercase()
    };
    let packed = match coding(headers) {
        Coding::Plain => false,
        Coding::Gzip => true,
        Coding::Other => return Err(unreadable()),
    };
    if !text(header::CONTENT_TYPE).contains("json") {
        return Err(unreadable());
    }
    let length = text(header::CONTENT_LENGTH)
        .parse()
        .unwrap_or(BODY_LIMIT)
        .min(BODY_LIMIT);
    let limit = if packed {
        length
            .saturating_mul(UNPACKED_TIMES)
            .clamp(UNPACKED_LEAST, BODY_LIMIT)
    } else {
        BODY_LIMIT
    };
    let room = proxy.hold(if packed { limit } else { length }).await?;
    let mut bytes = body::bytes(body, BODY_LIMIT).await?;
    if packed {
        bytes = unpack(bytes, limit).await?;
        headers.remove(header::CONTENT_ENCODING);
    }
    Ok(Opened { bytes, _room: room })
}

fn unreadable() -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "illegal_argument_exception",
        "while indices follow, the gateway looks into this body to keep writes away from them: send it as JSON, \
         uncompressed or with gzip, or to the target cluster itself",
    )
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    }

    async fn opened(coding: &str, media: &str, body: Vec<u8>) -> Result<(Bytes, HeaderMap), ApiError> {
        let proxy = Proxy::to("http://127.0.0.1:1", None).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_ENCODING, coding.parse().unwrap());
        headers.insert(header::CONTENT_TYPE, media.parse().unwrap());
        headers.insert(header::CONTENT_LENGTH, body.len().to_string().parse().unwrap());
        let opened = open(&proxy, &mut headers, Body::from(body)).await?;
        Ok((opened.bytes, headers))
    }

    #[tokio::test]
    async fn a_compressed_body_is_read_as_what_it_was() {
        let (bytes, headers) = opened("gzip", "application/x-ndjson", pack(b"{}\n"))
            .await
            .unwrap();
        assert_eq!(bytes, "{}\n");
        assert!(headers.get(header::CONTENT_ENCODING).is_none());
        let (bytes, _) = opened("identity", "application/json", b"{}".to_vec())
            .await
            .unwrap();
        assert_eq!(bytes, "{}");
    }

    #[tokio::test]
    async fn what_would_grow_beyond_its_room_or_cannot_be_read_is_refused() {
        let bomb = pack(&vec![b' '; 8 << 20]);
        assert!(bomb.len() < 1 << 17);
        for (coding, media, body, status) in [
            ("gzip", "application/json", bomb, 413),
            ("gzip", "application/json", b"{}".to_vec(), 400),
            ("gzip", "application/json", pack(b"{}")[..15].to_vec(), 400),
            ("br", "application/json", b"{}".to_vec(), 415),
            ("identity", "application/cbor", b"{}".to_vec(), 415),
        ] {
            let error = opened(coding, media, body).await.unwrap_err();
            assert_eq!(error.status(), status, "{coding} {media}: {}", error.reason());
        }
    }
}
