use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::*;
use crate::dead_letter::Reason;
use crate::plan;
use crate::record::{RawBuilder, Record};

pub fn source() -> Arc<Source> {
    let column = |name: &str, from| plan::Column {
        name: name.into(),
        kind: plan::ColumnType::Timestamp,
        nullable: true,
        default: None,
        from,
    };
    let time = DataType::Timestamp(TimeUnit::Nanosecond, None);
    let fields = vec![Field::new("ts", time.clone(), true), Field::new("at", time, true)];
    Arc::new(Source {
        name: "s".into(),
        columns: vec![
            column("ts", ColumnOrigin::Path(vec!["ts".into()])),
            column("at", ColumnOrigin::Metadata(Metadata::IngestionTime)),
        ],
        schema: Arc::new(Schema::new(fields)),
        checks: vec![],
        table: None,
        watermark: Some(plan::WatermarkColumn { column: 0, delay_ns: 10 }),
        connector: plan::SourceConnector::File(plan::FileSource {
            path: "x".into(),
            monitor: None,
            replay_milli: None,
        }),
        format: plan::Format::Json,
        timestamp_format: plan::TimestampFormat::default(),
        max_future: Duration::from_secs(1),
        max_jump: None,
        idle_timeout: Duration::from_secs(10),
        computed: Vec::new(),
        max_drift: None,
        device: None,
        max_record_bytes: 1000,
        dead_letters: plan::DeadLetterPolicy::Drop,
    })
}

/// Records with these event times.
pub fn chunk(times: &[i64], first_offset: u64) -> Chunk {
    let mut raw = RawBuilder::default();
    let offsets: Vec<u64> = (0..times.len() as u64).map(|row| first_offset + row).collect();
    for offset in &offsets {
        raw.push(&Record::of(*offset, b"x"));
    }
    let ts: ArrayRef = Arc::new(TimestampNanosecondArray::from(times.to_vec()));
    let at: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![None; times.len()]));
    Chunk {
        rows: RecordBatch::try_new(source().schema.clone(), vec![ts, at]).expect("two columns"),
        offsets: UInt64Array::from(offsets),
        rejects: vec![],
        raw: raw.finish(),
    }
}

pub fn tick(epoch: u64, wall_ms: i64) -> Tick {
    Tick { epoch, wall_ms, checkpoint: false, loading: false, partitions: vec![], ceilings: vec![] }
}

#[test]
fn a_record_from_the_future_is_a_letter_and_moves_no_watermark() {
    let mut partition = PartitionCut::new(source(), 0, 3, 5);
    let cut =
        partition.cut(&tick(1, 1000), &[chunk(&[500, 9_000_000_000, 700], 5)], Place::default(), Until::End);
    let cut = cut.expect("cut");
    assert_eq!(cut.binding.watermark, Watermark(690));
    assert_eq!((cut.in_order, cut.late_ms, cut.future), (2, vec![], vec!["(unknown)".to_owned()]));
    assert_eq!((cut.binding.from, cut.binding.to, cut.read), (5, 8, 3));
    assert_eq!(cut.batches[0].len(), 2);
    assert_eq!(cut.letters[0].reason, Reason::FutureTime);
    assert_eq!(cut.letters[0].origin.map(|origin| (origin.partition, origin.offset)), Some((3, 6)));
    let ingestion = cut.batches[0].rows.column(1);
    let ingestion = ingestion.as_any().downcast_ref::<TimestampNanosecondArray>().expect("timestamps");
    assert_eq!(ingestion.value(0), 1_000_000_000);
}

#[test]
fn a_record_ahead_of_its_time_in_the_log_is_a_letter_and_one_far_ahead_of_the_others_moves_nothing() {
    const SECOND: i64 = 1_000_000_000;
    let source = Source { max_jump: Some(Duration::from_secs(60)), ..(*source()).clone() };
    let mut partition = PartitionCut::new(Arc::new(source), 0, 0, 0);
    // Event time and time in the log, in seconds.
    let records = [(10, 10), (11, 10), (12, 10), (13, 0), (14, -1), (500, 500), (400, 10), (15, 600)];
    let mut raw = RawBuilder::default();
    for (offset, (_, logged)) in (0..).zip(records) {
        raw.push(&Record { key: Some(b"k"), timestamp_ms: Some(logged * 1000), ..Record::of(offset, b"x") });
    }
    let times: Vec<i64> = records.iter().map(|(time, _)| time * SECOND).collect();
    let chunk = Chunk { raw: raw.finish(), ..chunk(&times, 0) };
    // The clock is a day later: a replay.
    let cut = partition.cut(&tick(1, 86_400_000), &[chunk], Place::default(), Until::End).expect("cut");
    let errors: Vec<_> = cut.letters.iter().map(|letter| letter.error.as_str()).collect();
    // Behind 14 s a record of 10 s is not believed any more, so that 400 s is only far ahead.
    assert_eq!(
        errors,
        [
            "field \"ts\": 1970-01-01T00:00:12Z is more than 1s ahead of the time of its record, 1970-01-01T00:00:10Z"
        ]
    );
    assert_eq!((cut.batches[0].len(), cut.future.len(), cut.in_order), (7, 3, 5));
    assert_eq!(cut.binding.watermark, Watermark(15 * SECOND - 10), "500 s is a minute and more ahead");
}

#[test]
fn who_is_ahead_is_known_by_a_column_or_by_the_key_and_lateness_by_the_partition() {
    let future = 9_000_000_000;
    let mut raw = RawBuilder::default();
    let keys = [Some(&b"a"[..]), None, Some(&b"b"[..])];
    keys.iter()
        .zip(0..)
        .for_each(|(key, offset)| raw.push(&Record { key: *key, ..Record::of(offset, b"x") }));
    let chunk = Chunk { raw: raw.finish(), ..chunk(&[future, future, future], 0) };
    let cut = |source: Arc<Source>| {
        let mut partition = PartitionCut::new(source, 0, 3, 0);
        partition
            .cut(&tick(1, 1000), std::slice::from_ref(&chunk), Place::default(), Until::End)
            .expect("cut")
            .future
    };
    assert_eq!(cut(source()), ["a", "(unknown)", "b"]);
    let by_column = Source { device: Some(0), ..(*source()).clone() };
    assert_eq!(cut(Arc::new(by_column)), ["1970-01-01T00:00:09"; 3]);

    let mut partition = PartitionCut::new(source(), 0, 3, 0);
    let times = [5_000_000, 1_000_000, 7_000_000, 6_999_999];
    let late =
        partition.cut(&tick(1, 1000), &[self::chunk(&times, 0)], Place::default(), Until::End).expect("cut");
    assert_eq!((late.in_order, late.late_ms), (2, vec![4, 1]));
    let late =
        partition.cut(&tick(2, 1000), &[self::chunk(&[0], 4)], Place::default(), Until::End).expect("cut");
    assert_eq!((late.in_order, late.late_ms), (0, vec![7]));
}

fn at_end() -> Place {
    Place { caught_up: Some(0), ..Place::default() }
}

#[test]
fn a_partition_is_idle_only_at_the_log_end_after_the_timeout() {
    let mut partition = PartitionCut::new(source(), 0, 0, 0);
    let mut idle = |epoch, wall_ms, chunks: &[Chunk], place| {
        partition.cut(&tick(epoch, wall_ms), chunks, place, Until::End).expect("cut").binding.idle
    };
    assert!(idle(1, 0, &[], at_end()), "an empty partition starts idle");
    assert!(!idle(2, 10, &[chunk(&[5], 0)], at_end()));
    assert!(!idle(3, 9_000, &[], at_end()));
    assert!(!idle(4, 60_000, &[], Place::default()), "a backlog is never idle");
    assert!(idle(5, 60_000, &[], at_end()));
}

#[test]
fn while_the_other_side_does_not_answer_a_partition_is_not_idle_and_its_silence_begins_anew() {
    let mut partition = PartitionCut::new(source(), 0, 0, 0);
    let mut idle = |epoch, wall_ms, unsure| {
        let place = Place { unsure, ..at_end() };
        partition.cut(&tick(epoch, wall_ms), &[], place, Until::End).expect("cut").binding.idle
    };
    assert!(idle(1, 0, false));
    assert!(!idle(2, 20, true));
    assert!(!idle(3, 60_000, true));
    assert!(!idle(4, 60_020, false), "what was written meanwhile is still on its way");
    assert!(idle(5, 70_000, false));
}

#[test]
fn a_partition_of_which_nothing_can_be_used_becomes_idle() {
    let mut partition = PartitionCut::new(source(), 0, 0, 0);
    let mut idle = |epoch, wall_ms, time: i64| {
        let chunks = [chunk(&[time], epoch)];
        let cut = partition.cut(&tick(epoch, wall_ms), &chunks, at_end(), Until::End).expect("cut");
        (cut.binding.idle, cut.letters.len())
    };
    assert_eq!(idle(1, 0, 5), (false, 0));
    assert_eq!(idle(2, 9_000, i64::MAX), (false, 1));
    assert_eq!(idle(3, 10_000, i64::MAX), (true, 1), "its clock is broken, and it is alone there");
    assert_eq!(idle(4, 10_020, 6), (false, 0));
}

#[test]
fn where_a_partition_stands_follows_what_was_cut() {
    let source = Source { max_drift: Some(Duration::from_secs(1)), ..(*source()).clone() };
    let mut partition = PartitionCut::new(Arc::new(source), 0, 0, 0);
    let mut stands = |chunks: &[Chunk], place| {
        partition.cut(&tick(1, 1_000), chunks, place, Until::End).expect("cut").standing
    };
    assert_eq!(stands(&[], Place::default()), Standing::Unknown);
    assert_eq!(stands(&[chunk(&[3, 9, i64::MAX], 0)], Place::default()), Standing::At(3));
    assert_eq!(stands(&[], Place { held: Some(70), ..Place::default() }), Standing::Held(70));
    assert_eq!(stands(&[], Place::default()), Standing::At(3));
    assert_eq!(stands(&[], Place { unsure: true, ..at_end() }), Standing::AtEnd);
    assert_eq!(stands(&[], Place { ended: true, ..at_end() }), Standing::Ended);
}
