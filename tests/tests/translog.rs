//! The translogs of real servers, parsed, against what those servers told their clients: every operation, whole.
//!
//! What an operation has to be is taken from the request (source, routing) and from its answer (id, version, sequence
//! number, term); of documents that live on, also from searches and from `_source`. `TRANSLOG_SEED` repeats a run.

#![expect(
    clippy::print_stdout,
    reason = "the seed, and how much was compared, belong into the test's output"
)]

#[path = "translog/awkward.rs"]
mod awkward;
#[path = "translog/book.rs"]
mod book;
#[path = "translog/folder.rs"]
mod folder;
#[path = "translog/random.rs"]
mod random;
#[path = "translog/says.rs"]
mod says;

use std::path::Path;

use book::Book;
use folder::Folder;
use slipstream_testkit::servers::{Release, Server, ServerConfig, or_skip};

async fn start(release: Release) -> Option<Server> {
    or_skip(Server::start(release, ServerConfig::named("translog")).await)
}

async fn logs_what_it_says(release: Release) {
    let Some(server) = start(release).await else {
        return;
    };
    let client = server.client();

    let mut book = Book::new(client.clone(), "awkward");
    awkward::write(&mut book, release).await;
    assert_eq!(
        book.refused(),
        0,
        "{release}: what is awkward is taken all the same"
    );
    let folder = Folder::of(&client, &server.data_path(), "awkward", 0).await;
    book.compare(0, &folder);

    let seed =
        std::env::var("TRANSLOG_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a seed"));
    println!("{release}: TRANSLOG_SEED={seed}");
    let mut book = Book::new(client.clone(), "random");
    random::write(&mut book, seed).await;
    assert_eq!(book.refused(), 0, "{release}: all of it can be written");
    for shard in 0..random::SHARDS {
        let folder = Folder::of(&client, &server.data_path(), "random", shard).await;
        book.compare(shard, &folder);
        says::compare(&client, "random", shard, &folder).await;
    }

    // A flush begins an empty generation, and its checkpoint says so.
    let (status, answer) = client.post_bytes("/awkward/_flush?force=true", "").await;
    assert_eq!(status, 200, "{answer}");
    let flushed = Folder::of(&client, &server.data_path(), "awkward", 0).await;
    assert!(flushed.is_empty(), "{release}: {:?}", flushed.checkpoint());
    server.stop().await;
}

#[tokio::test]
async fn elasticsearch_7_10_2_logs_what_it_says() {
    logs_what_it_says(Release::Elasticsearch7_10_2).await;
}

#[tokio::test]
async fn elasticsearch_7_17_29_logs_what_it_says() {
    logs_what_it_says(Release::Elasticsearch7_17_29).await;
}

#[tokio::test]
async fn elasticsearch_8_19_21_logs_what_it_says() {
    logs_what_it_says(Release::Elasticsearch8_19_21).await;
}

#[tokio::test]
async fn opensearch_2_19_1_logs_what_it_says() {
    logs_what_it_says(Release::OpenSearch2_19_1).await;
}

#[tokio::test]
async fn opensearch_3_6_0_logs_what_it_says() {
    logs_what_it_says(Release::OpenSearch3_6_0).await;
}

/// Not a check but how the fixtures of `crates/translog` come about; it replaces them.
#[tokio::test]
#[ignore = "writes into crates/translog/tests/fixtures; run it by hand"]
async fn fixtures_are_made_anew() {
    // Cargo runs tests in their package's folder. A path that is compiled in would be that of the clone which was built first,
    // where several share a target folder.
    let root = Path::new("../crates/translog/tests/fixtures");
    for release in Release::ALL {
        let Some(server) = start(release).await else {
            continue;
        };
        let mut book = Book::new(server.client(), "awkward");
        awkward::write(&mut book, release).await;
        let folder = Folder::of(&server.client(), &server.data_path(), "awkward", 0).await;
        book.compare(0, &folder);
        let target = root.join(release.slug());
        folder.copy_to(&target);
        std::fs::write(target.join("operations.jsonl"), book.lines(0)).expect("a fixture");
        server.stop().await;
    }
}
