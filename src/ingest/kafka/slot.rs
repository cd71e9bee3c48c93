//! One assigned partition: what was read of it and not handed on yet, and where it stands.

use std::collections::VecDeque;

use rdkafka::message::{BorrowedMessage, Headers, Message};

use crate::ingest::RecordSink;
use crate::record::{FoundPartition, Record};

/// Records kept of a partition that is not wanted, before the client is told to stop fetching it. Telling it
/// makes it throw away what it has fetched, so a partition that soon is wanted again is not paused.
const KEPT_MAX: usize = 16_384;
const KEPT_BYTES_MAX: usize = 16 << 20;

/// One partition.
pub(super) struct Slot {
    /// Place among the partitions of the reader.
    pub index: usize,
    pub number: i32,
    /// Least offset that the next record can have.
    pub next: u64,
    /// Offset at which a bounded input ends.
    end: Option<u64>,
    /// Records that came while they were not wanted.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// The end of the log is behind the records in `kept`.
    at_end: bool,
    pub paused: bool,
    /// The end was seen; it is told when nothing is kept any more.
    finished: bool,
    pub ended: bool,
}

struct Kept {
    offset: u64,
    key: Option<Vec<u8>>,
    payload: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
    timestamp_ms: Option<i64>,
}

/// One call of `read`.
pub(super) struct Call<'a> {
    pub wanted: &'a [bool],
    pub headers: bool,
    pub out: &'a mut dyn RecordSink,
    /// Records that may still be handed on.
    pub left: usize,
    /// Whether anything was said.
    pub progress: bool,
}

impl Slot {
    /// A partition from which nothing was read; `index` is its place among those of the reader.
    pub fn new(index: usize, found: &FoundPartition) -> Self {
        let FoundPartition { partition, from, to } = found;
        Slot {
            index,
            number: i32::try_from(partition.number).unwrap_or(i32::MAX),
            next: *from,
            end: *to,
            kept: VecDeque::new(),
            kept_bytes: 0,
            at_end: false,
            paused: false,
            finished: to.is_some_and(|end| *from >= end),
            ended: false,
        }
    }

    /// Hands on what was kept while it was not wanted. Whether nothing is left.
    pub fn hand_on_kept(&mut self, call: &mut Call<'_>) -> bool {
        while call.left > 0
            && let Some(kept) = self.kept.pop_front()
        {
            self.kept_bytes -= kept.size();
            call.record(self.index, &kept);
        }
        if !self.kept.is_empty() {
            return false;
        }
        if self.finished {
            self.end_it(call);
        } else if std::mem::take(&mut self.at_end) {
            call.caught_up(self.index, self.next);
        }
        true
    }

    /// Takes a record that the client has fetched.
    pub fn take(&mut self, message: &BorrowedMessage<'_>, call: &mut Call<'_>) {
        let Ok(offset) = u64::try_from(message.offset()) else { return };
        // After a pause the client can give a record again.
        if self.finished || offset < self.next {
            return;
        }
        if self.end.is_some_and(|end| offset >= end) {
            self.finish(call);
            return;
        }
        self.next = offset + 1;
        self.at_end = false;
        if call.wanted[self.index] && self.kept.is_empty() {
            call.message(self.index, offset, message);
        } else {
            let kept = Kept::new(offset, message, call.headers);
            self.kept_bytes += kept.size();
            self.kept.push_back(kept);
        }
        if self.end.is_some_and(|end| self.next >= end) {
            self.finish(call);
        }
    }

    /// Whether the client is to be told to stop fetching.
    pub fn is_too_much(&self) -> bool {
        self.kept.len() >= KEPT_MAX || self.kept_bytes >= KEPT_BYTES_MAX || self.finished
    }

    /// The client stands at the end of the log, at `position`.
    pub fn reached_end(&mut self, position: Option<u64>, call: &mut Call<'_>) {
        // Behind the last record there can be markers of transactions, which have offsets, too.
        self.next = self.next.max(position.unwrap_or(0));
        if self.end.is_some() {
            self.finish(call);
        } else if self.kept.is_empty() {
            call.caught_up(self.index, self.next);
        } else {
            self.at_end = true;
        }
    }

    /// The topic was deleted: there is no more than what is kept.
    pub fn lost(&mut self, call: &mut Call<'_>) {
        if !self.ended && !self.finished {
            call.out.gone(self.index);
            self.reached_end(None, call);
        }
    }

    /// A bounded input has no more records than those that are kept.
    fn finish(&mut self, call: &mut Call<'_>) {
        self.finished = true;
        if self.kept.is_empty() {
            self.end_it(call);
        }
    }

    fn end_it(&mut self, call: &mut Call<'_>) {
        if !std::mem::replace(&mut self.ended, true) {
            call.caught_up(self.index, self.next);
            call.out.ended(self.index);
        }
    }
}

impl Call<'_> {
    fn message(&mut self, index: usize, offset: u64, message: &BorrowedMessage<'_>) {
        let headers = if self.headers { message.headers() } else { None };
        let headers: Vec<_> = headers
            .into_iter()
            .flat_map(|headers| headers.iter().map(|header| (header.key, header.value)))
            .collect();
        self.hand_on(
            index,
            &Record {
                offset,
                key: message.key(),
                payload: message.payload(),
                left_out: 0,
                headers: &headers,
                timestamp_ms: message.timestamp().to_millis(),
            },
        );
    }

    fn record(&mut self, index: usize, kept: &Kept) {
        let headers: Vec<_> =
            kept.headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        self.hand_on(
            index,
            &Record {
                offset: kept.offset,
                key: kept.key.as_deref(),
                payload: kept.payload.as_deref(),
                left_out: 0,
                headers: &headers,
                timestamp_ms: kept.timestamp_ms,
            },
        );
    }

    fn hand_on(&mut self, index: usize, record: &Record<'_>) {
        self.out.record(index, record);
        self.left -= 1;
        self.progress = true;
    }

    fn caught_up(&mut self, index: usize, next: u64) {
        self.out.caught_up(index, next);
        self.progress = true;
    }
}

impl Kept {
    fn new(offset: u64, message: &BorrowedMessage<'_>, headers: bool) -> Self {
        let headers = if headers { message.headers() } else { None };
        Kept {
            offset,
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: headers
                .into_iter()
                .flat_map(|headers| headers.iter())
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .collect(),
            timestamp_ms: message.timestamp().to_millis(),
        }
    }

    fn size(&self) -> usize {
        self.key.as_ref().map_or(0, Vec::len) + self.payload.as_ref().map_or(0, Vec::len)
    }
}
