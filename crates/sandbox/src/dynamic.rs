//! Holds a document against a mapping: refuses values that do not fit, and says which fields it would add.

use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::mapping::{self, Fields};

/// Names that a document cannot have at its top level.
const METADATA: &[&str] = &[
    "_id",
    "_index",
    "_routing",
    "_source",
    "_type",
    "_seq_no",
    "_version",
    "_field_names",
    "_ignored",
];

/// What an engine shows of the format that its second dynamic date format stands for.
const SLASH_DATES: &str = "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dynamic {
    Add,
    Ignore,
    Refuse,
}

fn dynamic_of(fields: &Fields, inherited: Dynamic) -> Dynamic {
    match fields.get("dynamic").and_then(Value::as_str) {
        Some("true" | "runtime" | "strict_allow_templates") => Dynamic::Add,
        Some("false" | "false_allow_templates") => Dynamic::Ignore,
        Some("strict") => Dynamic::Refuse,
        _ => inherited,
    }
}

/// The fields that the document adds, as a mapping to merge in; `None` where it adds none.
pub(crate) fn additions(
    mapping: &Fields,
    doc: &Json,
    id: &str,
    print_format: bool,
) -> ApiResult<Option<Fields>> {
    let Json::Object(members) = doc else {
        let cause =
            "Compressor detection can only be called on some xcontent bytes or compressed xcontent bytes";
        return Err(ApiError::mapper("failed to parse").caused_by("not_x_content_exception", cause));
    };
    if let Some((name, _)) = members.iter().find(|(name, _)| METADATA.contains(&name.as_str())) {
        let reason = format!(
            "Field [{name}] is a metadata field and cannot be added inside a document. Use the index API request \
             parameters."
        );
        return Err(ApiError::mapper(reason));
    }
    let on = |name: &str, default: bool| {
        mapping
            .get(name)
            .map_or(default, |v| v == &json!(true) || v == &json!("true"))
    };
    let mut visit = Visit {
        id,
        dates: on("date_detection", true),
        numbers: on("numeric_detection", false),
        print_format,
        added: Fields::new(),
    };
    visit.object(Some(mapping), members, "", Dynamic::Add)?;
    if visit.added.is_empty() {
        return Ok(None);
    }
    let mut out = Fields::new();
    out.insert("properties".into(), Value::Object(visit.added));
    Ok(Some(out))
}

struct Visit<'a> {
    id: &'a str,
    dates: bool,
    numbers: bool,
    print_format: bool,
    added: Fields,
}

impl Visit<'_> {
    fn object(
        &mut self,
        fields: Option<&Fields>,
        members: &[(String, Json)],
        path: &str,
        inherited: Dynamic,
    ) -> ApiResult<()> {
        let dynamic = fields.map_or(inherited, |f| dynamic_of(f, inherited));
        for (name, value) in members {
            self.member(fields, name, value, path, dynamic)?;
        }
        Ok(())
    }

    fn member(
        &mut self,
        fields: Option<&Fields>,
        name: &str,
        value: &Json,
        path: &str,
        dynamic: Dynamic,
    ) -> ApiResult<()> {
        // A dotted name walks through objects.
        if let Some((first, rest)) = name.split_once('.')
            && !first.is_empty()
            && !rest.is_empty()
        {
            let single = Json::Object(vec![(rest.to_owned(), value.clone())]);
            return self.member(fields, first, &single, path, dynamic);
        }
        let full = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        let field = fields.and_then(|f| f.get("properties")).and_then(|p| p.get(name));
        match field {
            Some(field) => self.known(field, value, &full, dynamic),
            None => self.unknown(value, &full, name, path, dynamic),
        }
    }

    fn known(&mut self, field: &Value, value: &Json, path: &str, dynamic: Dynamic) -> ApiResult<()> {
        if field.get("enabled") == Some(&json!(false)) {
            return Ok(());
        }
        if mapping::is_object(field) {
            return match value {
                Json::Object(members) => self.object(field.as_object(), members, path, dynamic),
                Json::Array(items) => items
                    .iter()
                    .try_for_each(|item| self.known(field, item, path, dynamic)),
                Json::Null => Ok(()),
                _ => Err(ApiError::mapper(format!(
                    "object mapping for [{path}] tried to parse field [{}] as object, but found a concrete value",
                    path.rsplit('.').next().unwrap_or(path)
                ))),
            };
        }
        check(field, value, path, self.id)
    }

    fn unknown(
        &mut self,
        value: &Json,
        full: &str,
        name: &str,
        path: &str,
        dynamic: Dynamic,
    ) -> ApiResult<()> {
        match dynamic {
            Dynamic::Ignore => return Ok(()),
            Dynamic::Refuse => {
                let within = if path.is_empty() { "_doc" } else { path };
                return Err(ApiError::new(
                    400,
                    "strict_dynamic_mapping_exception",
                    format!(
                        "mapping set to strict, dynamic introduction of [{name}] within [{within}] is not allowed"
                    ),
                ));
            }
            Dynamic::Add => {}
        }
        match value {
            Json::Null => Ok(()),
            Json::Array(items) => items
                .iter()
                .try_for_each(|item| self.unknown(item, full, name, path, dynamic)),
            Json::Object(members) => {
                if members.is_empty() {
                    self.add(full, &json!({"type": "object"}))
                } else {
                    let before = self.added.clone();
                    self.object(None, members, full, dynamic)?;
                    if before == self.added {
                        self.add(full, &json!({"type": "object"}))
                    } else {
                        Ok(())
                    }
                }
            }
            scalar => {
                let field = self.guess(scalar);
                self.add(full, &field)?;
                check(&field, scalar, full, self.id)
            }
        }
    }

    /// Adds one field; a second guess of another type within the same document is a conflict, as in the engines.
    fn add(&mut self, path: &str, field: &Value) -> ApiResult<()> {
        let nested = path
            .rsplit('.')
            .fold(field.clone(), |inner, part| json!({"properties": {part: inner}}));
        let current = if self.added.is_empty() {
            Fields::new()
        } else {
            Fields::from_iter([("properties".to_owned(), Value::Object(self.added.clone()))])
        };
        let change = nested.as_object().cloned().unwrap_or_default();
        let next = mapping::merged(&current, &change)?;
        self.added = next
            .get("properties")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        Ok(())
    }

    fn guess(&self, value: &Json) -> Value {
        match value {
            Json::Bool(_) => json!({"type": "boolean"}),
            Json::Number(n) if is_integer(n) => json!({"type": "long"}),
            Json::Number(_) => json!({"type": "float"}),
            Json::String(s) if self.numbers && s.parse::<i64>().is_ok() => json!({"type": "long"}),
            Json::String(s) if self.numbers && s.parse::<f64>().is_ok() => json!({"type": "float"}),
            Json::String(s) if self.dates && s.contains('-') && is_iso_date(s) => json!({"type": "date"}),
            Json::String(s) if self.dates && is_slash_date(s) => {
                let mut field = json!({"type": "date", "format": SLASH_DATES});
                if self.print_format {
                    field["print_format"] = json!("yyyy/MM/dd HH:mm:ss");
                }
                field
            }
            _ => json!({"type": "text", "fields": {"keyword": {"type": "keyword", "ignore_above": 256}}}),
        }
    }
}

fn is_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

/// Refuses a value that a field of this type cannot hold.
fn check(field: &Value, value: &Json, path: &str, id: &str) -> ApiResult<()> {
    if let Json::Array(items) = value {
        return items.iter().try_for_each(|item| check(field, item, path, id));
    }
    if matches!(value, Json::Null) || field.get("ignore_malformed") == Some(&json!(true)) {
        return Ok(());
    }
    let kind = mapping::type_of(field);
    let problem = match kind {
        "long" | "integer" | "short" | "byte" => whole_number(kind, value),
        "float" | "double" | "half_float" | "scaled_float" => decimal(kind, value),
        "boolean" => match value {
            Json::Bool(_) => None,
            Json::String(s) if matches!(s.as_str(), "true" | "false" | "") => None,
            other => Some(format!(
                "Failed to parse value [{}] as only [true] or [false] are allowed.",
                preview(other)
            )),
        },
        "date" if field.get("format").is_none_or(|f| f == SLASH_DATES) => match value {
            Json::Number(n) if is_integer(n) => None,
            Json::String(s) if is_iso_date(s) || is_slash_date(s) || s.parse::<i64>().is_ok() => None,
            other => Some(format!("failed to parse date field [{}]", preview(other))),
        },
        "ip" => match value {
            Json::String(s) if s.parse::<std::net::IpAddr>().is_ok() => None,
            other => Some(format!("'{}' is not an IP string literal.", preview(other))),
        },
        "text" | "keyword" if matches!(value, Json::Object(_)) => {
            Some("Can't get text on a START_OBJECT".to_owned())
        }
        _ => None,
    };
    let Some(cause) = problem else { return Ok(()) };
    let reason = format!(
        "failed to parse field [{path}] of type [{kind}] in document with id '{id}'. Preview of field's value: '{}'",
        preview(value)
    );
    Err(ApiError::mapper(reason).caused_by("illegal_argument_exception", cause))
}

fn whole_number(kind: &str, value: &Json) -> Option<String> {
    let text = match value {
        Json::Number(text) => text,
        Json::String(text) => text,
        _ => return Some("Current token not numeric, can not use numeric value accessors".to_owned()),
    };
    let (low, high) = match kind {
        "byte" => (i64::from(i8::MIN), i64::from(i8::MAX)),
        "short" => (i64::from(i16::MIN), i64::from(i16::MAX)),
        "integer" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        _ => (i64::MIN, i64::MAX),
    };
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(n), _) if n >= low && n <= high => None,
        // Decimals are coerced by cutting the fraction off.
        (Err(_), Ok(n)) if !is_integer(text) && n >= low as f64 && n <= high as f64 => None,
        (Err(_), Err(_)) => Some(format!("For input string: \"{text}\"")),
        _ => Some(format!("Numeric value ({text}) out of range of {kind}")),
    }
}

fn decimal(kind: &str, value: &Json) -> Option<String> {
    let text = match value {
        Json::Number(text) => text,
        Json::String(text) => text,
        _ => return Some("Current token not numeric, can not use numeric value accessors".to_owned()),
    };
    let finite = match (kind, text.parse::<f64>()) {
        (_, Err(_)) => return Some(format!("For input string: \"{text}\"")),
        ("float", Ok(n)) => (n as f32).is_finite(),
        ("half_float", Ok(n)) => n.abs() < 65_520.0,
        (_, Ok(n)) => n.is_finite(),
    };
    if finite {
        None
    } else {
        Some(format!("[{kind}] supports only finite values, but got [{text}]"))
    }
}

fn preview(value: &Json) -> String {
    match value {
        Json::String(s) => s.clone(),
        other => {
            let mut out = Vec::new();
            other.write(&mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
    }
}

/// `strict_date_optional_time`: `yyyy[-MM[-dd[THH[:mm[:ss[.fraction]]][zone]]]]`.
fn is_iso_date(text: &str) -> bool {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let in_range = |part: &str, low: u32, high: u32| {
        part.len() == 2
            && part.bytes().all(|b| b.is_ascii_digit())
            && (low..=high).contains(&part.parse().unwrap_or(99))
    };
    let date_fits = (1..=3).contains(&parts.len())
        && parts[0].len() == 4
        && parts[0].bytes().all(|b| b.is_ascii_digit())
        && parts.get(1).is_none_or(|m| in_range(m, 1, 12))
        && parts.get(2).is_none_or(|d| in_range(d, 1, 31));
    let Some(time) = time else { return date_fits };
    if !date_fits || parts.len() != 3 {
        return false;
    }
    let clock_end = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = time.split_at(clock_end);
    let zone_fits =
        zone.is_empty() || zone == "Z" || zone[1..].bytes().all(|b| b.is_ascii_digit() || b == b':');
    if clock.is_empty() {
        return zone.is_empty();
    }
    let pieces: Vec<&str> = clock.split(':').collect();
    let (seconds, fraction) = match pieces.get(2).and_then(|s| s.split_once(['.', ','])) {
        Some((s, f)) => (Some(s), Some(f)),
        None => (pieces.get(2).copied(), None),
    };
    zone_fits
        && pieces.len() <= 3
        && in_range(pieces[0], 0, 24)
        && pieces.get(1).is_none_or(|m| in_range(m, 0, 59))
        && seconds.is_none_or(|s| in_range(s, 0, 59))
        && fraction.is_none_or(|f| !f.is_empty() && f.len() <= 9 && f.bytes().all(|b| b.is_ascii_digit()))
}

/// `yyyy/MM/dd`, with or without ` HH:mm:ss`.
fn is_slash_date(text: &str) -> bool {
    let iso = text.replacen('/', "-", 2).replacen(' ', "T", 1);
    text.matches('/').count() == 2 && (iso.len() == 10 || iso.len() == 19) && is_iso_date(&iso)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(mapping: &Fields, doc: &str) -> ApiResult<Option<Fields>> {
        additions(mapping, &Json::parse(doc.as_bytes()).unwrap(), "1", false)
    }

    #[test]
    fn types_are_guessed_as_the_engines_guess_them() {
        let added = add(
            &Fields::new(),
            r#"{"l":1,"f":1.5,"b":true,"t":"x","d":"2020-01-02","y":"2020","s":"2020/01/02","o":{"k":[1,2]},"n":null,
               "e":[],"u":{},"v.w":1}"#,
        )
        .unwrap()
        .unwrap();
        let p = &added["properties"];
        let kinds = ["l", "f", "b", "t", "d", "y", "s"].map(|n| p[n]["type"].as_str().unwrap());
        assert_eq!(
            kinds,
            ["long", "float", "boolean", "text", "date", "text", "date"]
        );
        assert_eq!(p["o"]["properties"]["k"]["type"], "long");
        assert_eq!(p["u"], json!({"type": "object"}));
        assert_eq!(p["v"]["properties"]["w"]["type"], "long");
        assert!(p.get("n").is_none() && p.get("e").is_none());
    }

    #[test]
    fn mixed_arrays_and_values_out_of_range_are_refused() {
        for doc in [
            r#"{"m":[1,1.5]}"#,
            r#"{"m":[1,"a"]}"#,
            r#"{"m":1e400}"#,
            r#"{"m":123456789012345678901}"#,
            r#"{"_id":1}"#,
        ] {
            assert!(add(&Fields::new(), doc).is_err(), "{doc}");
        }
    }

    #[test]
    fn dynamic_off_ignores_what_it_does_not_know() {
        let mapping = mapping::normalised(
            &json!({"dynamic": false, "properties": {"o": {"type": "object", "dynamic": true}}}),
        );
        let added = add(&mapping.unwrap(), r#"{"y":1e400,"o":{"k":1}}"#)
            .unwrap()
            .unwrap();
        assert_eq!(
            added["properties"],
            json!({"o": {"properties": {"k": {"type": "long"}}}})
        );
    }
}
