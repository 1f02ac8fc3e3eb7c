//! Whose turn it is in the search for deletes.
//!
//! The follower may ask only while a census is open, and one question at a time. A question that came at another time
//! would wait in the reader's queue and be taken for one about the next census; a settlement that did would seal it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::frames::FrameError;

/// The state of one stream's dialogue, shared by both of its directions.
#[derive(Debug, Default)]
pub(crate) struct Dialogue(Mutex<Turn>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// No census is open.
    #[default]
    Closed,
    /// The follower may ask or settle.
    Follower,
    /// The reader owes an answer.
    Leader,
    /// The reader gave up: what the follower asked before it heard of that is void.
    Abandoned,
}

/// What to do with a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Hand it to the reader.
    Due,
    /// Forget it: it crossed with [`Abandoned`](slipstream_wire::v1::Abandoned), which answers it.
    Void,
}

impl Dialogue {
    /// The reader is about to tell something that changes whose turn it is.
    pub(crate) fn leader_says(&self, event: &slipstream_source::Event) {
        use slipstream_source::Event;

        let next = match event {
            Event::Census { .. } | Event::Evidence(_) => Turn::Follower,
            Event::Sealed { .. } => Turn::Closed,
            Event::Abandoned { .. } => Turn::Abandoned,
            Event::Ops { .. } | Event::Progress { .. } | Event::Serving { .. } | Event::Pulse { .. } => {
                return;
            }
        };
        *self.turn() = next;
    }

    /// The follower asks or settles.
    pub(crate) fn follower_asks(&self) -> Result<Verdict, FrameError> {
        let mut turn = self.turn();
        match *turn {
            Turn::Follower => {
                *turn = Turn::Leader;
                Ok(Verdict::Due)
            }
            Turn::Abandoned => Ok(Verdict::Void),
            Turn::Closed | Turn::Leader => Err(FrameError::NotDue),
        }
    }

    fn turn(&self) -> MutexGuard<'_, Turn> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use slipstream_model::{Census, Checkpoint, PrimaryTerm};
    use slipstream_source::{Event, Evidence};

    use super::*;

    fn census() -> Event {
        Event::Census {
            census: Census { live: 1 },
            highest: Checkpoint::new(3),
        }
    }

    #[test]
    fn questions_follow_a_census_one_at_a_time() {
        let dialogue = Dialogue::default();
        assert_eq!(dialogue.follower_asks(), Err(FrameError::NotDue));
        dialogue.leader_says(&census());
        assert_eq!(dialogue.follower_asks(), Ok(Verdict::Due));
        assert_eq!(dialogue.follower_asks(), Err(FrameError::NotDue));
        dialogue.leader_says(&Event::Evidence(Evidence::Confirm(Vec::new())));
        assert_eq!(dialogue.follower_asks(), Ok(Verdict::Due));
        dialogue.leader_says(&Event::Sealed {
            checkpoint: Checkpoint::new(3),
            term: PrimaryTerm(1),
        });
        assert_eq!(dialogue.follower_asks(), Err(FrameError::NotDue));
    }

    #[test]
    fn a_question_that_crossed_with_the_abandonment_is_void() {
        let dialogue = Dialogue::default();
        dialogue.leader_says(&census());
        dialogue.leader_says(&Event::Abandoned {
            reason: String::new(),
        });
        assert_eq!(dialogue.follower_asks(), Ok(Verdict::Void));
        dialogue.leader_says(&census());
        assert_eq!(dialogue.follower_asks(), Ok(Verdict::Due));
    }
}
