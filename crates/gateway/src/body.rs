//! Request bodies, as strictly as the engines take them: JSON only, an object, no field unknown and none twice.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::error::ApiError;
use crate::unpack::{Coding, coding, unpack};

/// Bytes that a control request may have; a mapping or a settings object is far smaller.
const LIMIT: usize = 1 << 20;
/// How long a caller may take to send its body.
const DEADLINE: Duration = Duration::from_secs(30);

/// The fields of a body in their order, each with the place where its name stands.
pub(crate) struct Object {
    parser: &'static str,
    fields: Vec<Field>,
}

struct Field {
    name: String,
    value: Value,
    at: Position,
}

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position(usize, usize);

/// Reads a body whole, within `limit` bytes and [`DEADLINE`].
pub(crate) async fn bytes(body: Body, limit: usize) -> Result<Bytes, ApiError> {
    let late = |_| {
        ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "timeout_exception",
            "the request body did not arrive in time",
        )
    };
    tokio::time::timeout(DEADLINE, axum::body::to_bytes(body, limit))
        .await
        .map_err(late)?
        .map_err(|_| {
            let reason = format!("the request body is longer than {limit} bytes or broke off");
            ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "content_too_long_exception",
                reason,
            )
        })
}

/// Reads the body of a control request, as it was before it was compressed.
pub(crate) async fn control(headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let bytes = bytes(body, LIMIT).await?;
    match coding(headers) {
        _ if bytes.is_empty() => Ok(bytes),
        Coding::Plain => Ok(bytes),
        Coding::Gzip => unpack(bytes, LIMIT).await,
        Coding::Other => Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "illegal_argument_exception",
            "the request body is compressed in a way that is not supported: use gzip, or none",
        )),
    }
}

impl Object {
    /// Reads a body. `parser` is the engines' name for who reads it; it opens the error texts.
    pub(crate) async fn read(
        headers: &HeaderMap,
        body: Body,
        parser: &'static str,
    ) -> Result<Object, ApiError> {
        let given = Object::given(headers, body, parser).await?;
        given.ok_or_else(|| ApiError::parse("request body or source parameter is required"))
    }

    /// As [`Self::read`], for calls that work without a body too.
    pub(crate) async fn read_optional(
        headers: &HeaderMap,
        body: Body,
        parser: &'static str,
    ) -> Result<Object, ApiError> {
        let given = Object::given(headers, body, parser).await?;
        Ok(given.unwrap_or(Object {
            parser,
            fields: Vec::new(),
        }))
    }

    /// A body, if there is one.
    async fn given(
        headers: &HeaderMap,
        body: Body,
        parser: &'static str,
    ) -> Result<Option<Object>, ApiError> {
        let bytes = control(headers, body).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        require_json(headers)?;
        Object::parse(&bytes, parser).map(Some)
    }

    /// Parses a body.
    pub(crate) fn parse(bytes: &[u8], parser: &'static str) -> Result<Object, ApiError> {
        let pairs: Pairs =
            serde_json::from_slice(bytes).map_err(|error| ApiError::parse(format!("[{parser}] {error}")))?;
        let places = key_places(bytes);
        let mut fields: Vec<Field> = Vec::with_capacity(pairs.0.len());
        for ((name, value), at) in pairs.0.into_iter().zip(places) {
            if fields.iter().any(|field| field.name == name) {
                return Err(ApiError::parse(format!(
                    "[{}:{}] Duplicate field '{name}'",
                    at.0, at.1
                )));
            }
            fields.push(Field { name, value, at });
        }
        Ok(Object { parser, fields })
    }

    fn take(&mut self, name: &str) -> Option<Field> {
        let at = self.fields.iter().position(|field| field.name == name)?;
        Some(self.fields.remove(at))
    }

    /// Takes a text field out; `null` counts as absent.
    pub(crate) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None
            | Some(Field {
                value: Value::Null, ..
            }) => Ok(None),
            Some(Field {
                value: Value::String(text),
                ..
            }) => Ok(Some(text)),
            Some(field) => Err(self.wrong(&field)),
        }
    }

    /// Takes a boolean field out, also in quotes, as the engines do; `null` and no field are `false`.
    pub(crate) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        let Some(field) = self.take(name) else {
            return Ok(false);
        };
        match &field.value {
            Value::Null => Ok(false),
            Value::Bool(flag) => Ok(*flag),
            Value::String(text) if text == "true" => Ok(true),
            Value::String(text) if text == "false" => Ok(false),
            _ => Err(self.wrong(&field)),
        }
    }

    /// Takes an object field out; `null` counts as absent.
    pub(crate) fn object(&mut self, name: &str) -> Result<Option<serde_json::Map<String, Value>>, ApiError> {
        match self.take(name) {
            None
            | Some(Field {
                value: Value::Null, ..
            }) => Ok(None),
            Some(Field {
                value: Value::Object(map),
                ..
            }) => Ok(Some(map)),
            Some(field) => Err(self.wrong(&field)),
        }
    }

    /// Takes a field of texts out; `null` counts as absent.
    pub(crate) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, ApiError> {
        let Some(field) = self.take(name).filter(|field| !field.value.is_null()) else {
            return Ok(None);
        };
        let texts = field.value.as_array().and_then(|items| {
            items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>()
        });
        texts.map(Some).ok_or_else(|| self.wrong(&field))
    }

    /// Takes all fields out that are left, as one object.
    pub(crate) fn rest(self) -> serde_json::Map<String, Value> {
        self.fields
            .into_iter()
            .map(|field| (field.name, field.value))
            .collect()
    }

    /// Refuses what nobody took.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.fields.first() {
            None => Ok(()),
            Some(Field { name, at, .. }) => Err(ApiError::content(format!(
                "[{}:{}] [{}] unknown field [{name}]",
                at.0, at.1, self.parser
            ))),
        }
    }

    fn wrong(&self, field: &Field) -> ApiError {
        let Position(line, column) = field.at;
        ApiError::content(format!(
            "[{line}:{column}] [{}] failed to parse field [{}]",
            self.parser, field.name
        ))
    }
}

/// Reads the body of a call that takes none, or an empty object.
pub(crate) async fn require_none(
    headers: &HeaderMap,
    body: Body,
    parser: &'static str,
) -> Result<(), ApiError> {
    Object::read_optional(headers, body, parser).await?.finish()
}

/// Refuses a body that does not say that it is JSON. Browsers cannot send that header across sites without asking.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media = given
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if media == "application/json" || (media.starts_with("application/vnd.") && media.ends_with("+json")) {
        return Ok(());
    }
    let reason = format!("Content-Type header [{given}] is not supported: send application/json");
    Err(ApiError::new(
        StatusCode::NOT_ACCEPTABLE,
        "media_type_header_exception",
        reason,
    ))
}

/// An object's fields in their order, duplicates included.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// Where the names of the outermost object's fields stand in a text that is known to be JSON.
fn key_places(json: &[u8]) -> Vec<Position> {
    let mut places = Vec::new();
    let (mut line, mut line_start, mut depth, mut name_next) = (1, 0, 0_usize, false);
    let mut bytes = json.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\n' => (line, line_start) = (line + 1, at + 1),
            b'{' | b'[' => {
                depth += 1;
                name_next = depth == 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => name_next = depth == 1,
            b'"' => {
                if name_next {
                    places.push(Position(line, at - line_start + 1));
                    name_next = false;
                }
                while let Some((_, byte)) = bytes.next() {
                    match byte {
                        b'\\' => _ = bytes.next(),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Object, ApiError> {
        Object::parse(text.as_bytes(), "P")
    }

    #[test]
    fn an_unknown_field_is_named_with_its_place() {
        let mut object = parse("{\"a\":\"x,\\\"y\",\n  \"bogus\": [{\"c\": 1}]}")
            .ok()
            .unwrap();
        assert_eq!(object.text("a").unwrap().as_deref(), Some("x,\"y"));
        assert_eq!(
            object.finish().unwrap_err().reason(),
            "[2:3] [P] unknown field [bogus]"
        );
    }

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let mut object = parse(r#"{"o":{}, "a":1}"#).ok().unwrap();
        assert!(object.object("o").unwrap().unwrap().is_empty());
        assert_eq!(
            object.text("a").unwrap_err().reason(),
            "[1:10] [P] failed to parse field [a]"
        );
    }

    #[test]
    fn duplicates_and_other_json_are_refused() {
        assert_eq!(
            parse(r#"{"a":1,"a":2}"#).err().unwrap().reason(),
            "[1:8] Duplicate field 'a'"
        );
        for text in ["[]", "1", "{", "{} x", ""] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
