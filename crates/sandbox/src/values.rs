//! Which values a field of which type can hold.

use serde_json::{Value, json};

use crate::error::{ApiError, ApiResult};
use crate::json::Json;
use crate::mapping;

/// What an engine shows of the format that its second dynamic date format stands for.
pub(crate) const SLASH_DATES: &str = "yyyy/MM/dd HH:mm:ss||yyyy/MM/dd||epoch_millis";

const NOT_NUMERIC: &str = "Current token not numeric, can not use numeric value accessors";

/// Whether a number is spelt as a whole one.
pub(crate) fn is_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

/// Refuses a value that a field of this type cannot hold.
pub(crate) fn check(field: &Value, value: &Json, path: &str, id: &str) -> ApiResult<()> {
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
    let (Json::Number(text) | Json::String(text)) = value else {
        return Some(NOT_NUMERIC.to_owned());
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
    let (Json::Number(text) | Json::String(text)) = value else {
        return Some(NOT_NUMERIC.to_owned());
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
pub(crate) fn is_iso_date(text: &str) -> bool {
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
pub(crate) fn is_slash_date(text: &str) -> bool {
    let iso = text.replacen('/', "-", 2).replacen(' ', "T", 1);
    text.matches('/').count() == 2 && (iso.len() == 10 || iso.len() == 19) && is_iso_date(&iso)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_told_from_what_looks_like_one() {
        for yes in [
            "2020",
            "2020-01",
            "2020-01-02",
            "2020-01-02T03:04:05.123Z",
            "2020-01-02T03:04+01:00",
        ] {
            assert!(is_iso_date(yes), "{yes}");
        }
        for no in [
            "20-01-02",
            "2020-13-01",
            "2020-01-02 03:04",
            "2020-01T03",
            "a-b",
            "2020-01-02T25:00",
        ] {
            assert!(!is_iso_date(no), "{no}");
        }
        assert!(
            is_slash_date("2020/01/02") && is_slash_date("2020/01/02 03:04:05") && !is_slash_date("1/2/2020")
        );
    }
}
