use std::sync::Arc;

use super::*;

fn layout() -> Arc<Layout> {
    let to = Downstream::Sink(0);
    Arc::new(Layout {
        sources: vec!["a".into()],
        legs: vec![Upstream::Source(0)],
        accounts: vec![Account {
            name: account_name(["a->s"].into_iter()),
            to,
            legs: vec![0],
            deduplicates: None,
        }],
        operators: 0,
    })
}

fn record(ledger: &Ledger, epoch: Epoch, emitted: i64) {
    ledger.add(epoch, Count::Read(0), 8);
    ledger.add(epoch, Count::SourceDead(0), 1);
    ledger.add(epoch, Count::SourceOut(0), 7);
    ledger.add(epoch, Count::LegIn(0), 7);
    ledger.add(epoch, Count::Account(0, Fate::Filtered), 2);
    ledger.add(epoch, Count::Account(0, Fate::Emitted), emitted);
}

#[test]
fn a_complete_epoch_is_accounted_for_and_an_open_one_does_not_count() {
    let ledger = Ledger::new(layout());
    record(&ledger, 1, 5);
    record(&ledger, 2, 0);
    let counts = ledger.settle(Some(2));
    let report = LedgerReport::new(ledger.layout(), [&counts]);
    let expected = r#"{"read":{"a":8},"legs":[{"leg":"a->s","in":8,"filtered":2,"deduplicated":0,"late":0,"dead":1,"in_state":0,"emitted":5}],"unaccounted":0}"#;
    assert_eq!(report.to_json().to_string(), expected);
}

#[test]
fn a_lost_row_and_a_doubled_row_both_show() {
    for emitted in [4, 6] {
        let ledger = Ledger::new(layout());
        record(&ledger, 1, emitted);
        let counts = ledger.settle(None);
        assert_eq!(LedgerReport::new(ledger.layout(), [&counts]).unaccounted(), 1);
    }
}

#[test]
fn a_lost_letter_shows() {
    let ledger = Ledger::new(layout());
    record(&ledger, 1, 5);
    ledger.add(1, Count::LettersOut, 1);
    let counts = ledger.settle(None);
    assert_eq!(LedgerReport::new(ledger.layout(), [&counts]).unaccounted(), 1);
}

#[test]
fn accounts_of_several_legs_are_named_by_all_upstreams() {
    assert_eq!(account_name(["a->x", "b->x#2", "a->x#3"].into_iter()), "a+b->x");
}
