//! Indices that are described and changed.

use super::*;

#[tokio::test]
#[ignore = "needs real servers"]
async fn indices_are_described_and_changed() {
    for cluster in clusters() {
        let identity = cluster.identity().await.expect("identity");
        println!(
            "{} {} {} pit: {}",
            identity.engine,
            identity.version,
            identity.uuid,
            identity.supports_pit()
        );
        let index = fresh(&cluster, "meta", &small()).await;
        let alias = "slipstream-cluster-test-alias";
        let add = Map::from_iter([(
            alias.to_owned(),
            json!({ "filter": { "term": { "a": 1 } }, "index_routing": "r" }),
        )]);
        let versions = cluster
            .index_state(&index)
            .await
            .expect("state")
            .expect("there")
            .versions;
        let cluster_version = cluster.state_version().await.expect("version");
        cluster
            .put_mapping(&index, &raw(r#"{"properties":{"a":{"type":"long"}}}"#))
            .await
            .expect("mapping");
        cluster
            .put_settings(&index, &settings(&[("index.refresh_interval", json!("7s"))]))
            .await
            .expect("settings");
        cluster.update_aliases(&index, &add, &[]).await.expect("aliases");
        let description = cluster.describe(&index).await.expect("describe").expect("there");
        assert_eq!(
            description.mapping.get(),
            r#"{"properties":{"a":{"type":"long"}}}"#
        );
        assert_eq!(description.settings["index.refresh_interval"], json!("7s"));
        assert_eq!(
            description.aliases[alias]["filter"],
            json!({ "term": { "a": 1 } })
        );
        assert_eq!(description.aliases[alias]["index_routing"], json!("r"));
        let state = &description.state;
        assert!(state.open && state.shards == 1 && state.routing_shards > 1);
        assert!(state.versions.mapping > versions.mapping && state.versions.settings > versions.settings);
        assert!(state.versions.aliases > versions.aliases && state.state_version > cluster_version);
        assert_eq!(
            state.primary_terms,
            BTreeMap::from([(ShardId(0), PrimaryTerm(1))])
        );

        let name = IndexName::new(alias);
        assert_eq!(cluster.index_state(&name).await.expect("state"), None);
        assert!(cluster.describe(&name).await.expect("describe").is_none());
        assert!(cluster.exists(&name).await.expect("exists"));
        assert!(
            cluster
                .seq_stats(std::slice::from_ref(&name))
                .await
                .expect("stats")
                .is_empty()
        );
        let missing = IndexName::from("slipstream-cluster-test-nope");
        assert_eq!(cluster.index_state(&missing).await.expect("state"), None);
        assert!(!cluster.exists(&missing).await.expect("exists"));
        let stats = cluster
            .seq_stats(&[missing.clone(), index.clone(), name.clone()])
            .await
            .expect("stats");
        assert_eq!(stats.keys().collect::<Vec<_>>(), [&index]);
        assert_eq!(stats[&index].uuid, state.uuid);
        let names = cluster
            .index_names("slipstream-cluster-test-m*")
            .await
            .expect("names");
        assert_eq!(names, [(index.clone(), state.uuid.clone(), true)]);
        assert_eq!(
            cluster
                .index_names("slipstream-cluster-test-al*")
                .await
                .expect("names"),
            []
        );
        assert_eq!(
            cluster
                .index_names("slipstream-cluster-nope*")
                .await
                .expect("names"),
            []
        );

        let error = cluster
            .create_index(&index, &small(), &raw("{}"), &Map::new())
            .await
            .expect_err("exists");
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        let error = cluster.delete_index(&missing).await.expect_err("missing");
        assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
        let conflict = raw(r#"{"properties":{"a":{"type":"keyword"}}}"#);
        let error = cluster
            .put_mapping(&index, &conflict)
            .await
            .expect_err("conflict");
        assert!(
            error.kind == ErrorKind::BadRequest && error.to_string().contains("[a]"),
            "{error}"
        );

        cluster
            .put_settings(&index, &settings(&[("index.refresh_interval", Value::Null)]))
            .await
            .expect("settings");
        cluster
            .update_aliases(&index, &Map::new(), &[alias.to_owned()])
            .await
            .expect("aliases");
        let description = cluster.describe(&index).await.expect("describe").expect("there");
        assert!(
            !description.settings.contains_key("index.refresh_interval") && description.aliases.is_empty()
        );

        cluster.close_index(&index).await.expect("close");
        assert!(
            !cluster
                .index_state(&index)
                .await
                .expect("state")
                .expect("there")
                .open
        );
        assert!(
            !cluster
                .index_names("slipstream-cluster-test-meta")
                .await
                .expect("names")[0]
                .2
        );
        assert!(cluster.describe(&index).await.expect("describe").is_some());
        assert!(
            cluster
                .seq_stats(std::slice::from_ref(&index))
                .await
                .expect("stats")
                .is_empty()
        );
        assert_eq!(
            cluster.refresh(&index).await.expect_err("closed").kind,
            ErrorKind::IndexClosed
        );
        let doc = op("a", None, 1, b"{\"a\":1}");
        let outcomes = cluster
            .bulk(&index, &[BulkItem::Index { op: &doc }], "t")
            .await
            .expect("bulk");
        assert!(
            matches!(outcomes[0], ItemOutcome::Retry(RetryReason::Blocked, _)),
            "{outcomes:?}"
        );
        let error = cluster
            .present(&index, std::slice::from_ref(&doc.doc))
            .await
            .expect_err("closed");
        assert_eq!(error.kind, ErrorKind::IndexClosed, "{error}");
        cluster.open_index(&index).await.expect("open");

        for block in ["index.blocks.write", "index.blocks.read_only_allow_delete"] {
            cluster
                .put_settings(&index, &settings(&[(block, json!(true))]))
                .await
                .expect("settings");
            let outcomes = cluster
                .bulk(&index, &[BulkItem::Index { op: &doc }], "t")
                .await
                .expect("bulk");
            assert!(
                matches!(outcomes[0], ItemOutcome::Retry(RetryReason::Blocked, _)),
                "{outcomes:?}"
            );
            let outcome = cluster.put_document(&index, &doc, "t").await.expect("put");
            assert!(
                matches!(outcome, ItemOutcome::Retry(RetryReason::Blocked, _)),
                "{outcome:?}"
            );
            cluster
                .put_settings(&index, &settings(&[(block, Value::Null)]))
                .await
                .expect("settings");
        }
        let wrong = op("a", None, 1, b"{\"a\":\"x\"}");
        for outcome in [
            cluster
                .bulk(&index, &[BulkItem::Index { op: &wrong }], "t")
                .await
                .expect("bulk")
                .remove(0),
            cluster.put_document(&index, &wrong, "t").await.expect("put"),
        ] {
            let ItemOutcome::Rejected(error) = outcome else {
                panic!("{outcome:?}")
            };
            assert!(error.status == 400 && error.reason.contains("[a]"), "{error:?}");
        }
        let running = cluster.running_bulks().await.expect("tasks");
        assert!(!running.iter().any(|id| id == "t"), "{running:?}");
        cluster.delete_index(&index).await.expect("delete");
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn a_blocked_index_does_not_hide_the_others() {
    for cluster in clusters() {
        let blocked = fresh(&cluster, "blocked", &small()).await;
        let open = fresh(&cluster, "unblocked", &small()).await;
        let block = |on: Value| settings(&[("index.blocks.metadata", on)]);
        cluster
            .put_settings(&blocked, &block(json!(true)))
            .await
            .expect("settings");
        let stats = cluster
            .seq_stats(&[blocked.clone(), open.clone()])
            .await
            .expect("stats");
        assert_eq!(stats.keys().collect::<Vec<_>>(), [&open]);
        let error = cluster
            .seq_stats(std::slice::from_ref(&blocked))
            .await
            .expect_err("blocked");
        assert_eq!(error.kind, ErrorKind::Blocked, "{error}");
        cluster
            .put_settings(&blocked, &block(Value::Null))
            .await
            .expect("settings");
        cluster.delete_index(&blocked).await.expect("delete");
        cluster.delete_index(&open).await.expect("delete");
    }
}

#[tokio::test]
#[ignore = "needs real servers"]
async fn the_node_beside_the_client_holds_the_copies_of_a_single_node() {
    for cluster in clusters() {
        let index = fresh(&cluster, "copies", &small()).await;
        let node = cluster.local_node().await.expect("node");
        let copies = cluster.shard_copies(&index).await.expect("copies").expect("open");
        let stats = cluster
            .seq_stats(std::slice::from_ref(&index))
            .await
            .expect("stats");
        let (copy, primary) = (&copies.shards[&ShardId(0)], &stats[&index].shards[&ShardId(0)]);
        assert_eq!(copies.uuid, stats[&index].uuid);
        assert_eq!((copy.len(), copy[0].primary), (1, true));
        assert_eq!((&copy[0].node, &copy[0].node), (&node.id, &primary.node));
        assert_eq!(copy[0].history_uuid, primary.history_uuid);
        assert!(!copy[0].translog_uuid.is_empty(), "{copy:?}");
        assert!(!copy[0].data_path.is_empty(), "{copy:?}");
        cluster.delete_index(&index).await.expect("delete");
        assert_eq!(cluster.shard_copies(&index).await.expect("copies"), None);
    }
}
