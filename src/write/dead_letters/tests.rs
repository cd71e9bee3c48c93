use std::fs;

use super::super::testing::{identity, read_topic, settings, source};
use super::*;
use crate::batch::RowOrigin;
use crate::dead_letter::{DeadLetter, RawRecord, Reason};
use crate::plan::{FileSource, KafkaSource, StartupMode, TopicPattern, Topics};

fn kafka(topics: &[&str]) -> SourceConnector {
    SourceConnector::Kafka(KafkaSource {
        topics: Topics::Named(topics.iter().map(|topic| (*topic).to_owned()).collect()),
        startup: StartupMode::Earliest,
        find_interval: None,
        properties: BTreeMap::new(),
    })
}

/// Sources: two topics, a topic with policy `file`, one with `drop`, and a file.
fn plan() -> Plan {
    let file =
        SourceConnector::File(FileSource { path: "in.jsonl".into(), monitor: None, replay_milli: None });
    Plan {
        name: "d".into(),
        directory: ".".into(),
        sources: vec![
            source("telemetry", kafka(&["one", "two"]), DeadLetterPolicy::Topic),
            source("kept", kafka(&["three"]), DeadLetterPolicy::File),
            source("dropped", kafka(&["four"]), DeadLetterPolicy::Drop),
            source("recorded", file, DeadLetterPolicy::Topic),
        ],
        operators: Vec::new(),
        arrangements: Vec::new(),
        views: Vec::new(),
        sinks: Vec::new(),
        legs: Vec::new(),
    }
}

fn letter(source: u16, topic: &str, offset: u64) -> AddressedLetter {
    AddressedLetter {
        letter: DeadLetter {
            origin: (!topic.is_empty()).then_some(RowOrigin { source, partition: 0, offset, index: 0 }),
            row: topic.is_empty().then(|| r#"{"did":"981"}"#.into()),
            reason: Reason::Check,
            error: "a is 0".into(),
            rule: "CHECK (a > 0)".into(),
            stage: "s".into(),
        },
        source: source.into(),
        topic: topic.into(),
        partition: 0,
        record: RawRecord { key: Some(b"k".to_vec()), payload: Some(br#"{"a":0}"#.to_vec()), left_out: 0 },
        wall_ms: 0,
    }
}

fn write(writer: &mut DeadLetterWriter) {
    writer.open(&identity()).expect("open");
    let letters = vec![
        letter(0, "one", 1),
        letter(0, "two", 2),
        letter(1, "three", 3),
        letter(2, "four", 4),
        letter(3, "in.jsonl", 5),
        letter(0, "", 6),
    ];
    writer.write(7, letters).expect("written");
    writer.write(8, vec![letter(3, "in.jsonl", 6)]).expect("written");
    let epochs: Vec<Epoch> = writer.confirm().expect("confirmed").iter().map(|(epoch, _)| *epoch).collect();
    assert_eq!(epochs, [7, 8]);
}

/// What tells letters apart.
fn short(letter: &str) -> String {
    let letter: serde_json::Value = serde_json::from_str(letter).expect("JSON");
    format!(
        "{} {} {} {}",
        letter["epoch"], letter["original_topic"], letter["original_offset"], letter["row"]
    )
}

fn lines(path: PathBuf) -> Vec<String> {
    fs::read_to_string(path).expect("a file").lines().map(short).collect()
}

#[test]
fn letters_go_where_the_policy_of_their_source_says() {
    let state = tempfile::tempdir().expect("folder");
    let mut writer = DeadLetterWriter::new(&plan(), &settings(state.path()), None, false, Health::new())
        .expect("a writer");
    write(&mut writer);
    let topic = |name| -> Vec<String> {
        let records = read_topic(state.path(), name).into_iter();
        records.map(|(key, value)| format!("{key:?} {}", short(&value.unwrap_or_default()))).collect()
    };
    insta::assert_snapshot!(topic("one.dlq").join("\n"), @r#"
    Some("k") 7 "one" 1 null
    Some("k") 7 null null {"did":"981"}
    "#);
    insta::assert_snapshot!(topic("two.dlq").join("\n"), @r#"Some("k") 7 "two" 2 null"#);
    let folder = state.path().join("dead_letters");
    insta::assert_snapshot!(lines(folder.join("kept.dlq.jsonl")).join("\n"), @r#"7 "three" 3 null"#);
    insta::assert_snapshot!(lines(folder.join("recorded.dlq.jsonl")).join("\n"), @r#"
    7 "in.jsonl" 5 null
    8 "in.jsonl" 6 null
    "#);
    assert_eq!((topic("four.dlq").len(), folder.join("dropped.dlq.jsonl").exists()), (0, false));
}

#[test]
fn with_an_output_directory_every_run_leaves_its_own_letters_there() {
    let state = tempfile::tempdir().expect("folder");
    let output = state.path().join("out");
    for _ in 0..2 {
        let output = Some(output.clone());
        let writer = DeadLetterWriter::new(&plan(), &settings(state.path()), output, false, Health::new());
        write(&mut writer.expect("a writer"));
    }
    insta::assert_snapshot!(lines(output.join("telemetry.dlq.jsonl")).join("\n"), @r#"
    7 "one" 1 null
    7 "two" 2 null
    7 null null {"did":"981"}
    "#);
    assert_eq!(lines(output.join("recorded.dlq.jsonl")).len(), 2);
    assert!(!output.join("dropped.dlq.jsonl").exists() && !state.path().join("topics").exists());
}

#[test]
fn letters_of_files_that_stand_for_a_topic_go_to_the_topic_of_the_source() {
    let state = tempfile::tempdir().expect("folder");
    let mut plan = plan();
    let any = Topics::Pattern(TopicPattern::new(".*").expect("an expression"));
    let kafka = KafkaSource {
        topics: any,
        startup: StartupMode::Earliest,
        find_interval: None,
        properties: BTreeMap::new(),
    };
    plan.sources.push(source("many", SourceConnector::Kafka(kafka), DeadLetterPolicy::Topic));
    let writer = DeadLetterWriter::new(&plan, &settings(state.path()), None, true, Health::new());
    let mut writer = writer.expect("a writer");
    writer.open(&identity()).expect("open");
    let letters = vec![letter(0, "telemetry/0.jsonl", 1), letter(0, "", 2), letter(4, "many/0.jsonl", 3)];
    writer.write(7, letters).expect("written");
    writer.confirm().expect("confirmed");
    let topics = ["one.dlq", "many.dlq"].map(|name| read_topic(state.path(), name).len());
    assert_eq!((topics, crate::topic_log::topics(state.path()).len()), ([2, 1], 2));
}
