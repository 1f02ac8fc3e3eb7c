//! The end of a round: count what is alive, help the follower find what is gone, and seal.
//!
//! The follower holds the list of documents, this side holds the searcher; so the follower asks and this side answers,
//! until it settles. A question that cannot be answered surely abandons the round: reading again is harmless, a wrong
//! delete is not.

use slipstream_cluster::{ErrorKind, Searcher};
use slipstream_model::{Census, Checkpoint, Op};
use tokio::time::{Duration, Instant, sleep};

use super::{Stop, Survey, WindowReader, holes};
use crate::link::{Event, Evidence, Link, Probe, Question};
use crate::nudge::Nudge;

/// How long a round waits for what it saw to be acknowledged.
const ACKNOWLEDGE: Duration = Duration::from_mins(1);

impl WindowReader {
    /// Reads the tail and ends the round: at once where nothing is missing, by census otherwise.
    pub(super) async fn finish(&mut self, link: &mut Link, survey: &Survey) -> Result<(), Stop> {
        let searcher = self.searcher(survey);
        while !self.holes {
            let docs = self.pages.docs(link.credit().await?);
            let (page, _) = self.read_tail(&searcher, docs, false).await?;
            if page.full {
                if self.take_full_tail(link, survey, page.ops).await? {
                    continue;
                }
                return Ok(());
            }
            let through = holes::contiguous_through(self.scanned, &page.ops);
            if through >= survey.global.0 {
                return self.conclude_contiguous(link, survey, page.ops, through).await;
            }
            break;
        }
        let pinned = self
            .watch
            .cluster()
            .open_pit(&searcher)
            .await
            .map_err(|e| self.failed(e))?;
        let result = self
            .account(link, survey, pinned.as_ref().unwrap_or(&searcher))
            .await;
        if let Some(pinned) = pinned {
            self.watch.cluster().close_pit(pinned).await;
        }
        result
    }

    /// Reads the tail again together with the count, from one searcher, and concludes with the follower.
    async fn account(&mut self, link: &mut Link, survey: &Survey, searcher: &Searcher) -> Result<(), Stop> {
        let (live, highest) = loop {
            let docs = self.pages.docs(link.credit().await?);
            let (page, _) = self.read_tail(searcher, docs, true).await?;
            if page.full {
                if self.take_full_tail(link, survey, page.ops).await? {
                    continue;
                }
                // More came than a page since the round began: the next round concludes for both.
                return Ok(());
            }
            let highest = page
                .ops
                .last()
                .map_or(self.scanned, |op| op.seq_no.as_checkpoint());
            let live = page
                .live
                .ok_or_else(|| Stop::Abandon("the leader did not count".to_owned()))?;
            self.emit_tail(link, survey, page.ops, highest).await?;
            break (live, highest);
        };
        link.send(Event::Census {
            census: Census { live },
            highest,
        })
        .await?;
        while let Question::Probe(probe) = link.question().await? {
            let evidence = self.answer(searcher, probe).await?;
            link.send(Event::Evidence(evidence)).await?;
        }
        // Everything that search and lookups could have shown was assigned by now.
        let (global, max) = self.confirm(survey).await?;
        if global.0 < max {
            self.acknowledged(link, survey, max).await?;
        }
        self.seal(link, survey.global.0).await
    }

    /// Emits a whole tail: the acknowledged part at once, the rest when it is acknowledged too. The census counts the
    /// documents of both, so both must be with the follower before it compares.
    async fn emit_tail(
        &mut self,
        link: &Link,
        survey: &Survey,
        mut ops: Vec<Op>,
        highest: Checkpoint,
    ) -> Result<(), Stop> {
        let rest = ops.split_off(ops.partition_point(|op| survey.global.0.covers(op.seq_no)));
        self.emit(link, ops).await?;
        if !rest.is_empty() {
            self.acknowledged(link, survey, highest).await?;
            self.emit(link, rest).await?;
        }
        Ok(())
    }

    /// Waits until everything up to `target` is acknowledged by the survey's own primary.
    async fn acknowledged(&self, link: &Link, survey: &Survey, target: Checkpoint) -> Result<(), Stop> {
        let begun = Instant::now();
        let mut nudge = Nudge::default();
        let mut pause = Duration::from_millis(2);
        loop {
            let (global, _) = self.confirm(survey).await?;
            if global.0 >= target {
                return Ok(());
            }
            let now = Instant::now();
            if now.duration_since(begun) > ACKNOWLEDGE {
                return Err(Stop::Abandon(format!(
                    "operations up to {target} were not acknowledged in time"
                )));
            }
            self.push(nudge.behind(global, now)).await?;
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(Duration::from_millis(100)),
                () = link.unlinked() => return Err(Stop::Unlinked),
            }
        }
    }

    async fn answer(&self, searcher: &Searcher, probe: Probe) -> Result<Evidence, Stop> {
        let (cluster, most) = (self.watch.cluster(), self.pages.most());
        let answer = match probe {
            Probe::Histogram { width, through } => cluster
                .live_histogram(searcher, width, through)
                .await
                .map(Evidence::Histogram),
            Probe::Living(range) => cluster.living(searcher, range, most).await.map(|seq_nos| {
                let cut = seq_nos.len() == most;
                let complete_through = match seq_nos.last() {
                    Some(last) if cut => last.as_checkpoint(),
                    _ => range.through,
                };
                Evidence::Living {
                    seq_nos,
                    complete_through,
                }
            }),
            Probe::Confirm(docs) => cluster
                .present(&self.start.shard.index, &docs)
                .await
                .map(Evidence::Confirm),
        };
        answer.map_err(|error| match error.kind {
            ErrorKind::NotFound | ErrorKind::IndexClosed => self.failed(error).into(),
            _ => Stop::Abandon(format!("a question about deletes could not be answered: {error}")),
        })
    }
}
