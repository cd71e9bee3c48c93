use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::{Receiver, channel};

use arrow::array::{RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::Schema;

use super::*;
use crate::record::{Chunk, Partition, RawBuilder};

/// For what comes at once, on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(120);

/// Keeps the records and makes rows without columns.
#[derive(Default)]
struct Keep {
    offsets: Vec<u64>,
    raw: RawBuilder,
}

impl Decode for Keep {
    fn push(&mut self, record: &Record<'_>) {
        assert_ne!(record.payload, Some(&b"panic"[..]), "a bug in the decoder");
        self.offsets.push(record.offset);
        self.raw.push(record);
    }

    fn len(&self) -> usize {
        self.offsets.len()
    }

    fn finish(&mut self) -> Chunk {
        let options = RecordBatchOptions::new().with_row_count(Some(self.offsets.len()));
        Chunk {
            rows: RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options)
                .expect("no column"),
            offsets: UInt64Array::from(std::mem::take(&mut self.offsets)),
            rejects: vec![],
            raw: self.raw.finish(),
        }
    }
}

/// Numbers up to a limit in each partition, in groups of 100, two apart; 0 means an error in its place.
struct Numbers {
    next: Vec<u64>,
    limits: Vec<u64>,
    steps: Vec<Result<&'static [u8]>>,
    /// How often partitions are not taken on.
    refusals: usize,
}

impl Reader for Numbers {
    fn add(&mut self, partitions: &[FoundPartition]) -> Result<()> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(Error::away("not now"));
        }
        // The limit of a partition is told as its end.
        self.limits.extend(partitions.iter().filter_map(|found| found.to));
        self.next.resize(self.limits.len(), 0);
        Ok(())
    }

    fn read(&mut self, wanted: &[bool], max_wait: Duration, out: &mut dyn RecordSink) -> Result<()> {
        let payload = if self.steps.is_empty() { &b"0123456789"[..] } else { self.steps.remove(0)? };
        let mut any = false;
        for (partition, limit) in self.limits.iter().enumerate() {
            if !wanted[partition] || self.next[partition] > *limit {
                continue;
            }
            any = true;
            for _ in 0..100.min(limit - self.next[partition]) {
                let offset = self.next[partition] * 2;
                let payload = Some(payload);
                out.record(partition, &Record { payload, ..Record::of(offset, b"") });
                self.next[partition] += 1;
            }
            if self.next[partition] == *limit {
                out.caught_up(partition, limit * 2);
                out.ended(partition);
                self.next[partition] += 1;
            }
        }
        if !any {
            std::thread::park_timeout(max_wait);
        }
        Ok(())
    }
}

fn input(id: u32, limit: u64) -> Input {
    let partition = Partition { id, name: "t".into(), number: id };
    let found = FoundPartition { to: Some(limit), ..FoundPartition::whole(partition) };
    Input { found, decoder: Box::new(Keep::default()) }
}

struct Started {
    handle: ConsumerHandle,
    queues: Vec<PartitionQueue>,
    woken: Receiver<()>,
}

fn start(limits: &[u64], steps: Vec<Result<&'static [u8]>>) -> Started {
    start_with(limits, Numbers { next: vec![], limits: vec![], steps, refusals: 0 })
}

fn start_with(limits: &[u64], reader: impl Reader + 'static) -> Started {
    let inputs = (0..).zip(limits).map(|(id, limit)| input(id, *limit)).collect();
    let settings = ConsumerSettings {
        read_ahead: Limits { records: 1_000, bytes: 1 << 20 },
        chunk: Limits { records: 64, bytes: 1 << 20 },
        max_wait: Duration::from_millis(20),
    };
    let (wake, woken) = channel();
    let handle = spawn("test", Box::new(reader), settings, move || {
        let _ = wake.send(());
    });
    let handle = handle.expect("started");
    Started { queues: handle.add(inputs), handle, woken }
}

fn take(queue: &PartitionQueue, max: usize, into: &mut Vec<u64>) {
    for chunk in queue.take(Limits { records: max, bytes: usize::MAX }, None).chunks {
        assert_eq!(chunk.offsets.len(), chunk.raw.len());
        into.extend(chunk.offsets.values());
    }
}

#[test]
fn a_full_partition_is_not_read_and_the_others_go_on_without_loss() {
    let Started { handle, queues, woken } = start(&[20_000, 20_000, 0], vec![]);
    let (full, free, empty) = (&queues[0], &queues[1], &queues[2]);
    let (mut first, mut second) = (Vec::new(), Vec::new());
    while second.len() < 20_000 {
        woken.recv_timeout(LONG).expect("goes on");
        take(free, 777, &mut second);
        assert!(full.queued_records() <= 1_000, "{}", full.queued_records());
        // The last wake can come before the last records are taken.
        while free.ended() && free.queued_records() > 0 {
            take(free, 777, &mut second);
        }
    }
    assert_eq!(full.queued_records(), 1_000);
    assert_eq!((full.ended(), full.end().0), (false, None));
    assert_eq!((free.ended(), free.end().0), (true, Some(40_000)));
    assert_eq!((empty.ended(), empty.end().0), (true, Some(0)));
    while first.len() < 20_000 {
        take(full, 300, &mut first);
        if full.queued_records() == 0 && !full.ended() {
            woken.recv_timeout(LONG).expect("goes on when there is room");
        }
    }
    let all: Vec<u64> = (0..20_000).map(|n| n * 2).collect();
    assert!(first == all && second == all, "every record once, in order");
    assert!(handle.take_error().is_none() && handle.away().is_none());
}

#[test]
fn a_source_that_is_away_is_waited_for() {
    let Started { handle, queues, woken } =
        start(&[100], vec![Err(Error::away("gone")), Err(Error::away("gone")), Ok(b"x")]);
    while !queues[0].ended() {
        woken.recv_timeout(LONG).expect("back again");
    }
    assert_eq!(queues[0].queued_records(), 100);
    assert!(handle.take_error().is_none());
}

#[test]
fn partitions_that_were_not_taken_on_are_added_once_with_those_that_came_meanwhile() {
    let reader = Numbers { next: vec![], limits: vec![], steps: vec![], refusals: 3 };
    let Started { handle, mut queues, woken } = start_with(&[100, 200], reader);
    queues.extend(handle.add(vec![input(2, 300)]));
    while queues.iter().any(|queue| !queue.ended()) {
        woken.recv_timeout(LONG).expect("goes on");
    }
    let counts: Vec<_> = queues.iter().map(PartitionQueue::queued_records).collect();
    assert_eq!(counts, [100, 200, 300]);
    assert!(handle.take_error().is_none());
}

#[test]
fn a_partition_that_is_added_later_is_read_also_when_the_others_have_ended() {
    let Started { handle, queues, woken } = start(&[100], vec![]);
    while !queues[0].ended() {
        woken.recv_timeout(LONG).expect("goes on");
    }
    let later = handle.add(vec![input(1, 300), input(2, 0)]);
    while later.iter().any(|queue| !queue.ended()) {
        woken.recv_timeout(LONG).expect("goes on");
    }
    let counts: Vec<_> = queues.iter().chain(&later).map(PartitionQueue::queued_records).collect();
    assert_eq!(counts, [100, 300, 0]);
    assert_eq!(later[0].partition().id, 1);
}

#[test]
fn an_error_ends_the_thread_behind_what_was_read() {
    let Started { handle, queues, woken } =
        start(&[1_000], vec![Ok(b"x"), Err(Error::config("no such thing"))]);
    while woken.recv_timeout(LONG).is_ok() {}
    assert_eq!(queues[0].queued_records(), 100);
    let error = handle.take_error().expect("an error");
    assert_eq!(error.to_string(), "source test: no such thing");

    let Started { handle, woken, .. } = start(&[1_000], vec![Ok(b"panic")]);
    while woken.recv_timeout(LONG).is_ok() {}
    assert_eq!(handle.take_error().expect("an error").kind(), ErrorKind::Internal);
}

/// A source that is never there; counts how often it was asked.
struct Away(Arc<AtomicUsize>);

impl Reader for Away {
    fn add(&mut self, _: &[FoundPartition]) -> Result<()> {
        Ok(())
    }

    fn read(&mut self, _: &[bool], _: Duration, _: &mut dyn RecordSink) -> Result<()> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Err(Error::away("gone"))
    }
}

#[test]
fn a_stop_is_quick_also_while_the_source_is_away() {
    let asked = Arc::new(AtomicUsize::new(0));
    let Started { handle, .. } = start_with(&[100], Away(asked.clone()));
    while handle.away().is_none() {
        std::thread::yield_now();
    }
    handle.stop();
    let before = asked.load(Ordering::SeqCst);
    drop(handle);
    // It may have been about to ask, and it does not ask until somebody answers.
    let after = asked.load(Ordering::SeqCst);
    assert!(after <= before + 1, "asked {before} times before the stop, and {after} times in all");
}
