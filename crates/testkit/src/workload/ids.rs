//! Document ids and routing values: a fixed pool, so that writers meet on the same documents, of every kind that an
//! encoder along the way might get wrong.

/// The most bytes an engine takes as an id.
const LONGEST: usize = 512;

/// The id of document `number` of the pool, and the routing it always goes by, if any.
pub(super) fn id(number: u32) -> String {
    match number % 14 {
        0 => format!("doc-{number}"),
        1 => format!("{number}"),
        2 => format!("crab 🦀 {number}"),
        3 => format!("文档-{number}"),
        4 => format!("a/b?c=d&e#f%20{number}"),
        5 => format!(" blanks around {number} "),
        6 => format!("..{number}.tar.gz"),
        7 => format!("quote\"back\\slash\ttab {number}"),
        8 => filled(number, "x"),
        9 => filled(number, "漢"),
        10 => format!("UPPER+plus,comma;{number}*"),
        11 => format!("combining e\u{301} and \u{202e}right-to-left {number}"),
        12 => format!("family 👨‍👩‍👧 {number} \u{7f}"),
        _ => format!("urn:example:{{{number}}}<&>"),
    }
}

/// An id of as many bytes as are allowed.
fn filled(number: u32, unit: &str) -> String {
    let mut id = format!("long-{number}-");
    while id.len() + unit.len() <= LONGEST {
        id.push_str(unit);
    }
    id
}

/// The routing values in use.
pub(super) const ROUTINGS: [&str; 6] = ["r1", "tenant/42", "路由", "🦀", "a b", "%2F?#"];

/// How document `number` is routed, where that never changes: every seventh by a value of its own.
pub(super) fn routing(number: u32) -> Option<&'static str> {
    (number % 7 == 3).then(|| ROUTINGS[number as usize / 7 % ROUTINGS.len()])
}

/// Whether document `number` is written now under one routing, now under another: the engine then keeps it in
/// several shards at a time, or lets its routing change within one.
pub(super) fn roams(number: u32) -> bool {
    number % 29 == 11
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_distinct_and_within_the_limit() {
        let ids: HashSet<String> = (0..1000).map(id).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.iter().all(|id| id.len() <= LONGEST));
        assert!(ids.iter().any(|id| id.len() == LONGEST));
    }
}
