//! The last touches to an answer: `filter_path` and `pretty`.

use serde_json::{Map, Value};

use crate::resolve::glob;

/// Keeps what the patterns name, drops what those with a leading `-` name. An answer that holds documents which are
/// not plain JSON is left whole.
pub(crate) fn filter(body: &[u8], patterns: &str) -> Option<Vec<u8>> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let (without, with): (Vec<&str>, Vec<&str>) = patterns.split(',').partition(|p| p.starts_with('-'));
    let split = |pattern: &str| {
        pattern
            .trim_start_matches('-')
            .split('.')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (with, without): (Vec<_>, Vec<_>) = (
        with.into_iter().map(split).collect(),
        without.into_iter().map(split).collect(),
    );
    let mut kept = if with.is_empty() {
        value
    } else {
        keep(&value, &with).unwrap_or_else(|| Value::Object(Map::new()))
    };
    if !without.is_empty() {
        kept = remove(&kept, &without).unwrap_or_else(|| Value::Object(Map::new()));
    }
    Some(kept.to_string().into_bytes())
}

/// The rests of those patterns whose first step matches a name.
fn step(patterns: &[Vec<String>], name: &str) -> Vec<Vec<String>> {
    let mut rests = Vec::new();
    for pattern in patterns {
        match pattern.split_first() {
            Some((first, rest)) if first == "**" => {
                // Any number of steps, this one or none among them.
                rests.push(pattern.clone());
                rests.extend(step(&[rest.to_vec()], name));
            }
            Some((first, rest)) if glob(first, name) => rests.push(rest.to_vec()),
            _ => {}
        }
    }
    rests
}

fn keep(value: &Value, patterns: &[Vec<String>]) -> Option<Value> {
    if patterns.iter().any(Vec::is_empty) {
        return Some(value.clone());
    }
    match value {
        Value::Object(members) => {
            let kept: Map<String, Value> = members
                .iter()
                .filter_map(|(name, member)| {
                    let rests = step(patterns, name);
                    if rests.is_empty() {
                        None
                    } else {
                        keep(member, &rests).map(|v| (name.clone(), v))
                    }
                })
                .collect();
            if kept.is_empty() {
                None
            } else {
                Some(Value::Object(kept))
            }
        }
        Value::Array(items) => {
            let kept: Vec<Value> = items.iter().filter_map(|item| keep(item, patterns)).collect();
            if kept.is_empty() {
                None
            } else {
                Some(Value::Array(kept))
            }
        }
        _ => None,
    }
}

fn remove(value: &Value, patterns: &[Vec<String>]) -> Option<Value> {
    if patterns.iter().any(Vec::is_empty) {
        return None;
    }
    Some(match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter_map(|(name, member)| remove(member, &step(patterns, name)).map(|v| (name.clone(), v)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().filter_map(|item| remove(item, patterns)).collect()),
        scalar => scalar.clone(),
    })
}

/// Breaks an answer into lines. Works on bytes, so that numbers keep their spelling and members their order.
pub(crate) fn pretty(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', depth * 2));
    };
    let mut rest = body.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if quoted {
            out.push(byte);
            quoted = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        match byte {
            b'"' => {
                quoted = true;
                out.push(byte);
            }
            b'{' | b'[' => {
                out.push(byte);
                while rest.next_if(u8::is_ascii_whitespace).is_some() {}
                if let Some(close) = rest.next_if(|b| matches!(b, b'}' | b']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b" : "),
            blank if blank.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_keep_and_drop() {
        let body = br#"{"a":{"b":{"x":1,"y":2},"c":{"x":3}},"d":[{"x":4},{"z":5}]}"#;
        let kept = |patterns: &str| String::from_utf8(filter(body, patterns).unwrap()).unwrap();
        assert_eq!(kept("a.*.x"), r#"{"a":{"b":{"x":1},"c":{"x":3}}}"#);
        assert_eq!(kept("d.x"), r#"{"d":[{"x":4}]}"#);
        assert_eq!(kept("**.y"), r#"{"a":{"b":{"y":2}}}"#);
        assert_eq!(kept("-a"), r#"{"d":[{"x":4},{"z":5}]}"#);
        assert_eq!(kept("nope"), "{}");
    }

    #[test]
    fn pretty_keeps_numbers_and_strings() {
        let text = String::from_utf8(pretty(br#"{"a":[1e400,{}],"b":"x, {\"y"}"#)).unwrap();
        assert_eq!(
            text,
            "{\n  \"a\" : [\n    1e400,\n    {}\n  ],\n  \"b\" : \"x, {\\\"y\"\n}\n"
        );
    }
}
