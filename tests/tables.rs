//! Tables that change while the dataflow runs, as topics in folders of the state directory.

#[path = "support/enriching.rs"]
mod enriching;
#[path = "support/process.rs"]
mod process;

use std::cell::RefCell;
use std::collections::BTreeMap;

use enriching::{Enriching, check, fill};
use tidemill::topic_log::{TopicWriter, topic_directory};

fn a_table_changes(workers: usize) {
    let enriching = Enriching::new("");
    let state = enriching.folder.path().join("state-0");
    let writers: RefCell<BTreeMap<String, TopicWriter>> = RefCell::default();
    let produce = |topic: &str, partition: u32, key: Option<&str>, payload: Option<&str>| {
        let mut writers = writers.borrow_mut();
        let writer = writers.entry(topic.to_owned()).or_insert_with(|| {
            TopicWriter::open(&topic_directory(&state, topic).expect("a name"), 2).expect("opened")
        });
        let (key, payload) = (key.map(str::as_bytes), payload.map(str::as_bytes));
        writer.append(partition, key, payload, &[], 0).expect("appended");
        writer.flush().expect("flushed");
    };
    fill(&enriching, &produce);
    let mut cluster = enriching.start(workers, 1, &[]);
    let ledger = check(&enriching, &mut cluster, &produce);
    let of_table = ledger["legs"].as_array().expect("legs");
    let of_table = of_table.iter().find(|leg| leg["leg"] == "devices->devices/rows").expect("the table");
    // One is no JSON, one has no key; one was deleted and came back.
    assert_eq!((&of_table["dead"], &of_table["in_state"]), (&2.into(), &3_000.into()), "{ledger:#}");
}

#[test]
fn a_table_changes_on_one_worker() {
    a_table_changes(1);
}

#[test]
fn a_table_changes_on_two_workers() {
    a_table_changes(2);
}

#[test]
fn a_table_changes_on_four_workers() {
    a_table_changes(4);
}
