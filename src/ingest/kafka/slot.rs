//! One assigned partition: what the client has fetched of it, and where it stands.

use rdkafka::error::RDKafkaErrorCode;

use super::fetched::{FetchQueue, Fetched};
use crate::error::Result;
use crate::ingest::RecordSink;
use crate::record::{FoundPartition, Record};

/// One partition.
pub(super) struct Slot {
    pub stand: Stand,
    queue: FetchQueue,
}

/// Where a partition stands.
pub(super) struct Stand {
    /// Place among the partitions of the reader.
    pub index: usize,
    pub number: i32,
    /// Least offset that the next record can have.
    pub next: u64,
    /// Offset at which a bounded input ends.
    end: Option<u64>,
    pub ended: bool,
    /// The topic was deleted, and that was told.
    lost: bool,
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

/// Who looks after the topic of a partition.
pub(super) trait Watch {
    /// Takes note of an error. Whether it says that the partition does not exist any more.
    fn error(&mut self, code: RDKafkaErrorCode) -> Result<bool>;

    /// Fails if what is fetched now belongs to another topic of the same name.
    fn is_same(&mut self) -> Result<()>;
}

impl Slot {
    /// A partition of which nothing was read; `index` is its place among those of the reader.
    pub fn new(index: usize, found: &FoundPartition, queue: FetchQueue) -> Self {
        Slot { stand: Stand::new(index, found), queue }
    }

    /// Hands on what was fetched, within the limits of the call and of one take. Whether there may be more.
    pub fn read(&mut self, call: &mut Call<'_>, watch: &mut impl Watch) -> Result<bool> {
        let stand = &mut self.stand;
        if stand.is_complete() {
            stand.end_it(call);
        }
        if stand.ended || call.left == 0 {
            return Ok(false);
        }
        let mut result = Ok(());
        let (limit, headers) = (call.left, call.headers);
        let more = self.queue.take(limit, headers, |fetched| {
            if result.is_ok() && !stand.ended {
                result = stand.hear(fetched, call, watch);
            }
        });
        result.map(|()| more && !stand.ended)
    }

    /// The topic was deleted: there is no more than what was fetched before.
    pub fn lost(&mut self, call: &mut Call<'_>) {
        if !self.stand.lost && !self.stand.ended && self.queue.is_empty() {
            self.stand.lost(call);
        }
    }
}

impl Stand {
    fn new(index: usize, found: &FoundPartition) -> Self {
        let FoundPartition { partition, from, to } = found;
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        Stand { index, number, next: *from, end: *to, ended: false, lost: false }
    }

    fn hear(&mut self, fetched: Fetched<'_>, call: &mut Call<'_>, watch: &mut impl Watch) -> Result<()> {
        match fetched {
            Fetched::Error(code) if watch.error(code)? => self.lost(call),
            Fetched::Error(_) => {}
            Fetched::End(offset) => {
                watch.is_same()?;
                self.reached_end(offset, call);
            }
            Fetched::Record(record) => {
                watch.is_same()?;
                self.take(record, call);
            }
        }
        Ok(())
    }

    /// Takes a record that the client has fetched.
    fn take(&mut self, record: &Record<'_>, call: &mut Call<'_>) {
        if record.offset < self.next {
            return;
        }
        if self.end.is_none_or(|end| record.offset < end) {
            self.next = record.offset + 1;
            call.out.record(self.index, record);
            call.left = call.left.saturating_sub(1);
            call.progress = true;
        } else {
            self.end_it(call);
        }
        if self.is_complete() {
            self.end_it(call);
        }
    }

    /// The client stands at the end of the log, where `offset` comes next. Behind the last record there can be
    /// markers of transactions, which have offsets, too.
    fn reached_end(&mut self, offset: u64, call: &mut Call<'_>) {
        self.next = self.next.max(offset);
        match self.end {
            Some(_) => self.end_it(call),
            None => call.caught_up(self.index, self.next),
        }
    }

    /// The topic was deleted: there is no more.
    fn lost(&mut self, call: &mut Call<'_>) {
        self.lost = true;
        call.out.gone(self.index);
        self.reached_end(self.next, call);
    }

    /// Whether all of a bounded input was read.
    fn is_complete(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    fn end_it(&mut self, call: &mut Call<'_>) {
        if !std::mem::replace(&mut self.ended, true) {
            call.caught_up(self.index, self.next);
            call.out.ended(self.index);
        }
    }
}

impl Call<'_> {
    fn caught_up(&mut self, index: usize, next: u64) {
        self.out.caught_up(index, next);
        self.progress = true;
    }
}
