//! One shard, read by the best means at hand: the tail of its translog where this host has one that reaches back far
//! enough, windows over the REST API where not.
//!
//! The two change places only at a seal, where everything up to one sequence number has been emitted and nothing above
//! it: so there is no gap, and what comes twice comes in order (I3, I4). The window reader can always take over, for all
//! it needs is that sequence number. The tail takes over when the files beside this agent hold the next operation.

use async_trait::async_trait;
use slipstream_model::Checkpoint;
use tokio::time::{Duration, Instant};

use crate::link::{Event, Link};
use crate::tail::{End, Leave, Tail, Tails};
use crate::window::{Turn, WindowReader};
use crate::{Opening, ReadError, ReaderKind, ShardReader, Start, Watch};

/// Between two tries to tail, at first; then twice as long each time until [`PATIENCE_MOST`].
const PATIENCE_LEAST: Duration = Duration::from_millis(20);
const PATIENCE_MOST: Duration = Duration::from_secs(10);
/// Between two tries where it takes somebody's doing, or a relocation.
const PATIENCE_UNFIT: Duration = Duration::from_secs(10);
/// A tail that lasted this long was worth it: the next try does not wait.
const LASTED: Duration = Duration::from_secs(5);

/// The reader of a session.
pub struct RelayReader {
    tails: Tails,
    start: Start,
    window: WindowReader,
    tail: Option<Tail>,
    /// Why the window reader serves.
    why: String,
    patience: Patience,
    /// The tail may not serve before windows have accounted for everything up to here.
    accounted: Option<Checkpoint>,
}

/// When to try the tail again.
#[derive(Debug)]
struct Patience {
    wait: Duration,
    next: Instant,
}

impl Patience {
    /// The tail could not begin, or ended after `lasted`.
    fn left(&mut self, leave: &Leave, lasted: Duration) {
        self.wait = if !leave.may_pass_soon() {
            PATIENCE_UNFIT
        } else if lasted >= LASTED {
            PATIENCE_LEAST
        } else {
            (self.wait * 2).clamp(PATIENCE_LEAST, PATIENCE_MOST)
        };
        self.next = Instant::now() + self.wait;
    }
}

impl RelayReader {
    /// Checks that the shard is the one that the checkpoint belongs to (I5), and finds the means to read it.
    pub async fn open(watch: &Watch, tails: &Tails, start: Start) -> Result<RelayReader, ReadError> {
        let window = WindowReader::open(watch, start.clone()).await?;
        let accounted = start.reconciling.then(|| window.opening().global_checkpoint.0);
        let mut reader = RelayReader {
            tails: tails.clone(),
            window,
            tail: None,
            why: "documents are counted first, since the follower may hold some that are gone".to_owned(),
            patience: Patience {
                wait: Duration::ZERO,
                next: Instant::now(),
            },
            accounted,
            start,
        };
        reader.try_tail().await;
        Ok(reader)
    }

    /// Begins to tail if everything is sealed, it is time to try, and the files have what is due.
    async fn try_tail(&mut self) -> bool {
        let Some(sealed) = self.window.sealed() else {
            return false;
        };
        if self.accounted.is_some_and(|through| sealed < through) {
            return false;
        }
        self.accounted = None;
        if Instant::now() < self.patience.next {
            return false;
        }
        let history = &self.window.opening().history;
        match Tail::begin(&self.tails, &self.start, sealed, history).await {
            Ok(tail) => {
                self.tail = Some(tail);
                true
            }
            Err(leave) => {
                self.left(&leave, Duration::ZERO);
                false
            }
        }
    }

    fn left(&mut self, leave: &Leave, lasted: Duration) {
        self.patience.left(leave, lasted);
        let why = leave.to_string();
        if why != self.why {
            tracing::info!(shard = %self.start.shard, why, "the translog is not tailed");
            self.why = why;
        }
    }

    fn serving(&self) -> Event {
        Event::Serving {
            reader: self.kind(),
            why: self.why(),
        }
    }
}

#[async_trait]
impl ShardReader for RelayReader {
    fn kind(&self) -> ReaderKind {
        match self.tail {
            Some(_) => ReaderKind::Translog,
            None => ReaderKind::Window,
        }
    }

    fn why(&self) -> String {
        match &self.tail {
            Some(tail) => tail.why().to_owned(),
            None => self.why.clone(),
        }
    }

    fn opening(&self) -> &Opening {
        self.window.opening()
    }

    async fn run(&mut self, link: &mut Link) -> Result<(), ReadError> {
        loop {
            if let Some(tail) = &mut self.tail {
                let begun = Instant::now();
                let end = tail.run(link).await;
                self.window.resume_at(tail.sealed());
                self.tail = None;
                match end {
                    End::Unlinked => return Ok(()),
                    End::Read(error) => return Err(error),
                    End::Left(leave) => self.left(&leave, begun.elapsed()),
                }
            } else {
                let why = self.why.clone();
                match self.window.turn(link, Some(self.patience.next)).await? {
                    Turn::Unlinked => return Ok(()),
                    Turn::Round | Turn::Idle => {}
                }
                if !self.try_tail().await && self.why == why {
                    continue;
                }
            }
            if link.send(self.serving()).await.is_err() {
                return Ok(());
            }
        }
    }
}
