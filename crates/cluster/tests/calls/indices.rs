//! What is told of indices.

use super::*;

/// A description that changes while it is read is read again.
#[tokio::test]
async fn descriptions_are_of_one_moment() {
    let reads = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&reads);
    let config = server(move |asked| {
        let mapping_reads = counted.load(Ordering::SeqCst);
        // The mapping moves on right after it was read for the first time.
        let version = if mapping_reads == 0 { 3 } else { 4 };
        match asked.uri.split('?').next().unwrap_or_default() {
            "/_cluster/state/metadata,version,blocks/i" => json(
                200,
                format!(
                    r#"{{"version":{},"metadata":{{"indices":{{"i":{{"mapping_version":{version},"settings_version":1,"aliases_version":1,"state":"open",
                    "routing_num_shards":1024,"settings":{{"index":{{"uuid":"U","number_of_shards":"1"}}}},"primary_terms":{{"0":2}}}}}}}}}}"#,
                    version + 10
                ),
            ),
            "/_cluster/state/version" => json(200, r#"{"version":14}"#),
            "/i/_mapping" => {
                counted.fetch_add(1, Ordering::SeqCst);
                json(200, format!(r#"{{"i":{{"mappings":{{"n": {version}.0 }}}}}}"#))
            }
            "/i/_settings" => json(200, r#"{"i":{"settings":{"index.refresh_interval":"1s"}}}"#),
            "/i/_alias" => json(200, r#"{"i":{"aliases":{}}}"#),
            other => panic!("{other}"),
        }
    })
    .await;
    let description = client(&config)
        .describe(&index())
        .await
        .expect("describe")
        .expect("there");
    assert_eq!(description.mapping.get(), r#"{"n": 4.0 }"#);
    assert_eq!(
        (
            description.state.versions.mapping,
            description.state.state_version
        ),
        (4, 14)
    );
    assert_eq!(reads.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn statistics_are_of_started_primaries_and_asked_in_portions() {
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let config = server(move |asked| {
        counted.fetch_add(1, Ordering::SeqCst);
        assert!(asked.uri.len() < 4_000, "the engines' limit");
        let copy = |state: &str, primary: bool, max: i64| {
            format!(
                r#"{{"routing":{{"state":"{state}","primary":{primary},"node":"n"}},"seq_no":{{"max_seq_no":{max},"local_checkpoint":{max},"global_checkpoint":-2}},
                "commit":{{"user_data":{{"history_uuid":"h"}}}},"refresh":{{"total":9}}}}"#
            )
        };
        json(
            200,
            format!(
                r#"{{"indices":{{"alias-of":{{"uuid":"x","shards":{{}}}},"index-with-a-long-name-0":{{"uuid":"U","shards":{{"0":[{},{},{}],"1":[{}]}}}}}}}}"#,
                copy("STARTED", false, 7),
                copy("INITIALIZING", true, 3),
                copy("RELOCATING", true, 8),
                copy("INITIALIZING", true, 0),
            ),
        )
    })
    .await;
    let names: Vec<_> = (0..500)
        .map(|n| IndexName::new(format!("index-with-a-long-name-{n}")))
        .collect();
    let stats = client(&config).seq_stats(&names).await.expect("stats");
    assert_eq!(stats.len(), 1);
    let shards = &stats[&names[0]].shards;
    assert_eq!(shards.len(), 1);
    assert_eq!(shards[&ShardId(0)].max_seq_no, Checkpoint::new(8));
    assert_eq!(shards[&ShardId(0)].global_checkpoint.0, Checkpoint::NONE);
    assert_eq!(shards[&ShardId(0)].refreshes, 9);
    assert!(calls.load(Ordering::SeqCst) > 1);
    assert!(client(&config).seq_stats(&[]).await.expect("none").is_empty());
}

#[tokio::test]
async fn names_that_mean_more_than_one_index_are_never_sent() {
    let config = server(|asked| panic!("{}", asked.uri)).await;
    let cluster = client(&config);
    for name in ["*", "_all", "a,b", "", "-a"] {
        let name = IndexName::from(name);
        assert_eq!(
            cluster.delete_index(&name).await.expect_err("refused").kind,
            ErrorKind::BadRequest
        );
        assert_eq!(
            cluster.close_index(&name).await.expect_err("refused").kind,
            ErrorKind::BadRequest
        );
    }
}
