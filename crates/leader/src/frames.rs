//! Between a reader's notions and the frames of the wire. What a follower sent is checked here, once.

use std::time::Duration;

use slipstream_cluster::MetadataVersions;
use slipstream_model::{
    Buckets, Checkpoint, DocRef, HistoryUuid, IndexName, IndexUuid, PrimaryTerm, SeqRange, ShardId, ShardKey,
};
use slipstream_source::{Event, Evidence, Opening, Probe, ReaderKind, Start};
use slipstream_wire::convert::deltas;
use slipstream_wire::v1;
use slipstream_wire::v1::leader_frame::Frame;
use thiserror::Error;

/// Most documents that one probe may ask to confirm.
const MOST_CONFIRMED: usize = 1_000;

/// A frame that no follower agent of a known release sends.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum FrameError {
    /// The stream began with something else, or with nothing at all.
    #[error("a stream must begin with Open")]
    NotOpen,
    /// A second Open.
    #[error("a stream can be opened only once")]
    OpenedTwice,
    /// A frame without contents, or of a kind that this release does not know.
    #[error("an empty or unknown frame: the follower agent may be of a newer release than this leader agent")]
    Unknown,
    /// Open names no index or no uuid.
    #[error("Open names no {0}")]
    Missing(&'static str),
    /// A checkpoint without the history that it belongs to.
    #[error("Open goes on from a checkpoint and does not say of which history")]
    CheckpointWithoutHistory,
    /// A histogram that would have too many stretches, or uneven ones.
    #[error("a histogram's width must be a power of two and at least {finest}, not {0}", finest = Buckets::FINEST)]
    Width(u64),
    /// More documents than one question may have.
    #[error("{0} documents to confirm, at most {MOST_CONFIRMED} in one question")]
    TooManyDocs(usize),
    /// A question while none is due.
    #[error("a question that is not due: questions follow a Census, one at a time")]
    NotDue,
}

/// What the follower asks for by opening a stream.
pub(crate) fn start(open: v1::Open) -> Result<Start, FrameError> {
    if open.index.is_empty() {
        return Err(FrameError::Missing("index"));
    }
    if open.index_uuid.is_empty() {
        return Err(FrameError::Missing("index uuid"));
    }
    let checkpoint = Checkpoint::new(open.checkpoint);
    let history = (!open.history_uuid.is_empty()).then(|| HistoryUuid::new(open.history_uuid));
    if history.is_none() && checkpoint > Checkpoint::NONE {
        return Err(FrameError::CheckpointWithoutHistory);
    }
    // A scan is good for the history it was made in only; of an unknown one it is made again.
    let scan = (history.is_some() && open.scanned >= 0 && open.scanned_term > 0)
        .then(|| (Checkpoint::new(open.scanned), PrimaryTerm(open.scanned_term)));
    Ok(Start {
        shard: ShardKey {
            index: IndexName::new(open.index),
            shard: ShardId(open.shard),
        },
        index_uuid: IndexUuid::new(open.index_uuid),
        history,
        checkpoint,
        scan,
        reconciling: open.reconciling,
        refresh_every: (open.refresh_millis > 0).then(|| Duration::from_millis(open.refresh_millis.into())),
    })
}

/// A question of the follower's.
pub(crate) fn probe(probe: v1::Probe) -> Result<Probe, FrameError> {
    use v1::probe::Question;

    match probe.question.ok_or(FrameError::Unknown)? {
        Question::Histogram(histogram) => {
            let width = histogram.width;
            if !width.is_power_of_two() || width < Buckets::FINEST {
                return Err(FrameError::Width(width));
            }
            Ok(Probe::Histogram {
                width,
                through: Checkpoint::new(histogram.through),
            })
        }
        Question::Living(living) => Ok(Probe::Living(SeqRange::new(
            Checkpoint::new(living.after),
            Checkpoint::new(living.through),
        ))),
        Question::Confirm(confirm) => {
            if confirm.docs.len() > MOST_CONFIRMED {
                return Err(FrameError::TooManyDocs(confirm.docs.len()));
            }
            Ok(Probe::Confirm(
                confirm.docs.into_iter().map(DocRef::from).collect(),
            ))
        }
    }
}

/// The answer to Open.
pub(crate) fn opened(kind: ReaderKind, why: String, opening: &Opening) -> v1::LeaderFrame {
    frame(Frame::Opened(v1::Opened {
        reader: kind.as_str().to_owned(),
        why,
        history_uuid: opening.history.to_string(),
        primary_term: opening.term.0,
        global_checkpoint: opening.global_checkpoint.0.get(),
    }))
}

/// The frame of an event; operations, which must be encoded first, come back as they are.
pub(crate) fn of_event(event: Event) -> Result<v1::LeaderFrame, Operations> {
    Ok(frame(match event {
        Event::Ops { ops, metadata } => return Err(Operations { ops, metadata }),
        Event::Progress {
            scanned,
            term,
            through,
        } => Frame::Progress(v1::Progress {
            scanned: scanned.get(),
            primary_term: term.0,
            through: through.get(),
        }),
        Event::Census { census, highest } => Frame::Census(v1::Census {
            live: census.live,
            highest: highest.get(),
        }),
        Event::Evidence(answer) => Frame::Evidence(v1::Evidence {
            answer: Some(evidence(answer)),
        }),
        Event::Sealed { checkpoint, term } => Frame::Sealed(v1::Sealed {
            checkpoint: checkpoint.get(),
            primary_term: term.0,
        }),
        Event::Abandoned { reason } => Frame::Abandoned(v1::Abandoned { reason }),
        Event::Serving { reader, why } => Frame::Serving(v1::Serving {
            reader: reader.as_str().to_owned(),
            why,
        }),
        Event::Pulse {
            global_checkpoint,
            max_seq_no,
            pending,
            metadata,
        } => Frame::Pulse(v1::Pulse {
            global_checkpoint: global_checkpoint.0.get(),
            max_seq_no: max_seq_no.get(),
            pending_age_micros: u64::try_from(pending.as_micros()).unwrap_or(u64::MAX),
            metadata: Some(versions(metadata)),
        }),
    }))
}

/// Operations that are still to be encoded.
#[derive(Debug)]
pub(crate) struct Operations {
    /// In the order in which they are to be applied.
    pub(crate) ops: Vec<slipstream_model::Op>,
    /// What they were indexed under.
    pub(crate) metadata: MetadataVersions,
}

/// Wraps one kind of frame.
pub(crate) fn frame(frame: Frame) -> v1::LeaderFrame {
    v1::LeaderFrame { frame: Some(frame) }
}

/// Metadata counters for the wire.
pub(crate) fn versions(versions: MetadataVersions) -> v1::MetadataVersions {
    v1::MetadataVersions {
        mapping: versions.mapping,
        settings: versions.settings,
        aliases: versions.aliases,
    }
}

fn evidence(evidence: Evidence) -> v1::evidence::Answer {
    use v1::evidence::Answer;

    match evidence {
        Evidence::Histogram(counts) => Answer::Histogram((&counts).into()),
        Evidence::Living {
            seq_nos,
            complete_through,
        } => Answer::Living(v1::evidence::Living {
            deltas: deltas(&seq_nos),
            complete_through: complete_through.get(),
        }),
        Evidence::Confirm(present) => Answer::Confirm(v1::evidence::Confirm { present }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> v1::Open {
        v1::Open {
            protocol: 1,
            index: "a".into(),
            index_uuid: "u".into(),
            shard: 2,
            history_uuid: String::new(),
            checkpoint: -1,
            scanned: -1,
            scanned_term: 0,
            refresh_millis: 0,
            reconciling: false,
        }
    }

    #[test]
    fn a_first_start_has_no_history_no_scan_and_follows_the_index() {
        let start = start(open()).unwrap();
        assert_eq!(start.shard.to_string(), "[a][2]");
        assert_eq!(start.checkpoint, Checkpoint::NONE);
        assert_eq!(
            (start.history, start.scan, start.refresh_every),
            (None, None, None)
        );
    }

    #[test]
    fn a_later_start_goes_on_where_it_was() {
        let later = v1::Open {
            history_uuid: "h".into(),
            checkpoint: 7,
            scanned: 12,
            scanned_term: 3,
            refresh_millis: 200,
            ..open()
        };
        let start = start(later).unwrap();
        assert_eq!(start.history, Some("h".into()));
        assert_eq!(start.checkpoint.get(), 7);
        assert_eq!(start.scan, Some((Checkpoint::new(12), PrimaryTerm(3))));
        assert_eq!(start.refresh_every, Some(Duration::from_millis(200)));
    }

    #[test]
    fn i5_a_checkpoint_without_its_history_is_refused() {
        let unbound = v1::Open {
            checkpoint: 7,
            ..open()
        };
        assert_eq!(start(unbound).unwrap_err(), FrameError::CheckpointWithoutHistory);
        let scan = v1::Open {
            scanned: 7,
            scanned_term: 1,
            ..open()
        };
        assert_eq!(
            start(scan).unwrap().scan,
            None,
            "a scan of an unknown history is made again"
        );
        let nameless = v1::Open {
            index_uuid: String::new(),
            ..open()
        };
        assert_eq!(start(nameless).unwrap_err(), FrameError::Missing("index uuid"));
    }

    #[test]
    fn i8_questions_with_huge_answers_are_refused() {
        let ask = |question| {
            probe(v1::Probe {
                question: Some(question),
            })
        };
        for width in [0, 1, 4095, 5000] {
            let histogram = v1::probe::Question::Histogram(v1::probe::Histogram { width, through: 9 });
            assert_eq!(ask(histogram).unwrap_err(), FrameError::Width(width));
        }
        assert!(
            ask(v1::probe::Question::Histogram(v1::probe::Histogram {
                width: 8192,
                through: 9,
            }))
            .is_ok()
        );
        let doc = v1::probe::Doc {
            id: "1".into(),
            routing: None,
        };
        let docs = vec![doc; MOST_CONFIRMED + 1];
        let confirm = v1::probe::Question::Confirm(v1::probe::Confirm { docs });
        assert_eq!(
            ask(confirm).unwrap_err(),
            FrameError::TooManyDocs(MOST_CONFIRMED + 1)
        );
        assert_eq!(
            probe(v1::Probe { question: None }).unwrap_err(),
            FrameError::Unknown
        );
    }
}
