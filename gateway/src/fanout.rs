//! The hub of one session, as pure data: no clock, no socket, no task.
//!
//! Durable frames stand once in a ring that all viewers share; a viewer is only a [`Cursor`]. So a viewer's queue is the
//! stretch between its cursor and the head: finals cannot be dropped or doubled, a viewer costs a few words, and the byte
//! bound of every viewer is the ring's own. A viewer that falls out of the ring is too slow and is sent away; it resumes
//! by its offset. Partials are latest-state per segment: a viewer gets the newest of each, and counts what it skipped.

use std::collections::VecDeque;
use std::ops::Deref;

/// Open segments shown at most; the longest untouched one makes room.
pub const OPEN_SEGMENTS_MAX: usize = 64;

/// Why the hub has no more for a viewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// The session's `end` was delivered.
    End,
    /// The transcript was erased or removed.
    Gone,
    /// The viewer fell further behind than its byte bound allows.
    Slow,
    /// The hub lost its place in the log; a reconnect finds it again.
    Broken,
}

/// What [`Hub::take`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Everything that there is was taken: wait for the next change.
    Idle,
    /// More is there: take again.
    More,
    /// The viewer is behind the ring: send it the log's records after this offset, and say so with [`Cursor::replayed`].
    ReadLog {
        /// The last offset that it has.
        after: u64,
    },
    /// Close the viewer.
    Close(Closing),
}

/// Where one viewer is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    offset: u64,
    live: bool,
    partials: bool,
    /// `None` until the first look: what was there before is current state, not something skipped.
    partials_seen: Option<u64>,
    skipped: u64,
}

impl Cursor {
    /// A viewer that has everything up to `after`.
    pub fn new(after: u64, partials: bool) -> Self {
        Self { offset: after, live: false, partials, partials_seen: None, skipped: 0 }
    }

    /// The last offset that the viewer was given.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The viewer was sent one record read from the log; false when it is not the one after the last.
    #[must_use]
    pub fn replayed(&mut self, offset: u64) -> bool {
        let next = offset == self.offset + 1;
        if next {
            self.offset = offset;
        }
        next
    }

    /// Turns partials on or off; turned on, the viewer gets the current state of each open segment.
    pub fn set_partials(&mut self, wanted: bool) {
        self.partials = wanted;
        self.partials_seen = None;
    }

    /// Revisions that were replaced before this viewer took them, since the last call.
    pub fn take_skipped(&mut self) -> u64 {
        std::mem::take(&mut self.skipped)
    }
}

/// What a durable frame settles: partials that need not be shown any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settles {
    /// The final's segment.
    pub seg: String,
    /// The final's end, media time in ms: older readings of audio before it are settled too.
    pub end_ms: u64,
}

/// A frame that is shown while it is the newest of its segment.
#[derive(Debug, Clone)]
pub struct PartialFrame<F> {
    /// Its segment.
    pub seg: String,
    /// Rises with every reading.
    pub rev: u32,
    /// Head of the log when it was made.
    pub after: u64,
    /// Media time in ms.
    pub end_ms: u64,
    /// What is sent.
    pub frame: F,
}

#[derive(Debug)]
struct Open<F> {
    version: u64,
    partial: PartialFrame<F>,
}

/// One session's frames. `F` is the serialised frame, cheap to clone.
#[derive(Debug)]
pub struct Hub<F> {
    head: u64,
    ring: VecDeque<F>,
    ring_bytes: usize,
    bound: usize,
    open: Vec<Open<F>>,
    /// Segments of the last finals, oldest first: a partial may overtake its final, or be overtaken.
    settled: VecDeque<String>,
    version: u64,
    closing: Option<Closing>,
}

impl<F: Clone + Deref<Target = str>> Hub<F> {
    /// A hub whose first frame will be `head + 1`, for viewers that may be `bound` bytes behind.
    pub fn new(head: u64, bound: usize) -> Self {
        Self {
            head,
            ring: VecDeque::new(),
            ring_bytes: 0,
            bound,
            open: Vec::new(),
            settled: VecDeque::new(),
            version: 0,
            closing: None,
        }
    }

    /// The last durable offset that was published.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes held for all viewers together: at most the bound, or one frame.
    pub fn held_bytes(&self) -> usize {
        self.ring_bytes
    }

    /// Bytes that this viewer has yet to take from the ring.
    pub fn backlog_bytes(&self, cursor: &Cursor) -> usize {
        let behind = usize::try_from(self.head.saturating_sub(cursor.offset)).unwrap_or(usize::MAX);
        self.ring.iter().rev().take(behind).map(|frame| frame.len()).sum()
    }

    /// Takes the next durable frame. An offset that was published before changes nothing; one that leaves a hole breaks
    /// the hub: its viewers are closed and resume from the log.
    pub fn publish(&mut self, offset: u64, frame: F, settles: Option<&Settles>) {
        if offset <= self.head {
            return;
        }
        if offset != self.head + 1 {
            return self.finish(Closing::Broken);
        }
        self.head = offset;
        self.ring_bytes += frame.len();
        self.ring.push_back(frame);
        while self.ring_bytes > self.bound && self.ring.len() > 1 {
            let out = self.ring.pop_front();
            self.ring_bytes -= out.map_or(0, |frame| frame.len());
        }
        if let Some(settles) = settles {
            self.open.retain(|open| {
                let covered = open.partial.after < offset && open.partial.end_ms <= settles.end_ms;
                open.partial.seg != settles.seg && !covered
            });
            if self.settled.len() >= OPEN_SEGMENTS_MAX {
                self.settled.pop_front();
            }
            self.settled.push_back(settles.seg.clone());
        }
    }

    /// Shows a newer reading of an open segment in place of the older one; one of a settled segment changes nothing.
    pub fn publish_partial(&mut self, partial: PartialFrame<F>) {
        if self.settled.contains(&partial.seg) {
            return;
        }
        let known = self.open.iter().position(|open| open.partial.seg == partial.seg);
        if known.is_some_and(|at| self.open[at].partial.rev >= partial.rev) {
            return;
        }
        if let Some(at) = known {
            self.open.remove(at);
        } else if self.open.len() >= OPEN_SEGMENTS_MAX {
            self.open.remove(0);
        }
        self.version += 1;
        self.open.push(Open { version: self.version, partial });
    }

    /// Nothing follows. Viewers get what they have not taken yet, then the reason.
    pub fn finish(&mut self, why: Closing) {
        self.open.clear();
        // Erased text is not kept for anyone.
        if why == Closing::Gone {
            self.ring.clear();
            self.ring_bytes = 0;
        }
        self.closing.get_or_insert(why);
    }

    /// Whether nothing follows.
    pub fn finished(&self) -> bool {
        self.closing.is_some()
    }

    /// Gives the viewer up to `max` frames in order: durable ones first, then, once it has them all, partials.
    pub fn take(&self, cursor: &mut Cursor, max: usize, out: &mut Vec<F>) -> Taken {
        if self.closing == Some(Closing::Gone) {
            return Taken::Close(Closing::Gone);
        }
        let before_ring = self.head - self.ring.len() as u64;
        if cursor.offset < before_ring {
            return if cursor.live {
                Taken::Close(Closing::Slow)
            } else {
                Taken::ReadLog { after: cursor.offset }
            };
        }
        cursor.live = true;
        let begin = out.len();
        let skip = usize::try_from(cursor.offset - before_ring).unwrap_or(usize::MAX);
        out.extend(self.ring.iter().skip(skip).take(max).cloned());
        cursor.offset += (out.len() - begin) as u64;
        if cursor.offset < self.head {
            return Taken::More;
        }
        if let Some(why) = self.closing {
            return if out.len() > begin { Taken::More } else { Taken::Close(why) };
        }
        self.take_partials(cursor, max - (out.len() - begin).min(max), out)
    }

    fn take_partials(&self, cursor: &mut Cursor, max: usize, out: &mut Vec<F>) -> Taken {
        if !cursor.partials {
            return Taken::Idle;
        }
        let seen = cursor.partials_seen.unwrap_or(0);
        let mut newer = self.open.iter().filter(|open| open.version > seen);
        let (mut given, mut reached) = (0, seen);
        for open in newer.by_ref().take(max) {
            out.push(open.partial.frame.clone());
            reached = open.version;
            given += 1;
        }
        let more = newer.next().is_some();
        let reached = if more { reached } else { self.version };
        if cursor.partials_seen.is_some() {
            cursor.skipped += reached - seen - given;
        }
        cursor.partials_seen = Some(reached);
        if more { Taken::More } else { Taken::Idle }
    }
}
