//! Frames as they arrive, and batches that have come already taken with the one before them.
//!
//! Each batch is noted, handed out and counted by itself, which costs much the same whatever is in it; small ones that are there
//! already are taken as one. A lone batch waits for nobody.

use futures::{FutureExt, Stream, StreamExt};
use slipstream_wire::v1;
use slipstream_wire::v1::leader_frame::Frame;
use tonic::Status;

/// Batches are taken together up to this many bytes.
const TOGETHER: u64 = 256 * 1024;

/// The frames of a stream, in their order.
pub(super) struct Arrivals<'a, S> {
    frames: &'a mut S,
    /// What came behind batches that were taken together, and could not be taken with them.
    ahead: Option<Arrival>,
}

/// A frame, the end, or why there is none.
type Arrival = Result<Option<v1::LeaderFrame>, Status>;

impl<'a, S: Stream<Item = Result<v1::LeaderFrame, Status>> + Unpin> Arrivals<'a, S> {
    pub(super) fn new(frames: &'a mut S) -> Self {
        Arrivals { frames, ahead: None }
    }

    /// The next frame; `None` at the end. May be dropped at any moment: what is ahead is taken when it is answered, and a stream
    /// keeps what it has not handed out.
    pub(super) async fn next(&mut self) -> Arrival {
        match self.ahead.take() {
            Some(arrival) => arrival,
            None => self.frames.next().await.transpose(),
        }
    }

    /// The batches behind a batch that have come already and need the same metadata. None behind any other frame.
    pub(super) fn behind(&mut self, frame: &Frame) -> Vec<v1::Batch> {
        let mut behind = Vec::new();
        let Frame::Batch(first) = frame else { return behind };
        let mut bytes = first.block_bytes;
        while bytes < TOGETHER
            && self.ahead.is_none()
            && let Some(next) = self.frames.next().now_or_never()
        {
            match next.transpose() {
                Ok(Some(v1::LeaderFrame {
                    frame: Some(Frame::Batch(batch)),
                })) if batch.metadata == first.metadata => {
                    bytes += batch.block_bytes;
                    behind.push(batch);
                }
                other => self.ahead = Some(other),
            }
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(bytes: u64, mapping: u64) -> Frame {
        Frame::Batch(v1::Batch {
            block_bytes: bytes,
            metadata: Some(v1::MetadataVersions {
                mapping,
                ..v1::MetadataVersions::default()
            }),
            ..v1::Batch::default()
        })
    }

    fn frame(frame: Frame) -> v1::LeaderFrame {
        v1::LeaderFrame { frame: Some(frame) }
    }

    /// Takes everything that has come: how many bytes at a time, 0 for what is no batch.
    async fn taken(frames: Vec<Result<v1::LeaderFrame, Status>>) -> (Vec<Vec<u64>>, Option<Status>) {
        let mut stream = futures::stream::iter(frames);
        let mut arrivals = Arrivals::new(&mut stream);
        let mut taken = Vec::new();
        loop {
            match arrivals.next().await {
                Ok(Some(v1::LeaderFrame { frame: Some(first) })) => {
                    let behind = arrivals.behind(&first);
                    let first = match first {
                        Frame::Batch(first) => first.block_bytes,
                        _ => 0,
                    };
                    taken.push(
                        [first]
                            .into_iter()
                            .chain(behind.iter().map(|batch| batch.block_bytes))
                            .collect(),
                    );
                }
                Ok(_) => return (taken, None),
                Err(status) => return (taken, Some(status)),
            }
        }
    }

    #[tokio::test]
    async fn batches_that_have_come_are_taken_together_and_nothing_changes_its_place() {
        let (alive, most) = (|| Frame::Alive(v1::Alive {}), TOGETHER);
        let frames = [
            batch(1, 7),
            batch(2, 7),
            // Other metadata.
            batch(3, 8),
            alive(),
            batch(4, 8),
            alive(),
            batch(most, 8),
            batch(5, 8),
            batch(6, 8),
        ];
        let frames = frames
            .into_iter()
            .map(frame)
            .map(Ok)
            .chain([Err(Status::aborted("cut"))]);
        let (taken, end) = taken(frames.collect()).await;
        let wanted: [&[u64]; 7] = [&[1, 2], &[3], &[0], &[4], &[0], &[most], &[5, 6]];
        assert_eq!(taken, wanted);
        assert_eq!(end.map(|status| status.code()), Some(tonic::Code::Aborted));
    }

    #[tokio::test]
    async fn a_batch_that_has_come_alone_waits_for_none() {
        let came = futures::stream::iter([Ok(frame(batch(1, 7)))]);
        let mut frames = came.chain(futures::stream::pending());
        let mut arrivals = Arrivals::new(&mut frames);
        let first = arrivals.next().await.unwrap().unwrap().frame.unwrap();
        assert!(arrivals.behind(&first).is_empty());
        assert!(arrivals.next().now_or_never().is_none());
    }
}
