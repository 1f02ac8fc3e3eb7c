//! The files of one shard copy as an ordered run of operations: looking for what is new, and taking what is final.
//!
//! The rule (each step of it was found necessary on real servers): read the checkpoint; read every generation up to the
//! generation and offset that it names, never past them; of each sequence number keep the operation with the highest
//! primary term; then take, in order and without a hole, what is at or below the global checkpoint. A copy's own
//! checkpoint file never passes a sequence number whose final operation is not before the file's offset; a global
//! checkpoint from elsewhere may, so [`Files::raise`] asks for one of the same copy, and for another look after it.
//!
//! Whatever does not fit (a hole, another translog, bytes that make no sense) ends the tail with a [`Leave`]: the window
//! reader goes on from the next sequence number that is due. Nothing is ever guessed.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use slipstream_model::{Change, Checkpoint as ModelCheckpoint, DocRef, Op, PrimaryTerm, SeqNo, Version};
use slipstream_translog::{Checkpoint, FormatError, Frame, Op as Logged};

use super::backlog::{Backlog, Bounds, Slot};
use super::folder::{Folder, Generation, GenerationHeader, Identity, invalid};
use super::leave::Leave;

/// Bytes read at once while looking.
const LOOK_BYTES: usize = 1024 * 1024;
/// Bytes read at once for operations that were seen in an earlier look.
const TAKE_BYTES: usize = 256 * 1024;
/// Operations that may be known and not taken, a shard: a copy that is cut off from its primary piles them up.
const MOST_BACKLOG: usize = 1 << 18;
/// How often the newest generation may vanish between reading its name and opening it, before that is strange.
const MOST_VANISHED: u32 = 20;

/// The files of one copy, read up to a place.
pub(super) struct Files {
    uuid: String,
    backlog: Backlog,
    /// Where the next unseen frame begins.
    generation: u64,
    offset: u64,
    /// The generation that is being read, with its head.
    open: Option<Open>,
    /// What was read last, so that what is taken right after it was seen is not read again.
    chunk: Option<Chunk>,
    bounds: Bounds,
    checkpoint: Checkpoint,
    /// The newest generation that was known to be the one by its name, and the checkpoint file that named it.
    vouched: Option<(u64, Identity)>,
    raised: Option<Raised>,
}

/// A generation with its head.
type Open = (Arc<Generation>, Arc<GenerationHeader>);

fn opened(folder: &Folder, number: u64) -> io::Result<Open> {
    let generation = folder.generation(number)?;
    let header = generation.header()?;
    Ok((generation, Arc::new(header)))
}

/// A global checkpoint of this copy that its file does not show yet.
#[derive(Debug, Clone, Copy)]
struct Raised {
    global_checkpoint: i64,
    term: u64,
}

struct Chunk {
    generation: u64,
    start: u64,
    bytes: Bytes,
}

/// Whether there is more to see right away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// All up to the checkpoint's offset.
    All,
    /// A portion; look again.
    More,
}

impl Files {
    /// Begins at the place from which everything above `after` can be found: generations that hold nothing above it are
    /// passed over by what their checkpoints say.
    pub(super) fn begin(folder: &Folder, uuid: &str, next: u64) -> Result<Files, Leave> {
        folder
            .hold_all()
            .map_err(|error| Leave::unreadable(folder, &error))?;
        let (checkpoint, _) = folder
            .checkpoint()
            .map_err(|error| Leave::unreadable(folder, &error))?;
        let wanted = |closed: &Checkpoint| closed.max_seq_no >= next as i64;
        let first = (checkpoint.min_generation..checkpoint.generation)
            .find(|generation| folder.closed(*generation).is_none_or(|closed| wanted(&closed)));
        let mut files = Files {
            uuid: uuid.to_owned(),
            backlog: Backlog::new(next),
            generation: first.unwrap_or(checkpoint.generation),
            offset: 0,
            open: None,
            chunk: None,
            bounds: Bounds {
                global_checkpoint: -1,
                complete: false,
                highest_term: 0,
            },
            checkpoint,
            vouched: None,
            raised: None,
        };
        if first.is_none() && !wanted(&checkpoint) {
            files.offset = checkpoint.offset;
        }
        folder.release_before(files.generation);
        Ok(files)
    }

    /// The checkpoint of the last look.
    pub(super) fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What this copy has acknowledged, as far as is known.
    pub(super) fn global_checkpoint(&self) -> i64 {
        self.bounds.global_checkpoint
    }

    /// The highest primary term that operations of this translog have.
    pub(super) fn term(&self) -> PrimaryTerm {
        PrimaryTerm(self.bounds.highest_term)
    }

    /// Whether operations were seen that are not acknowledged, as far as the files tell.
    pub(super) fn is_behind(&self) -> bool {
        self.bounds.complete && self.backlog.len() > 0
    }

    /// Takes note that this copy, asked at a moment when its newest generation had `term`, told a global checkpoint. Good
    /// from the next look on, and only while no primary has changed.
    pub(super) fn raise(&mut self, global_checkpoint: i64, term: PrimaryTerm) {
        self.raised = Some(Raised {
            global_checkpoint,
            term: term.0,
        });
    }

    /// Looks at the checkpoint and at a portion of what is new up to it.
    pub(super) fn look(&mut self, folder: &Folder) -> Result<Seen, Leave> {
        let (checkpoint, newest) = self.newest(folder)?;
        self.bounds.highest_term = newest.1.term;
        self.bounds.global_checkpoint = checkpoint.global_checkpoint;
        if let Some(raised) = self.raised {
            if raised.term != newest.1.term || raised.global_checkpoint <= checkpoint.global_checkpoint {
                self.raised = None;
            } else {
                self.bounds.global_checkpoint = raised.global_checkpoint;
            }
        }
        self.checkpoint = checkpoint;
        if newest.0.number == self.generation && self.open.is_none() {
            self.enter(newest);
        }
        let mut portion = LOOK_BYTES;
        while portion > 0 {
            let Some((end, trimmed_above)) = self.end_of_generation(folder, &checkpoint)? else {
                self.pass(folder);
                continue;
            };
            if self.offset >= end {
                if self.generation == checkpoint.generation {
                    if self.offset > end {
                        return Err(Leave::Renewed("its translog became shorter".to_owned()));
                    }
                    self.bounds.complete = true;
                    return Ok(Seen::All);
                }
                self.pass(folder);
                continue;
            }
            portion = portion.saturating_sub(self.read(folder, end, trimmed_above)?);
            if self.backlog.len() > MOST_BACKLOG {
                let due = self.backlog.due(self.bounds).is_some();
                // What may be taken is not piled up, it only was not taken yet.
                return if due {
                    Ok(self.more())
                } else {
                    Err(Leave::Overflow)
                };
            }
        }
        Ok(self.more())
    }

    /// Goes on to the next generation. What nothing in the backlog lies in is let go of, however this one ended: no operation
    /// may come after it that would do so.
    fn pass(&mut self, folder: &Folder) {
        self.generation += 1;
        self.open = None;
        self.offset = 0;
        let needed = self.backlog.oldest_generation().unwrap_or(self.generation);
        folder.release_before(needed.min(self.generation));
    }

    fn more(&mut self) -> Seen {
        self.bounds.complete = false;
        Seen::More
    }

    /// The checkpoint, and the generation that it names, which is the one that exists by that name.
    fn newest(&mut self, folder: &Folder) -> Result<(Checkpoint, Open), Leave> {
        let unreadable = |error: io::Error| Leave::unreadable(folder, &error);
        let mut vanished = 0;
        loop {
            let (checkpoint, named_by) = folder.checkpoint().map_err(unreadable)?;
            if checkpoint.generation < self.generation {
                return Err(Leave::Renewed("its translog began anew".to_owned()));
            }
            let open = match &self.open {
                Some(open) if open.0.number == checkpoint.generation => Ok(open.clone()),
                _ => opened(folder, checkpoint.generation),
            };
            // A crash may leave a generation that no checkpoint has named yet, and the engine makes it anew then. One that was known to
            // be the one by its name is so for as long as that name stands for any file and the checkpoint is the same file.
            let naming = Some((checkpoint.generation, named_by));
            let vouched = self.vouched == naming;
            let current = |one: &Generation| {
                let known = vouched && one.has_a_name()?;
                if known { Ok(true) } else { folder.is_current(one) }
            };
            match open.and_then(|open| Ok((current(&open.0)?, open))) {
                Ok((true, open)) if open.1.uuid == self.uuid => {
                    self.vouched = naming;
                    return Ok((checkpoint, open));
                }
                Ok((true, open)) => {
                    return Err(Leave::Renewed(format!(
                        "its translog was replaced by another ({})",
                        open.1.uuid
                    )));
                }
                Ok((false, _)) => return Err(Leave::Renewed("its translog folder was made anew".to_owned())),
                // Rolled and removed between the two reads.
                Err(error) if error.kind() == io::ErrorKind::NotFound && vanished < MOST_VANISHED => {
                    vanished += 1;
                }
                Err(error) => return Err(unreadable(error)),
            }
        }
    }

    fn enter(&mut self, open: Open) {
        self.offset = self.offset.max(open.1.length);
        self.open = Some(open);
    }

    /// Where the valid part of the generation that is being read ends, and the sequence number above which its operations
    /// are dead. `None` if it cannot be read (any more), which is for the gap test to judge: it may have held nothing
    /// that is due.
    fn end_of_generation(
        &mut self,
        folder: &Folder,
        checkpoint: &Checkpoint,
    ) -> Result<Option<(u64, u64)>, Leave> {
        if self.open.is_none() {
            match opened(folder, self.generation) {
                Ok(open) if open.1.uuid == self.uuid => self.enter(open),
                Ok(_) => return Err(Leave::Renewed("its translog was replaced by another".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(Leave::unreadable(folder, &error)),
            }
        }
        if self.generation == checkpoint.generation {
            return Ok(Some((checkpoint.offset, u64::MAX)));
        }
        // Bytes behind the offset of a generation's last checkpoint are dead: a crash left them. Without that checkpoint
        // nobody knows where they begin.
        Ok(folder.closed(self.generation).map(|closed| {
            // Below zero stands for "never trimmed".
            let trimmed_above = u64::try_from(closed.trimmed_above).unwrap_or(u64::MAX);
            (closed.offset, trimmed_above)
        }))
    }

    /// Reads a portion of the open generation, at least one frame.
    fn read(&mut self, folder: &Folder, end: u64, trimmed_above: u64) -> Result<usize, Leave> {
        let Some((generation, header)) = self.open.clone() else {
            return Ok(0);
        };
        let unreadable = |error: io::Error| Leave::unreadable(folder, &error);
        let (start, left) = (self.offset, end - self.offset);
        let mut wanted = left.min(LOOK_BYTES as u64) as usize;
        loop {
            let bytes = generation.read(start, wanted).map_err(unreadable)?;
            if bytes.len() < wanted {
                return Err(unreadable(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "it is shorter than its checkpoint says",
                )));
            }
            let mut at = 0;
            let needed = loop {
                if at == bytes.len() {
                    break 0;
                }
                match Frame::place(&bytes[at..]) {
                    Ok((place, length)) => {
                        if place.primary_term > header.term {
                            return Err(unreadable(io::Error::new(
                                io::ErrorKind::InvalidData,
                                "an operation has a higher term than its generation",
                            )));
                        }
                        let slot = Slot {
                            term: place.primary_term,
                            generation: generation.number,
                            offset: start + at as u64,
                            length: length as u32,
                        };
                        if place.seq_no <= trimmed_above {
                            self.backlog.saw(place.seq_no, slot);
                        }
                        at += length;
                    }
                    Err(FormatError::Incomplete { needed }) => break needed,
                    Err(error) => return Err(unreadable(invalid(&error))),
                }
            };
            if at > 0 {
                self.offset += at as u64;
                self.chunk = Some(Chunk {
                    generation: generation.number,
                    start,
                    bytes,
                });
                return Ok(at);
            }
            // A single frame larger than what was read: once more, with room for it.
            if needed as u64 > left || needed <= wanted {
                return Err(unreadable(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a frame reaches beyond the checkpoint's offset",
                )));
            }
            wanted = needed;
        }
    }

    /// Takes operations that are final and acknowledged, in order, about `most` bytes of them and at least one if `most` is
    /// not 0.
    pub(super) fn take(&mut self, folder: &Folder, most: usize) -> Result<Vec<Op>, Leave> {
        let mut ops = Vec::new();
        let mut weight = 0;
        while weight < most
            && let Some(slot) = self.backlog.due(self.bounds)
        {
            let op = match self.operation(folder, slot) {
                // What comes before it can still be taken.
                Err(Leave::Foreign { .. }) if !ops.is_empty() => break,
                op => op?,
            };
            weight += op.weight();
            ops.push(op);
            self.backlog.taken();
        }
        if self.backlog.due(self.bounds).is_none() {
            // An idle shard holds no memory.
            self.chunk = None;
        }
        Ok(ops)
    }

    /// Everything up to `checkpoint` is settled and will not be taken again.
    pub(super) fn settle(&mut self, folder: &Folder, checkpoint: ModelCheckpoint) {
        self.backlog.settle_before(checkpoint.next().get());
        if self.backlog.is_drained() {
            // A shard that has caught up holds no file that the leader has removed.
            folder.release_before(self.generation);
        }
    }

    /// What was taken and is not settled becomes due again.
    pub(super) fn rewind(&mut self) {
        self.backlog.rewind();
    }

    /// Whether an operation may be taken.
    pub(super) fn has_due(&self) -> bool {
        self.backlog.due(self.bounds).is_some()
    }

    /// Makes sure that what is due and acknowledged is in the files.
    pub(super) fn check(&self) -> Result<(), Leave> {
        if self.backlog.has_gap(self.bounds) {
            return Err(Leave::Gap {
                next: self.backlog.next(),
                global_checkpoint: self.bounds.global_checkpoint,
            });
        }
        Ok(())
    }

    fn operation(&mut self, folder: &Folder, slot: Slot) -> Result<Op, Leave> {
        let unreadable = |error: io::Error| Leave::unreadable(folder, &error);
        let (from, length) = (slot.offset, slot.length as usize);
        let holds = |chunk: &Chunk| {
            chunk.generation == slot.generation
                && chunk.start <= from
                && from + length as u64 <= chunk.start + chunk.bytes.len() as u64
        };
        if !self.chunk.as_ref().is_some_and(holds) {
            let generation = folder.generation(slot.generation).map_err(unreadable)?;
            let bytes = generation
                .read(from, length.max(TAKE_BYTES))
                .map_err(unreadable)?;
            self.chunk = Some(Chunk {
                generation: slot.generation,
                start: from,
                bytes,
            });
        }
        let Some(chunk) = self.chunk.as_ref().filter(|chunk| holds(chunk)) else {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        };
        let at = (from - chunk.start) as usize;
        let foreign = |what| Leave::Foreign {
            seq_no: self.backlog.next(),
            what,
        };
        match Frame::parse(&chunk.bytes[at..at + length]) {
            Ok(Frame {
                op: Logged::Index { source, .. },
                ..
            }) if !is_json(source) => Err(foreign("CBOR, SMILE or YAML source")),
            Ok(frame) => Ok(operation(frame.op, &chunk.bytes)),
            // It was understood when it was seen, but for its texts: half of a surrogate pair, which is no Unicode.
            Err(FormatError::Unsupported { .. }) => Err(foreign("id or routing, which is not Unicode,")),
            Err(error) => Err(unreadable(invalid(&error))),
        }
    }
}

/// Whether a source was sent as JSON in UTF-8: an object, after blanks or comments. What the engines' other formats begin with
/// is something else, and the other encodings have a zero among the first bytes.
fn is_json(source: &[u8]) -> bool {
    let text = source.strip_prefix(b"\xef\xbb\xbf").unwrap_or(source);
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    matches!(first, Some(b'{' | b'/')) && !source.iter().take(4).any(|byte| *byte == 0)
}

/// An operation as the stream carries it; the source is a slice of what was read.
fn operation(logged: Logged<'_>, bytes: &Bytes) -> Op {
    let (seq_no, term) = (SeqNo::new(logged.seq_no()), PrimaryTerm(logged.primary_term()));
    let (doc, version, change) = match logged {
        Logged::Index {
            id,
            routing,
            version,
            source,
            ..
        } => {
            let doc = DocRef {
                id: id.into_owned(),
                routing: routing.map(std::borrow::Cow::into_owned),
            };
            let source = bytes.slice_ref(source);
            (doc, version, Change::Index { source })
        }
        Logged::Delete { id, version, .. } => {
            let doc = DocRef {
                id: id.into_owned(),
                routing: None,
            };
            (doc, version, Change::Delete)
        }
        Logged::Noop { .. } => {
            let doc = DocRef {
                id: String::new(),
                routing: None,
            };
            (doc, 0, Change::Noop)
        }
    };
    Op {
        seq_no,
        term,
        version: Version(version),
        doc,
        change,
    }
}
