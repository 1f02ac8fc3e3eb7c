//! Sources, written by hand rather than by a serialiser: what has to survive replication is the spelling.

use std::fmt::Write as _;

use rand::{Rng, RngExt};
use serde_json::{Value, json};

/// Fields that documents bring along without a mapping; few enough for the limit of a thousand fields.
const DYNAMIC_FIELDS: u32 = 40;
/// Fields that mapping updates bring.
const MAPPED_FIELDS: u32 = 40;

/// Numbers that a parser into 64 bits would change.
const BIG: [&str; 10] = [
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    "18446744073709551616",
    "1e308",
    "-1.7976931348623157E+308",
    "4.9e-324",
    "0.123456789012345678901234567890",
    "123456789012345678901234567890.5",
    "1.0000",
];

const WORDS: [&str; 10] = [
    "shard",
    "Grüße",
    "ночь",
    "漢字",
    "🦀🚀",
    "tab\\t",
    "quote\\\"",
    "slash\\/",
    "\\u00e9",
    "nul\\u0000",
];

/// The mapping that indices start with.
pub(super) fn mapping() -> Value {
    json!({
        "properties": {
            "counter": {"type": "long"},
            "word": {"type": "keyword", "ignore_above": 200},
            "text": {"type": "text"},
            "double": {"type": "double"},
            "spelled": {"type": "keyword"},
            "anything": {"type": "object", "enabled": false},
            "items": {"type": "nested", "properties": {
                "sku": {"type": "keyword"},
                "quantity": {"type": "integer"},
                "parts": {"type": "nested", "properties": {"name": {"type": "keyword"}}},
            }},
        }
    })
}

/// A mapping update: one field more, always of the same type for the same name.
pub(super) fn mapping_update(random: &mut impl Rng) -> Value {
    const TYPES: [&str; 6] = ["keyword", "long", "date", "boolean", "ip", "text"];
    let number = random.random_range(0..MAPPED_FIELDS);
    let mut field = json!({"type": TYPES[number as usize % TYPES.len()]});
    if number.is_multiple_of(3) {
        field["fields"] = json!({"raw": {"type": "keyword", "ignore_above": number + 1}});
    }
    json!({"properties": {format!("mapped_{number}"): field}})
}

/// The new part of a partial update.
pub(super) fn part(random: &mut impl Rng) -> String {
    match random.random_range(0..3) {
        0 => format!("{{\"counter\":{}}}", random.random_range(0..1000)),
        1 => format!(
            "{{\"word\":\"{}\",\"anything\":{{\"n\":{}}}}}",
            word(random),
            big(random)
        ),
        _ => format!("{{{}}}", dynamic_field(random)),
    }
}

/// A source on one line, as `_bulk` wants it, with blanks in odd places now and then.
pub(super) fn on_one_line(random: &mut impl Rng) -> String {
    let members = members(random);
    match random.random_range(0..6) {
        0 => format!("  {{ {} }}\t ", members.join(" , ")),
        1 => format!(
            "{{\"{}\" :{}}}",
            "empty\":{},\"empty2",
            format_args!("[ ],{}", members.join(","))
        ),
        _ => format!("{{{}}}", members.join(",")),
    }
}

/// A source over several lines, which `_bulk` cannot carry.
pub(super) fn pretty(random: &mut impl Rng) -> String {
    let newline = if random.random_bool(0.3) { "\r\n" } else { "\n" };
    let mut text = String::from("{");
    for (number, member) in members(random).into_iter().enumerate() {
        let comma = if number == 0 { "" } else { "," };
        let _ = write!(text, "{comma}{newline}    {member}");
    }
    let _ = write!(text, "{newline}}}{newline}");
    text
}

fn members(random: &mut impl Rng) -> Vec<String> {
    let mut members = vec![format!("\"counter\":{}", random.random_range(-5..1_000_000_i64))];
    if random.random_bool(0.6) {
        members.push(format!("\"word\":\"{}\"", word(random)));
    }
    if random.random_bool(0.4) {
        let length = random.random_range(1..60);
        let words: Vec<&str> = (0..length).map(|_| word(random)).collect();
        members.push(format!("\"text\": \"{}\"", words.join(" ")));
    }
    if random.random_bool(0.3) {
        members.push(format!("\"double\":{},\"spelled\":{}", big(random), big(random)));
    }
    if random.random_bool(0.3) {
        let numbers: Vec<&str> = (0..4).map(|_| big(random)).collect();
        members.push(format!(
            "\"anything\":{{\"z\":[{}], \"a\":null,\"\":{{}} }}",
            numbers.join(" ,")
        ));
    }
    if random.random_bool(0.3) {
        let items: Vec<String> = (0..random.random_range(0..5))
            .map(|number| item(random, number))
            .collect();
        members.push(format!("\"items\":[{}]", items.join(",")));
    }
    if random.random_bool(0.15) {
        members.push(dynamic_field(random));
    }
    if random.random_bool(0.01) {
        members.push(format!(
            "\"filler\":\"{}\"",
            "0123456789".repeat(random.random_range(1000..8000))
        ));
    }
    members
}

fn item(random: &mut impl Rng, number: u32) -> String {
    let quantity = random.random_range(0..100);
    let parts = if random.random_bool(0.3) {
        ",\"parts\":[{\"name\":\"a\"},{\"name\":\"b\"}]"
    } else {
        ""
    };
    format!("{{\"sku\":\"s{number}\",\"quantity\":{quantity}{parts}}}")
}

/// A field that may be new to the mapping; the same name always has the same type.
fn dynamic_field(random: &mut impl Rng) -> String {
    let number = random.random_range(0..DYNAMIC_FIELDS);
    let value = match number % 6 {
        0 => random.random_range(0..100).to_string(),
        1 => format!("\"{}\"", word(random)),
        2 => "true".to_owned(),
        3 => "2.50".to_owned(),
        4 => "\"2026-11-24T08:00:00Z\"".to_owned(),
        _ => format!("{{\"inner_{}\":[1,2]}}", random.random_range(0..3)),
    };
    format!("\"dynamic_{number}\":{value}")
}

fn word(random: &mut impl Rng) -> &'static str {
    WORDS[random.random_range(0..WORDS.len())]
}

fn big(random: &mut impl Rng) -> &'static str {
    BIG[random.random_range(0..BIG.len())]
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;

    #[test]
    fn sources_are_json_objects_and_those_for_bulk_have_one_line() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..2000 {
            let line = on_one_line(&mut random);
            assert!(!line.contains(['\n', '\r']), "{line}");
            for text in [line, pretty(&mut random), part(&mut random)] {
                let parsed = serde_json::from_str::<
                    std::collections::BTreeMap<String, Box<serde_json::value::RawValue>>,
                >(&text);
                assert!(parsed.is_ok(), "{text}");
            }
        }
    }
}
