//! The end of a scan: does the leader's count agree with the map, and what is gone if not. The map is made whole for it
//! ([`super::fill`]). The search itself is [`super::super::deletes`]; here it gets its evidence, and its findings wait for the
//! leader's seal.

use slipstream_model::event;
use slipstream_model::{Census, CensusVerdict, Checkpoint};
use slipstream_wire::v1;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::End;
use super::super::deletes::{DeleteSearch, Step};
use super::super::ledger::Milestone;
use super::Session;
use crate::apply::{Applied, Write};
use crate::{blocking, metrics};

impl Session<'_> {
    pub(super) async fn census(
        &mut self,
        census: &v1::Census,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let highest = Checkpoint::new(census.highest);
        self.fill(applied, cancel).await?;
        let known = match &self.buckets {
            Some(buckets) => buckets.total(),
            None => self.count().await?.total(),
        };
        match (Census { live: census.live }).judge(known) {
            CensusVerdict::Equal => self.send(v1::follower_frame::Frame::Settle(v1::Settle {})).await,
            CensusVerdict::Gone(missing) => {
                let (search, probe) = DeleteSearch::begin(missing, highest);
                self.search = Some(search);
                self.send(v1::follower_frame::Frame::Probe(probe)).await
            }
            CensusVerdict::Missed(documents) if self.progress.reconciling => {
                // Reading everything did not help either: leave it to the next round.
                Err(End::Passing(format!(
                    "the leader counts {documents} documents more than it shows"
                )))
            }
            CensusVerdict::Missed(documents) => Err(self
                .read_again(documents, "the leader holds documents that reading missed")
                .await),
        }
    }

    /// Has the shard read again from the start, over what is there; the answer ends the session.
    pub(super) async fn read_again(&mut self, documents: u64, why: &str) -> End {
        metrics::divergence();
        tracing::error!(
            event = event::DIVERGENCE_FOUND,
            shard = %self.context.key,
            documents,
            why,
            "reading everything again"
        );
        // The place so far is not to be stored any more.
        self.unsaved = None;
        let (store, history) = (self.context.store.clone(), self.progress.history.clone());
        match blocking(move || super::super::reconcile(&store, history)).await {
            Ok(()) => End::Passing(format!("{why}, so the shard is being read again")),
            Err(error) => error.into(),
        }
    }

    pub(super) async fn evidence(&mut self, evidence: v1::Evidence) -> Result<(), End> {
        let (Some(mut search), Some(buckets), Some(answer)) =
            (self.search.take(), self.buckets.take(), evidence.answer)
        else {
            return Err(End::Passing(
                "the leader agent answered a question that was not asked".to_owned(),
            ));
        };
        let store = self.context.store.clone();
        let (search, buckets, step) = blocking(move || {
            let step = search.step(answer, &buckets, &store)?;
            Ok((search, buckets, step))
        })
        .await?;
        self.buckets = Some(buckets);
        match step {
            Step::Ask(probe) => {
                self.search = Some(search);
                self.send(v1::follower_frame::Frame::Probe(probe)).await
            }
            Step::Settle(gone) => {
                self.gone = gone;
                self.send(v1::follower_frame::Frame::Settle(v1::Settle {})).await
            }
            Step::Contradiction(reason) => Err(End::Passing(reason)),
        }
    }

    /// The round is final: what was found gone is deleted, and then the checkpoint moves.
    pub(super) async fn sealed(
        &mut self,
        checkpoint: Checkpoint,
        applied: &mut mpsc::Receiver<Applied>,
        cancel: &CancellationToken,
    ) -> Result<(), End> {
        let gone = std::mem::take(&mut self.gone);
        if !gone.is_empty() {
            let writes = gone
                .into_iter()
                .map(|(seq_no, doc)| Write::Gone(seq_no, doc))
                .collect();
            self.dispatch(writes, 0, applied, cancel).await?;
        }
        self.ledger.milestone(Milestone::Sealed(checkpoint));
        self.reach().await
    }
}
