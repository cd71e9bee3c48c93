use std::collections::{HashMap, HashSet};

use super::*;
use crate::plan::Shape;

const START_MS: i64 = 1_761_559_635_000;

fn settings() -> Simulator {
    let vehicles = Simulator::of(Shape::Vehicles);
    let (disorder, duplicates, broken) = (0.1, 0.05, 0.02);
    Simulator { seed: 7, count: Some(20_000), keys: 50, disorder, duplicates, broken, ..vehicles }
}

fn event_time(record: &SimulatedRecord) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(&record.value).ok()?;
    json["did"].as_str()?;
    Some(json["eventTime"].as_str()?.to_owned())
}

#[test]
fn equal_seeds_give_equal_bytes_and_others_do_not() {
    let fleet: Vec<_> = Fleet::new(&settings(), START_MS).collect();
    assert_eq!(fleet.len(), 20_000);
    for partition in 0..PARTITIONS {
        let mut alone = Stream::new(&settings(), partition, START_MS);
        let whole = fleet.iter().filter(|record| record.partition == partition);
        assert!(whole.eq(&std::iter::from_fn(|| alone.next()).collect::<Vec<_>>()), "{partition}");
    }
    let other = Fleet::new(&Simulator { seed: 8, ..settings() }, START_MS);
    assert!(!other.eq(fleet));
}

#[test]
fn a_vehicle_stays_in_its_partition_and_signals_are_on_schedule() {
    let clean = Simulator { disorder: 0.0, duplicates: 0.0, broken: 0.0, ..settings() };
    let mut partition_of = HashMap::new();
    let mut last = String::new();
    for (number, record) in Fleet::new(&clean, START_MS).enumerate() {
        let partition = *partition_of.entry(record.key.clone()).or_insert(record.partition);
        assert_eq!(partition, record.partition);
        assert_eq!(record.time_ms, START_MS + number as i64);
        let time = event_time(&record).expect("readable");
        assert!(time >= last, "in order");
        last = time;
    }
    assert_eq!(partition_of.len(), 50);
    assert_eq!(last, "2025-10-27T10:07:34.799Z");
}

#[test]
fn shares_of_late_double_and_broken_messages_are_kept() {
    let (mut seen, mut newest) = (HashSet::new(), String::new());
    let (mut late, mut double, mut broken) = (0, 0, 0);
    for record in Fleet::new(&Simulator { count: Some(100_000), ..settings() }, START_MS) {
        double += u32::from(!seen.insert(record.value.clone()) && event_time(&record).is_some());
        match event_time(&record) {
            Some(time) => {
                late += u32::from(time < newest);
                newest = newest.max(time);
            }
            None => broken += 1,
        }
    }
    // Of 100,000, some of which are held back behind the end; a second copy is late, too.
    assert!((11_000..16_000).contains(&late), "late {late}");
    assert!((4_000..5_000).contains(&double), "double {double}");
    assert!((1_200..2_200).contains(&broken), "broken {broken}");
    let full = Simulator { disorder: 1.0, duplicates: 1.0, broken: 1.0, keys: 0, rate: 0, ..settings() };
    assert_eq!(Fleet::new(&full, START_MS).take(5_000).count(), 5_000);
}

#[test]
fn a_topic_is_filled_by_the_schedule() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = TopicWriter::open(folder.path(), 4).expect("opened");
    let settings = Simulator { rate: 10_000, count: Some(1_000), ..settings() };
    let start = Instant::now();
    let mut fleet = Fleet::new(&settings, START_MS);
    assert_eq!(fleet.send(&AtomicBool::new(false), &mut writer).expect("sent"), 1_000);
    assert!(start.elapsed() >= Duration::from_micros(99_900), "{:?}", start.elapsed());
    let mut count = 0;
    for partition in 0..4 {
        let path = crate::topic_log::partition_path(folder.path(), partition);
        let mut reader = crate::topic_log::LogReader::open(path);
        count += reader.read(usize::MAX, &mut |record| assert!(record.key.is_some())).expect("read");
    }
    assert_eq!(count, 1_000);
}

#[test]
fn every_shape_has_the_same_events_for_equal_seeds_whatever_reads_them() {
    for shape in [Shape::Sensors, Shape::Metrics, Shape::Logs] {
        let settings = Simulator { count: Some(4_000), disorder: 0.1, broken: 0.05, ..Simulator::of(shape) };
        let fleet: Vec<_> = Fleet::new(&settings, START_MS).collect();
        assert_eq!(fleet.len(), 4_000);
        for partition in 0..PARTITIONS {
            let mut alone = Stream::new(&settings, partition, START_MS);
            let whole = fleet.iter().filter(|record| record.partition == partition);
            assert!(whole.eq(&std::iter::from_fn(|| alone.next()).collect::<Vec<_>>()), "{shape:?}");
        }
        let mut partition_of = HashMap::new();
        for record in &fleet {
            assert!(!record.kind.is_empty());
            // The services of a name run in several places.
            if shape != Shape::Logs {
                let partition = *partition_of.entry(&record.key).or_insert(record.partition);
                assert_eq!(partition, record.partition);
            }
        }
    }
}

#[test]
fn sensors_repeat_two_of_a_hundred_events_and_contradict_themselves_on_request() {
    let sensors = Simulator { count: Some(50_000), ..Simulator::of(Shape::Sensors) };
    let count = |settings: &Simulator| {
        let (mut seen, mut double, mut conflicts) = (HashMap::new(), 0, 0);
        for record in Fleet::new(settings, START_MS) {
            let json: serde_json::Value = serde_json::from_slice(&record.value).expect("JSON");
            let id = json["event_id"].as_str().expect("an id").to_owned();
            match seen.get(&id) {
                Some(value) if *value == record.value => double += 1,
                Some(_) => conflicts += 1,
                None => drop(seen.insert(id, record.value)),
            }
        }
        (double, conflicts)
    };
    let (double, conflicts) = count(&sensors);
    assert!((800..1_200).contains(&double) && conflicts == 0, "{double} {conflicts}");
    let (_, conflicts) = count(&Simulator { conflicts: 0.01, ..sensors });
    assert!((350..650).contains(&conflicts), "{conflicts}");
}

#[test]
fn days_of_history_hold_their_events_and_nothing_else() {
    const DAY_MS: i64 = 86_400_000;
    let start_ms = 1_767_225_600_000;
    let late_by = Duration::from_secs(7_200);
    let sensors = Simulator { keys: 10, disorder: 0.1, late_by, ..Simulator::of(Shape::Sensors) };
    let records: Vec<_> = Fleet::history(&sensors, start_ms, 3).collect();
    assert_eq!(records.len(), 3 * 10 * 24 * 60);
    let mut per_day = [0_u32; 3];
    let (mut newest, mut latest_ms) = (i64::MIN, 0);
    for record in &records {
        per_day[usize::try_from((record.event_ms - start_ms) / DAY_MS).expect("not before the first day")] +=
            1;
        newest = newest.max(record.event_ms);
        latest_ms = latest_ms.max(newest - record.event_ms);
    }
    assert!(per_day.iter().all(|count| (14_000..14_500).contains(count)), "{per_day:?}");
    assert!((6_000_000..7_260_000).contains(&latest_ms), "{latest_ms}");
    assert!(Fleet::history(&sensors, start_ms, 3).eq(records));
    assert_eq!(Fleet::history(&Simulator { count: Some(7), ..sensors }, start_ms, 3).count(), 7);
}
