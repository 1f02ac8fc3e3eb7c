//! Shard streams: how they begin, what flows, and how they end.

use std::time::Duration;

use slipstream_leader::LeaderConfig;
use slipstream_model::{Change, Op};
use slipstream_wire::v1::changes_client::ChangesClient;
use slipstream_wire::v1::follower_frame::Frame as Say;
use slipstream_wire::v1::leader_frame::Frame;
use slipstream_wire::{cause, decode_batch, protocol, v1};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, Streaming};

use crate::stub::{HISTORY, INDEX, INDEX_UUID};
use crate::{FOLLOWER, Fixture, rule, within};

const PLENTY: u64 = 1 << 30;

/// A follower's end of a stream.
struct Follower {
    say: mpsc::Sender<v1::FollowerFrame>,
    hear: Streaming<v1::LeaderFrame>,
}

fn open() -> v1::Open {
    v1::Open {
        protocol: 1,
        index: INDEX.into(),
        index_uuid: INDEX_UUID.into(),
        shard: 0,
        history_uuid: String::new(),
        checkpoint: -1,
        scanned: -1,
        scanned_term: 0,
        refresh_millis: 0,
        reconciling: false,
    }
}

fn say(frame: Say) -> v1::FollowerFrame {
    v1::FollowerFrame { frame: Some(frame) }
}

impl Follower {
    async fn begin(fixture: &Fixture, first: Say) -> Result<Follower, Status> {
        let (sender, receiver) = mpsc::channel(8);
        sender.send(say(first)).await.unwrap();
        let mut client = ChangesClient::new(fixture.channel.clone())
            .max_decoding_message_size(protocol::MAX_MESSAGE_BYTES);
        let hear = within("the stream", client.stream(ReceiverStream::new(receiver)))
            .await?
            .into_inner();
        Ok(Follower { say: sender, hear })
    }

    async fn open(fixture: &Fixture) -> Follower {
        let mut follower = Follower::begin(fixture, Say::Open(open())).await.unwrap();
        let Frame::Opened(opened) = follower.next().await.unwrap() else {
            panic!("expected Opened first")
        };
        assert_eq!(
            (opened.reader.as_str(), opened.history_uuid.as_str()),
            ("window", HISTORY)
        );
        follower
    }

    async fn refused(fixture: &Fixture, first: Say) -> Status {
        Follower::begin(fixture, first)
            .await
            .err()
            .expect("the stream should have been refused")
    }

    async fn says(&self, frame: Say) {
        self.say.send(say(frame)).await.unwrap();
    }

    async fn grants(&self, bytes: u64) {
        self.says(Say::Credit(v1::Credit { bytes })).await;
    }

    async fn next(&mut self) -> Result<Frame, Status> {
        let frame = within("a frame", self.hear.message()).await?;
        Ok(frame
            .expect("the leader ended the stream without a status")
            .frame
            .unwrap())
    }

    /// Reads until `checkpoint` is sealed, settling every census; the operations, and what they cost.
    async fn until_sealed(&mut self, checkpoint: i64) -> (Vec<Op>, u64) {
        let (mut ops, mut cost) = (Vec::new(), 0);
        loop {
            match self.next().await.unwrap() {
                Frame::Batch(batch) => {
                    assert_eq!(
                        batch.metadata.unwrap().mapping,
                        3,
                        "I7: operations come with their metadata"
                    );
                    cost += batch.block_bytes;
                    ops.extend(decode_batch(batch).unwrap());
                }
                Frame::Census(_) => self.says(Say::Settle(v1::Settle {})).await,
                Frame::Sealed(sealed) if sealed.checkpoint >= checkpoint => return (ops, cost),
                _ => {}
            }
        }
    }

    /// Reads until the stream ends.
    async fn end(&mut self) -> Status {
        loop {
            if let Err(status) = self.next().await {
                return status;
            }
        }
    }
}

#[tokio::test]
async fn a_bootstrap_brings_every_document_byte_for_byte_and_then_follows() {
    let fixture = Fixture::start().await;
    let sources = [
        r#"{"v": 1}"#,
        r#"{"v":1.00}"#,
        r#"{ "v" : 12345678901234567890 }"#,
    ];
    for source in sources {
        fixture.stub.index(source);
    }
    let mut follower = Follower::open(&fixture).await;
    follower.grants(PLENTY).await;
    let (ops, _) = follower.until_sealed(2).await;
    for (seq, (op, expected)) in ops.iter().zip(sources).enumerate() {
        assert_eq!(
            (op.seq_no.get(), op.doc.id.clone()),
            (seq as u64, format!("id-{seq}"))
        );
        let Change::Index { source } = &op.change else {
            panic!("{op:?}")
        };
        assert_eq!(source, expected);
    }
    assert_eq!(ops.len(), 3);

    fixture.stub.index(r#"{"v":4}"#);
    let (ops, _) = follower.until_sealed(3).await;
    assert_eq!(ops.iter().map(|op| op.seq_no.get()).collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn i8_nothing_is_read_or_sent_without_credit() {
    let fixture = Fixture::start().await;
    fixture.stub.index(r#"{"v":1}"#);
    let mut follower = Follower::open(&fixture).await;
    let batch = |frame: Option<v1::LeaderFrame>| matches!(frame.unwrap().frame, Some(Frame::Batch(_)));
    // The round has begun, and stands still where it would take credit.
    within("the refresh", async {
        while fixture.stub.refreshes() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    while let Ok(frame) = timeout(Duration::from_millis(200), follower.hear.message()).await {
        assert!(!batch(frame.unwrap()), "a batch came without credit");
    }
    assert_eq!(fixture.stub.searches(), 0);
    follower.grants(1).await;
    let (ops, _) = follower.until_sealed(0).await;
    assert_eq!(ops.len(), 1);
}

#[tokio::test]
async fn i8_a_batch_costs_its_block_and_no_more() {
    let fixture = Fixture::start().await;
    let docs = 5_000;
    (0..docs).for_each(|_| fixture.stub.index("{}"));
    let mut follower = Follower::open(&fixture).await;
    // Enough for the blocks of all documents, not for what they weigh in memory.
    let credit = 250_000;
    follower.grants(credit).await;
    let (ops, cost) = follower.until_sealed(docs - 1).await;
    assert_eq!(ops.len() as i64, docs);
    assert!(cost < credit, "{cost}");
    assert!(ops.iter().map(Op::weight).sum::<usize>() as u64 > credit);
}

#[tokio::test]
async fn deletes_are_searched_for_in_turns_and_sealed() {
    let fixture = Fixture::start().await;
    (0..3).for_each(|v| fixture.stub.index(format!(r#"{{"v":{v}}}"#)));
    fixture.stub.delete(1);
    let mut follower = Follower::open(&fixture).await;
    follower.grants(PLENTY).await;
    let census = loop {
        if let Frame::Census(census) = follower.next().await.unwrap() {
            break census;
        }
    };
    assert_eq!(census.live, 2);
    let range = v1::probe::Living {
        after: -1,
        through: 3,
    };
    let living = v1::probe::Question::Living(range);
    follower
        .says(Say::Probe(v1::Probe {
            question: Some(living),
        }))
        .await;
    let Frame::Evidence(evidence) = follower.next().await.unwrap() else {
        panic!("expected Evidence")
    };
    let answer = v1::evidence::Living {
        deltas: vec![0, 2],
        complete_through: 3,
    };
    assert_eq!(evidence.answer, Some(v1::evidence::Answer::Living(answer)));
    follower.says(Say::Settle(v1::Settle {})).await;
    follower.until_sealed(3).await;
}

#[tokio::test]
async fn a_question_that_is_not_due_ends_the_stream() {
    let fixture = Fixture::start().await;
    let mut follower = Follower::open(&fixture).await;
    follower.says(Say::Settle(v1::Settle {})).await;
    let status = follower.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("not due"), "{status}");
}

#[tokio::test]
async fn i5_a_deleted_index_ends_the_stream_with_its_cause() {
    let fixture = Fixture::start().await;
    fixture.stub.index(r#"{"v":1}"#);
    let mut follower = Follower::open(&fixture).await;
    follower.grants(PLENTY).await;
    follower.until_sealed(0).await;
    fixture.stub.drop_index();
    let status = follower.end().await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(status.metadata().get(cause::TRAILER).unwrap(), cause::INDEX_GONE);
    assert!(status.message().contains("[logs-1][0]"), "{status}");
    assert_eq!(fixture.logs.lines(&["WARN", "was deleted", FOLLOWER]), 1);
}

#[tokio::test]
async fn i5_another_identity_is_refused_at_the_opening() {
    let fixture = Fixture::start().await;
    fixture.stub.index(r#"{"v":1}"#);
    let bound = |open: v1::Open| v1::Open {
        history_uuid: HISTORY.into(),
        ..open
    };
    for (open, expected) in [
        (
            v1::Open {
                index_uuid: "older".into(),
                ..open()
            },
            cause::INDEX_REPLACED,
        ),
        (
            v1::Open {
                history_uuid: "older".into(),
                checkpoint: 0,
                ..open()
            },
            cause::HISTORY_CHANGED,
        ),
        (
            v1::Open {
                checkpoint: 9,
                ..bound(open())
            },
            cause::REGRESSED,
        ),
        (v1::Open { shard: 7, ..open() }, cause::NO_SUCH_SHARD),
        (
            v1::Open {
                index: "logs-2".into(),
                ..open()
            },
            cause::INDEX_GONE,
        ),
    ] {
        let status = Follower::refused(&fixture, Say::Open(open)).await;
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert_eq!(
            status.metadata().get(cause::TRAILER).unwrap(),
            expected,
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_cluster_that_fails_is_worth_another_try() {
    let fixture = Fixture::start().await;
    let mut follower = Follower::open(&fixture).await;
    fixture.stub.go_down();
    let status = follower.end().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(
        status
            .message()
            .starts_with("reading [logs-1][0] from the leader cluster failed: "),
        "{status}"
    );
    assert!(status.message().contains("500"), "{status}");
    assert_eq!(
        Follower::refused(&fixture, Say::Open(open())).await.code(),
        Code::Unavailable
    );
}

#[tokio::test]
async fn a_stream_must_begin_with_a_good_open() {
    let deadline = Duration::from_millis(100);
    let fixture = Fixture::start_with(LeaderConfig {
        open_deadline: deadline,
        ..LeaderConfig::default()
    })
    .await;
    let status = Follower::refused(&fixture, Say::Credit(v1::Credit { bytes: 1 })).await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = Follower::refused(
        &fixture,
        Say::Open(v1::Open {
            checkpoint: 4,
            ..open()
        }),
    )
    .await;
    assert_eq!(status.code(), Code::InvalidArgument);
    let status = Follower::refused(
        &fixture,
        Say::Open(v1::Open {
            protocol: 2,
            ..open()
        }),
    )
    .await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status.message().contains("no common protocol version"),
        "{status}"
    );

    let (_silent, receiver) = mpsc::channel::<v1::FollowerFrame>(1);
    let mut client = ChangesClient::new(fixture.channel.clone());
    let status = within("the refusal", client.stream(ReceiverStream::new(receiver)))
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_stream_of_a_forbidden_index_is_denied_before_anything_is_read() {
    let fixture = Fixture::start().await;
    let status = Follower::refused(
        &fixture,
        Say::Open(v1::Open {
            index: "payroll".into(),
            ..open()
        }),
    )
    .await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(
        status.message().contains(FOLLOWER) && status.message().contains("[payroll]"),
        "{status}"
    );
    assert_eq!(fixture.logs.lines(&["WARN", FOLLOWER, "payroll"]), 1);
}

#[tokio::test]
async fn a_withdrawn_rule_ends_open_streams() {
    let fixture = Fixture::start().await;
    let mut follower = Follower::open(&fixture).await;
    fixture.leader.reload_rules(vec![rule(&["other"])]);
    assert_eq!(follower.end().await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn i8_streams_are_limited_and_given_back() {
    let fixture = Fixture::start_with(LeaderConfig {
        max_streams: 1,
        ..LeaderConfig::default()
    })
    .await;
    let follower = Follower::open(&fixture).await;
    let status = Follower::refused(&fixture, Say::Open(open())).await;
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.message().contains("already serves 1 streams"), "{status}");
    drop(follower);
    within("the log of the end", async {
        while fixture.logs.lines(&["INFO", "the follower agent", FOLLOWER]) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within("the freed stream", async {
        while Follower::begin(&fixture, Say::Open(open())).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn at_shutdown_streams_end_in_words_and_the_agent_returns() {
    let fixture = Fixture::start().await;
    let mut follower = Follower::open(&fixture).await;
    fixture.shutdown.cancel();
    let status = follower.end().await;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(status.message(), "leader agent is shutting down");
    within("the end", fixture.serving).await.unwrap().unwrap();
}
