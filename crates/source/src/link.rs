//! The link between a reader and the session that it serves: events and credit one way, questions the other.
//!
//! The event queue is short and operations take credit that the follower granted from its own memory budget (I8), so a
//! reader that outruns the target waits here and nowhere else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use slipstream_cluster::MetadataVersions;
use slipstream_model::{Census, Checkpoint, DocRef, GlobalCheckpoint, Op, PrimaryTerm, SeqNo, SeqRange};
use tokio::sync::{Notify, mpsc};

use crate::ReaderKind;

/// What a reader tells.
#[derive(Debug)]
pub enum Event {
    /// Acknowledged operations, and the metadata that they were indexed under (I7).
    Ops {
        /// In the order in which they are to be applied to each document.
        ops: Vec<Op>,
        /// Learnt after the operations were read, so at least as new as what they were indexed under.
        metadata: MetadataVersions,
    },
    /// Everything alive up to `scanned` has been emitted at least once.
    Progress {
        /// How far the scan has come.
        scanned: Checkpoint,
        /// The term it is made in.
        term: PrimaryTerm,
        /// Where it is going.
        through: Checkpoint,
    },
    /// The scan had holes; the follower looks for deletes and then sends [`Question::Settle`].
    Census {
        /// What is alive.
        census: Census,
        /// Highest sequence number that the counting searcher showed.
        highest: Checkpoint,
    },
    /// The answer to a [`Probe`].
    Evidence(Evidence),
    /// The history up to here is final and was emitted; findings of the evidence may be acted on.
    Sealed {
        /// The new place to go on from, once everything is durable.
        checkpoint: Checkpoint,
        /// The term under which it was sealed.
        term: PrimaryTerm,
    },
    /// The findings of the evidence must be forgotten; another scan follows.
    Abandoned {
        /// Why, for logs.
        reason: String,
    },
    /// Other means serve the shard from here on; what was emitted and sealed stands.
    Serving {
        /// Which means.
        reader: ReaderKind,
        /// Why, in words for an operator.
        why: String,
    },
    /// Where the shard stands.
    Pulse {
        /// What it has acknowledged.
        global_checkpoint: GlobalCheckpoint,
        /// What it has assigned.
        max_seq_no: Checkpoint,
        /// How long the oldest acknowledged operation has been waiting to be emitted, as far as the reader can tell.
        pending: Duration,
        /// The index's metadata by now: it may change without any operation.
        metadata: MetadataVersions,
    },
}

/// A question of the search for deletes.
#[derive(Debug, Clone)]
pub enum Probe {
    /// Documents alive in each stretch of `width` sequence numbers.
    Histogram {
        /// A power of two.
        width: u64,
        /// The census's highest: what came since must not stand in for what is gone.
        through: Checkpoint,
    },
    /// Sequence numbers alive in a range, lowest first, at most 10,000.
    Living(SeqRange),
    /// Whether documents exist, in real time.
    Confirm(Vec<DocRef>),
}

/// The answer to a [`Probe`], of the same name.
#[derive(Debug)]
pub enum Evidence {
    /// First sequence number of each stretch that holds live documents → how many.
    Histogram(BTreeMap<u64, u64>),
    /// What is alive, complete up to `complete_through`.
    Living {
        /// Ascending.
        seq_nos: Vec<SeqNo>,
        /// Everything up to here has been told.
        complete_through: Checkpoint,
    },
    /// Whether each document exists, in the order of the question.
    Confirm(Vec<bool>),
}

/// What the session asks of its reader.
#[derive(Debug, Clone)]
pub enum Question {
    /// Answer this.
    Probe(Probe),
    /// No more questions: seal.
    Settle,
}

/// Bytes of operations that may still be sent.
///
/// May go below zero by one batch: a document larger than the whole credit must pass too.
#[derive(Debug, Clone, Default)]
pub struct Credit(Arc<CreditInner>);

#[derive(Debug, Default)]
struct CreditInner {
    bytes: AtomicI64,
    granted: Notify,
}

impl Credit {
    /// Adds to the credit.
    pub fn grant(&self, bytes: u64) {
        self.0.bytes.fetch_add(bytes as i64, Ordering::AcqRel);
        self.0.granted.notify_one();
    }

    /// Waits until there is credit, and tells how much. One waiter at a time: a link has one reader.
    pub async fn available(&self) -> u64 {
        loop {
            // A grant between the load and the wait leaves a permit behind, so it is not missed.
            let bytes = self.0.bytes.load(Ordering::Acquire);
            if bytes > 0 {
                return bytes as u64;
            }
            self.0.granted.notified().await;
        }
    }

    fn spend(&self, bytes: usize) {
        self.0.bytes.fetch_sub(bytes as i64, Ordering::AcqRel);
    }
}

/// A reader's end of the link. [`Link::new`] makes it together with the session's ends.
#[derive(Debug)]
pub struct Link {
    events: mpsc::Sender<Event>,
    questions: mpsc::Receiver<Question>,
    credit: Credit,
}

/// The session on the other side is gone: the reader's work is done.
#[derive(Debug)]
pub struct Unlinked;

impl Link {
    /// A link whose event queue holds `depth` events.
    pub fn new(depth: usize) -> (Link, mpsc::Receiver<Event>, mpsc::Sender<Question>, Credit) {
        let (events, event_receiver) = mpsc::channel(depth);
        let (question_sender, questions) = mpsc::channel(4);
        let credit = Credit::default();
        (
            Link {
                events,
                questions,
                credit: credit.clone(),
            },
            event_receiver,
            question_sender,
            credit,
        )
    }

    /// How many bytes may be sent; waits for credit.
    pub async fn credit(&self) -> Result<u64, Unlinked> {
        tokio::select! {
            bytes = self.credit.available() => Ok(bytes),
            () = self.events.closed() => Err(Unlinked),
        }
    }

    /// How many bytes may be sent at this moment, without waiting.
    pub fn credit_now(&self) -> u64 {
        u64::try_from(self.credit.0.bytes.load(Ordering::Acquire)).unwrap_or(0)
    }

    /// Sends operations in blocks, each of which takes credit. Blocks grow with the credit that there is: large ones make large
    /// bulks on the target, but what is overdrawn by one must stay small where many streams share little.
    pub async fn send_ops(&self, ops: Vec<Op>, metadata: MetadataVersions) -> Result<(), Unlinked> {
        const LEAST: u64 = 256 * 1024;
        const MOST: u64 = 2 * 1024 * 1024;
        let mut block = Vec::new();
        let mut weight = 0;
        for op in ops {
            weight += op.weight();
            block.push(op);
            if weight as u64 >= self.credit_now().clamp(LEAST, MOST) {
                self.send_block(std::mem::take(&mut block), weight, metadata)
                    .await?;
                weight = 0;
            }
        }
        if block.is_empty() {
            Ok(())
        } else {
            self.send_block(block, weight, metadata).await
        }
    }

    async fn send_block(
        &self,
        ops: Vec<Op>,
        weight: usize,
        metadata: MetadataVersions,
    ) -> Result<(), Unlinked> {
        self.credit().await?;
        self.credit.spend(weight);
        self.send(Event::Ops { ops, metadata }).await
    }

    /// Sends an event that takes no credit.
    pub async fn send(&self, event: Event) -> Result<(), Unlinked> {
        self.events.send(event).await.map_err(|_| Unlinked)
    }

    /// Waits for the session's next question.
    pub async fn question(&mut self) -> Result<Question, Unlinked> {
        self.questions.recv().await.ok_or(Unlinked)
    }

    /// Waits until the session is gone.
    pub async fn unlinked(&self) {
        self.events.closed().await;
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::{Change, Version};

    use super::*;

    fn op(seq: u64, size: usize) -> Op {
        Op {
            seq_no: SeqNo::new(seq),
            term: PrimaryTerm(1),
            version: Version(1),
            doc: DocRef {
                id: seq.to_string(),
                routing: None,
            },
            change: Change::Index {
                source: vec![b'x'; size].into(),
            },
        }
    }

    #[tokio::test]
    async fn i8_nothing_is_sent_without_credit_and_a_huge_document_passes_with_any() {
        let (link, mut events, _questions, credit) = Link::new(16);
        let sending = tokio::spawn(async move {
            link.send_ops(vec![op(0, 5_000_000), op(1, 10)], MetadataVersions::default())
                .await
                .unwrap();
            link
        });
        tokio::task::yield_now().await;
        assert!(events.try_recv().is_err(), "sent before any credit was granted");

        credit.grant(1);
        let Some(Event::Ops { ops, .. }) = events.recv().await else {
            panic!("expected operations")
        };
        assert_eq!(ops.len(), 1);
        tokio::task::yield_now().await;
        assert!(events.try_recv().is_err(), "credit is far below zero now");

        credit.grant(6_000_000);
        let Some(Event::Ops { ops, .. }) = events.recv().await else {
            panic!("expected operations")
        };
        assert_eq!(ops[0].seq_no, SeqNo::new(1));
        sending.await.unwrap();
    }
}
