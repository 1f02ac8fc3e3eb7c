//! Lanes of several indices against an engine in memory.

use std::sync::Arc;
use std::time::Duration;

use slipstream_model::{
    Change, Checkpoint, DocRef, IndexName, Op, PrimaryTerm, SeqNo, ShardId, ShardKey, Version,
};
use slipstream_sandbox::Endpoint;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{ApplyError, Bulks, Lane, LaneContext, Portion, Write};
use crate::status::ShardCell;
use crate::testing::target;

const INDICES: usize = 6;
const PORTIONS: u64 = 30;

fn doc(id: &str) -> DocRef {
    DocRef {
        id: id.to_owned(),
        routing: None,
    }
}

fn write(seq_no: u64, id: &str, change: Change) -> Write {
    Write::Op(Op {
        seq_no: SeqNo::new(seq_no),
        term: PrimaryTerm(1),
        version: Version(seq_no as i64 + 1),
        doc: doc(id),
        change,
    })
}

/// Each portion deletes the document of the one before it.
fn portion(number: u64) -> Portion {
    let source = Change::Index {
        source: format!(r#"{{"n":{number}}}"#).into(),
    };
    let mut writes = vec![write(number * 2, &format!("d{number}"), source)];
    if number > 0 {
        writes.push(write(number * 2 + 1, &format!("d{}", number - 1), Change::Delete));
    }
    Portion {
        batch: number,
        writes,
    }
}

fn context(bulks: &Arc<Bulks>, index: &IndexName) -> LaneContext {
    let shard = ShardKey {
        index: index.clone(),
        shard: ShardId(0),
    };
    LaneContext {
        bulks: Arc::clone(bulks),
        index: index.clone(),
        shard: shard.clone(),
        status: Arc::new(ShardCell::new(shard)),
    }
}

#[tokio::test]
async fn an_index_that_numbers_its_writes_from_the_beginning_again_is_another_one() {
    let (sandbox, cluster) = target().await;
    let index = IndexName::new("i");
    let bulks = Arc::new(Bulks::new(cluster.clone(), "f"));
    let lane = Lane::new(
        "slipstream-f-i-0-0".to_owned(),
        context(&bulks, &index),
        Checkpoint::NONE,
    );
    let (sender, portions) = mpsc::channel(1);
    let (done, mut applied) = mpsc::channel(2);
    let running = tokio::spawn(lane.run(portions, done));
    for number in 0..3 {
        sender.send(portion(number)).await.unwrap();
        let done = applied.recv().await.unwrap().unwrap();
        assert_eq!(
            (done.batch, done.written),
            (number, Checkpoint::new(number as i64 * 2))
        );
    }
    // The engine makes an index for whoever writes to one that is missing.
    cluster.delete_index(&index).await.unwrap();
    sender.send(portion(3)).await.unwrap();
    let error = applied.recv().await.unwrap().unwrap_err();
    assert!(matches!(error, ApplyError::IndexReplaced(_)), "{error}");
    running.await.unwrap();

    // The next session knows what the one before was told.
    let lane = Lane::new(
        "slipstream-f-i-0-0".to_owned(),
        context(&bulks, &index),
        Checkpoint::new(4),
    );
    let error = lane.send(portion(0).writes).await.unwrap_err();
    assert!(matches!(error, ApplyError::IndexReplaced(_)), "{error}");
    sandbox.stop().await;
}

#[tokio::test]
async fn i3_lanes_that_share_requests_keep_their_order_whatever_becomes_of_some() {
    let (sandbox, cluster) = target().await;
    // Slow enough that lanes find requests under way; some are turned away, and of some nobody learns what became of them.
    let faults = sandbox.faults();
    faults.delay(Endpoint::Bulk, Duration::from_millis(3), Duration::ZERO);
    faults.lose_answers(3);
    faults.reject_bulks(3);
    faults.reject_items(5);
    let bulks = Arc::new(Bulks::new(cluster.clone(), "f"));
    let mut lanes = JoinSet::new();
    let indices: Vec<_> = (0..INDICES).map(|n| IndexName::new(format!("i{n}"))).collect();
    for index in &indices {
        let context = context(&bulks, index);
        let (sender, portions) = mpsc::channel(PORTIONS as usize);
        let (done, mut applied) = mpsc::channel(PORTIONS as usize + 1);
        for number in 0..PORTIONS {
            sender.send(portion(number)).await.unwrap();
        }
        drop(sender);
        let lane = Lane::new(format!("slipstream-f-{index}-0-0"), context, Checkpoint::NONE);
        lanes.spawn(async move {
            lane.run(portions, done).await;
            while let Some(applied) = applied.recv().await {
                applied.unwrap();
            }
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane.unwrap();
    }
    for index in &indices {
        let all: Vec<_> = (0..PORTIONS).map(|number| doc(&format!("d{number}"))).collect();
        let present = cluster.present(index, &all).await.unwrap();
        let last = present.iter().rposition(|present| *present);
        assert_eq!(last, Some(PORTIONS as usize - 1), "{index}");
        assert_eq!(
            present.iter().filter(|present| **present).count(),
            1,
            "{index}: deletes come after what they delete"
        );
    }
    sandbox.stop().await;
}
