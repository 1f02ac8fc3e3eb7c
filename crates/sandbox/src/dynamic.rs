//! Holds a document against a mapping: refuses values that do not fit, and says which fields it would add.

use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::mapping::{self, Fields};
use crate::values::{SLASH_DATES, check, is_integer, is_iso_date, is_slash_date};

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
