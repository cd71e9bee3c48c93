//! Topics of a source: which there are, the ids of their partitions, and where reading begins.

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use crate::error::{Error, Result};
use crate::plan::{StartupMode, TopicPattern};
use crate::record::Partition;

/// Partition numbers of a topic stay below this, see [`crate::batch::Origin::partition`].
const PARTITIONS_MAX: u32 = 1 << 16;

/// The topics of a pattern among those that exist, sorted, each with its place in the source. Topics of the
/// dataflow's own sinks are left out.
///
/// The place is a hash of the name, so that it does not depend on which other topics there are, or on when they
/// were found; where two names have the same one, the topic that is found later takes the next that is free.
pub(super) fn matching(
    pattern: &TopicPattern,
    sinks: &[String],
    existing: impl IntoIterator<Item = String>,
    known: Option<&[Partition]>,
) -> Result<Vec<(usize, String)>> {
    let known = known.unwrap_or_default().iter().map(|p| (p.name.to_string(), p.id / PARTITIONS_MAX));
    let mut places: BTreeMap<String, u32> = known.collect();
    let mut taken: BTreeSet<u32> = places.values().copied().collect();
    let names: BTreeSet<String> =
        existing.into_iter().filter(|name| pattern.matches(name) && !sinks.contains(name)).collect();
    let mut found = Vec::new();
    for name in names {
        if taken.len() >= PARTITIONS_MAX as usize {
            return Err(too_many());
        }
        let place = *places.entry(name.clone()).or_insert_with(|| {
            let hash = xxh3_64(name.as_bytes()) as u32 % PARTITIONS_MAX;
            let mut free = (0..PARTITIONS_MAX).map(|step| (hash + step) % PARTITIONS_MAX);
            free.find(|place| !taken.contains(place)).unwrap_or(hash)
        });
        taken.insert(place);
        found.push((place as usize, name));
    }
    Ok(found)
}

/// The partitions of the topic at place `place` of its source.
pub(super) fn topic_partitions(place: usize, topic: &str, numbers: Vec<u32>) -> Result<Vec<Partition>> {
    let partition = |number| Ok(Partition { id: partition_id(place, number)?, name: topic.into(), number });
    numbers.into_iter().map(partition).collect()
}

/// Those of the partitions that are not known.
pub(super) fn unknown(
    partitions: Vec<Partition>,
    known: Option<&[Partition]>,
) -> impl Iterator<Item = Partition> + use<'_> {
    let known: BTreeSet<u32> = known.unwrap_or_default().iter().map(|partition| partition.id).collect();
    partitions.into_iter().filter(move |partition| !known.contains(&partition.id))
}

/// The id of a topic's partition in its source.
fn partition_id(place: usize, number: u32) -> Result<u32> {
    if place >= PARTITIONS_MAX as usize || number >= PARTITIONS_MAX {
        return Err(too_many());
    }
    Ok(place as u32 * PARTITIONS_MAX + number)
}

fn too_many() -> Error {
    Error::config("too many topics or partitions")
        .hint("a source has at most 65,536 topics of 65,536 partitions")
}

/// The error about a topic that does not exist; `place` says where it was looked for.
pub(super) fn missing_topic(topic: &str, place: &str, existing: &[String]) -> Error {
    // Topics of the brokers themselves are nobody's mistyped source.
    let nearest = existing.iter().filter(|name| !name.starts_with('_')).max_by(|a, b| {
        let similarity = |name: &str| strsim::jaro_winkler(name, topic);
        similarity(a).total_cmp(&similarity(b))
    });
    let error = Error::config(format!("there is no topic '{topic}' {place}"));
    match nearest {
        Some(nearest) => error.hint(format!("the nearest one is '{nearest}'; or create the topic first")),
        None => error.hint("there is no topic at all; create it first"),
    }
}

/// Offset at which reading of a partition begins, whose log has the offsets `low..high`. `at_time` looks for the
/// first record that is not older.
pub(super) fn first_offset(
    startup: &StartupMode,
    partition: &Partition,
    (low, high): (u64, u64),
    at_time: impl FnOnce(i64) -> Result<Option<u64>>,
) -> Result<u64> {
    match startup {
        StartupMode::Earliest => Ok(low),
        StartupMode::Latest => Ok(high),
        StartupMode::Timestamp(ms) => Ok(at_time(*ms)?.unwrap_or(high)),
        StartupMode::Offsets(offsets) => {
            let Some(offset) = offsets.get(&(partition.name.to_string(), partition.number)) else {
                return Ok(low);
            };
            if (low..=high).contains(offset) {
                return Ok(*offset);
            }
            let Partition { name, number, .. } = partition;
            let what = if *offset < low { "was deleted" } else { "does not exist yet" };
            let message = format!("offset {offset} of partition {number} of topic '{name}' {what}");
            Err(Error::config(message).hint(format!(
                "scan.startup.specific-offsets can name {low} to {high} for it; without it, reading begins at {low}"
            )))
        }
    }
}

/// Refuses offsets of partitions that do not exist: a mistyped one would otherwise be read from its beginning.
pub(super) fn check_offsets<'a>(
    startup: &StartupMode,
    found: impl Iterator<Item = &'a Partition>,
) -> Result<()> {
    let StartupMode::Offsets(offsets) = startup else { return Ok(()) };
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    for partition in found {
        *counts.entry(&partition.name).or_default() += 1;
    }
    for (topic, number) in offsets.keys() {
        let message = match counts.get(topic.as_str()) {
            Some(count) if number < count => continue,
            Some(count) => format!("there is no partition {number} of topic '{topic}', which has {count}"),
            None => format!("the source reads no topic '{topic}'"),
        };
        return Err(Error::config(message).hint("correct scan.startup.specific-offsets"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(existing: &[&str], known: &[Partition]) -> Vec<(usize, String)> {
        let pattern = TopicPattern::new(".*").expect("an expression");
        let existing = existing.iter().map(|name| name.to_string());
        matching(&pattern, &["sink".into()], existing, Some(known)).expect("few topics")
    }

    #[test]
    fn the_place_of_a_topic_does_not_depend_on_the_others_or_on_when_it_was_found() {
        let all = places(&["b", "a", "sink", "c"], &[]);
        assert_eq!(all.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(places(&["c"], &[]), all[2..]);
        let known = topic_partitions(all[1].0, "b", vec![0, 1]).expect("ids");
        assert_eq!(places(&["a", "b", "c"], &known), all);
        // One that was there first keeps its place also where another hashes to it.
        let known = topic_partitions(all[0].0, "first", vec![0]).expect("ids");
        let beside = places(&["a", "first"], &known);
        assert_eq!(beside, [((all[0].0 + 1) % 65_536, "a".to_owned()), (all[0].0, "first".to_owned())]);
    }

    #[test]
    fn reading_begins_where_the_startup_mode_says_and_never_silently_elsewhere() {
        let partition = Partition { id: 1, name: "t".into(), number: 1 };
        let first = |startup: &StartupMode, at: Option<u64>| {
            first_offset(startup, &partition, (10, 20), |_| Ok(at)).map_err(|error| error.to_string())
        };
        assert_eq!(first(&StartupMode::Earliest, None), Ok(10));
        assert_eq!(first(&StartupMode::Latest, None), Ok(20));
        assert_eq!(first(&StartupMode::Timestamp(5), Some(13)), Ok(13));
        assert_eq!(first(&StartupMode::Timestamp(5), None), Ok(20), "nothing is as young");
        let at = |number, offset| StartupMode::Offsets(BTreeMap::from([(("t".to_owned(), number), offset)]));
        assert_eq!(first(&at(1, 10), None), Ok(10));
        assert_eq!(first(&at(1, 20), None), Ok(20));
        assert_eq!(first(&at(0, 15), None), Ok(10), "one that is not named");
        assert!(first(&at(1, 9), None).expect_err("gone").contains("was deleted"));
        assert!(first(&at(1, 21), None).expect_err("not there").contains("10 to 20"));

        let check = |startup: StartupMode| check_offsets(&startup, std::iter::repeat_n(&partition, 2));
        check(at(1, 0)).expect("there are two");
        assert!(check(at(2, 0)).expect_err("refused").to_string().contains("partition 2 of topic 't'"));
    }
}
