//! Writes of every kind at random, over two shards.

use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng, seq::IndexedRandom};
use serde_json::json;

use crate::awkward::{cbor, mapping, too_long};
use crate::book::{Book, Item, Source};

/// How many shards are written to.
pub(crate) const SHARDS: u32 = 2;
const STEPS: usize = 500;
const IDS: u32 = 60;

/// No commas: a routing with one is two routings to a search.
const ROUTINGS: [&str; 5] = ["r1", "路由", "🦀", "tenant/42", "a b"];

const WORDS: [&str; 8] = [
    "shard",
    "Grüße",
    "ночь",
    "漢字",
    "🦀🚀",
    "tab\\t",
    "\\u00e9",
    "nul\\u0000",
];

/// Creates the index and writes to it, as the seed has it.
pub(crate) async fn write(book: &mut Book, seed: u64) {
    let settings = json!({"number_of_shards": SHARDS, "number_of_replicas": 0,
        "translog.generation_threshold_size": "16kb"});
    let body = json!({"settings": {"index": settings}, "mappings": mapping()});
    let (status, answer) = book.client.put(&format!("/{}", book.index()), &body).await;
    assert_eq!(status, 200, "{answer}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for _ in 0..STEPS {
        step(book, &mut random).await;
    }
    // A failed write is answered before its no-op is synced: only with the next one does the checkpoint cover it. These
    // reach every shard.
    for number in 0..8 {
        book.put(&format!("end-{number}"), None, Source::json("{}"), "")
            .await;
    }
}

async fn step(book: &mut Book, random: &mut ChaCha8Rng) {
    let (id, routing) = document(random);
    match random.random_range(0..20) {
        0..=5 => book.put(&id, routing, Source::json(source(random)), "").await,
        // Under an id of their own: a partial update would be answered in CBOR as well.
        6 => book.put(&format!("cbor {id:.40}"), routing, cbor(), "").await,
        7 => book.post(routing, Source::json(source(random))).await,
        8 | 9 => {
            let kind = if random.random() {
                "external"
            } else {
                "external_gte"
            };
            let more = format!(
                "&version={}&version_type={kind}",
                random.random_range(0..1u64 << 40)
            );
            if random.random_bool(0.7) {
                book.put(&id, routing, Source::json(source(random)), &more).await;
            } else {
                book.delete(&id, routing, &more).await;
            }
        }
        10..=12 => book.delete(&id, routing, "").await,
        13 | 14 => {
            let part = format!("{{\"counter\":{}}}", random.random_range(0..5));
            book.update(&id, routing, &part).await;
        }
        15 => book.fail(&id, routing, too_long()).await,
        16 => book.client.refresh(book.index()).await,
        _ => {
            let items = (0..random.random_range(1..20)).map(|_| item(random)).collect();
            book.bulk(items).await;
        }
    }
}

fn item(random: &mut ChaCha8Rng) -> Item {
    let (id, routing) = document(random);
    let action = *["index", "index", "create", "delete"]
        .choose(random)
        .unwrap_or(&"index");
    let makes_id = action == "index" && random.random_bool(0.2);
    Item {
        action,
        id: (!makes_id).then_some(id),
        routing: routing.map(str::to_owned),
        source: source(random).replace(['\r', '\n'], " "),
    }
}

/// An id of the pool and its routing; a document of the pool always has the same.
fn document(random: &mut impl Rng) -> (String, Option<&'static str>) {
    let number = random.random_range(0..IDS);
    let id = match number % 8 {
        0 => number.to_string(),
        1 => format!("crab 🦀 {number}"),
        2 => format!("文档-{number}"),
        3 => format!("a/b?c=d&e#f%20{number}"),
        4 => format!("Abc{number:05}"),
        5 => format!("{number}-{}", "x".repeat(500)),
        6 => format!("{number}-{}", "🦀".repeat(120)),
        _ => format!("nul\0{number}"),
    };
    let routing = (number % 3 == 0).then(|| ROUTINGS[(number / 3) as usize % ROUTINGS.len()]);
    (id, routing)
}

fn source(random: &mut impl Rng) -> String {
    let count = *[0, 1, 3, 10, 300].choose(random).unwrap_or(&1);
    let words: Vec<&str> = (0..count)
        .map(|_| WORDS[random.random_range(0..WORDS.len())])
        .collect();
    let counter = random.random_range(-5..1_000_000_000_000i64);
    match random.random_range(0..4) {
        0 => "{}".to_owned(),
        1 => format!("\t{{ \"counter\" : {counter} ,\r\n \"d\": 1.50e+03 }}\n"),
        _ => format!(
            "{{\"counter\":{counter},\"text\":\"{}\",\"empty\":[{{}},null]}}",
            words.join(" ")
        ),
    }
}
