//! The scan: windows of sequence numbers, a few in flight, emitted in order; then the tail from one searcher.
//!
//! In flight are at most [`PARALLEL`] pages: one that the shard is entitled to, sized by the credit that the follower has
//! granted, and some ahead of it as long as all shards together stay within [`crate::Watch::read_ahead`]. So a stalled
//! follower holds back its own reading, not a pile of pages and not its neighbours (I8). Windows end at the round's global checkpoint:
//! all of it is acknowledged and visible.

use futures::StreamExt;
use futures::stream::FuturesOrdered;
use slipstream_cluster::{Cluster, ClusterError, ErrorKind, Page, PageQuery, Searcher};
use slipstream_model::{Op, SeqRange};

use super::page_size::{PAGE_BYTES, PageSize};
use super::{Stop, Survey, WindowReader, holes};
use crate::link::{Event, Link};

/// Windows in flight a shard. The leader answers them from different threads; more than a few only queue there.
const PARALLEL: usize = 3;
/// A window is at most this many times wider than the page it is expected to fill.
const WIDEST: f64 = 64.0;

impl WindowReader {
    /// Reads all full windows up to the survey's global checkpoint. What is left is less than a page.
    pub(super) async fn scan(&mut self, link: &mut Link, survey: &Survey) -> Result<(), Stop> {
        let searcher = self.searcher(survey);
        let cluster = self.watch.cluster().clone();
        let through = survey.global.0;
        let mut next = self.scanned;
        let mut in_flight = FuturesOrdered::new();
        loop {
            while in_flight.len() < PARALLEL {
                let ahead = if in_flight.is_empty() {
                    None
                } else {
                    Some(self.watch.read_ahead())
                };
                if matches!(ahead, Some(None)) {
                    break;
                }
                let credit = if in_flight.is_empty() {
                    link.credit().await?
                } else {
                    PAGE_BYTES
                };
                let docs = self.pages.docs(credit);
                if next.distance_to(through) <= docs as u64 {
                    break;
                }
                let span = (docs as f64 / self.density.max(1.0 / WIDEST)) as u64;
                let (window, _) = SeqRange::new(next, through).split_front(span);
                next = window.through;
                let (cluster, searcher) = (cluster.clone(), searcher.clone());
                in_flight.push_back(async move {
                    (
                        window,
                        docs,
                        read_window(&cluster, &searcher, window, docs).await,
                        ahead,
                    )
                });
            }
            // The leave is given back when the page has been handed on.
            let Some((window, docs, answer, _ahead)) = in_flight.next().await else {
                return Ok(());
            };
            self.take_window(link, &searcher, survey, window, docs, answer)
                .await?;
        }
    }

    /// Emits a window, reading on where its page was full or too large.
    async fn take_window(
        &mut self,
        link: &mut Link,
        searcher: &Searcher,
        survey: &Survey,
        window: SeqRange,
        mut docs: usize,
        mut answer: Result<Page, ClusterError>,
    ) -> Result<(), Stop> {
        let cluster = self.watch.cluster().clone();
        let mut rest = window;
        loop {
            match answer {
                Ok(page) => {
                    self.pages.learn(page.ops.len(), page.body_bytes);
                    let end = match page.ops.last() {
                        Some(last) if page.full => last.seq_no.as_checkpoint(),
                        _ => rest.through,
                    };
                    let read = SeqRange::new(rest.after, end);
                    self.density = self
                        .density
                        .mul_add(0.5, 0.5 * page.ops.len() as f64 / read.len() as f64);
                    self.advance(link, survey, read, page.ops).await?;
                    rest.after = end;
                }
                Err(error) if error.kind == ErrorKind::TooLarge && self.pages.too_large(docs) => {}
                Err(error) => return Err(self.failed(error).into()),
            }
            if rest.is_empty() {
                return Ok(());
            }
            docs = self.pages.docs(link.credit().await?);
            answer = read_window(&cluster, searcher, rest, docs).await;
        }
    }

    /// Emits what was alive in `read`, all of it acknowledged, and moves on.
    async fn advance(
        &mut self,
        link: &Link,
        survey: &Survey,
        read: SeqRange,
        ops: Vec<Op>,
    ) -> Result<(), Stop> {
        self.holes |= holes::contiguous_through(read.after, &ops) < read.through;
        self.emit(link, ops).await?;
        self.scanned = read.through;
        self.emitted = self.emitted.split_off(&read.through.next());
        if self.holes {
            let (scanned, term, through) = (self.scanned, self.term, survey.global.0);
            link.send(Event::Progress {
                scanned,
                term,
                through,
            })
            .await?;
        } else {
            self.seal(link, read.through).await?;
        }
        Ok(())
    }

    /// The tail: everything visible above `scanned`, from one searcher. If the page is full, the tail is longer than
    /// a page.
    pub(super) async fn read_tail(
        &mut self,
        searcher: &Searcher,
        mut docs: usize,
        count_live: bool,
    ) -> Result<(Page, usize), Stop> {
        loop {
            let query = PageQuery {
                target: searcher,
                range: SeqRange::new(self.scanned, self.scanned),
                unbounded: true,
                size: docs,
                max_bytes: PageSize::limit(docs),
                count_live,
            };
            match self.watch.cluster().read_page(&query).await {
                Ok(page) => {
                    self.pages.learn(page.ops.len(), page.body_bytes);
                    return Ok((page, docs));
                }
                Err(error) if error.kind == ErrorKind::TooLarge && self.pages.too_large(docs) => {
                    docs = self.pages.docs(PAGE_BYTES);
                }
                Err(error) => return Err(self.failed(error).into()),
            }
        }
    }

    /// Takes a full page of the tail as one more window: emits what is acknowledged and moves on behind it. Whether the
    /// round's global checkpoint lies still ahead.
    pub(super) async fn take_full_tail(
        &mut self,
        link: &Link,
        survey: &Survey,
        mut ops: Vec<Op>,
    ) -> Result<bool, Stop> {
        let last = ops.last().map_or(survey.global.0, |op| op.seq_no.as_checkpoint());
        let end = last.min(survey.global.0);
        ops.truncate(ops.partition_point(|op| end.covers(op.seq_no)));
        self.advance(link, survey, SeqRange::new(self.scanned, end), ops)
            .await?;
        Ok(self.scanned < survey.global.0)
    }
}

async fn read_window(
    cluster: &Cluster,
    searcher: &Searcher,
    window: SeqRange,
    docs: usize,
) -> Result<Page, ClusterError> {
    let max_bytes = PageSize::limit(docs);
    let query = PageQuery {
        target: searcher,
        range: window,
        unbounded: false,
        size: docs,
        max_bytes,
        count_live: false,
    };
    cluster.read_page(&query).await
}
