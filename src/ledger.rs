//! The ledger: counts that prove that no row was lost.
//!
//! Kept per *account*: everything that leads to one operator, view or sink. Every row that enters gets
//! exactly one fate, counted where it is decided; what is between two accounts is an *edge*, where rows out
//! must equal rows in. All counts are sums of diffs, kept per epoch and settled when the epoch is confirmed,
//! so that a report is exact at any moment and not only at the end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};

use crate::plan::{Downstream, Operator, Plan, Upstream};
use crate::time::Epoch;

/// What happened to a row of an account. Each row has exactly one fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Dropped by a WHERE or HAVING.
    Filtered,
    /// Already there with the same content.
    Deduplicated,
    /// Too old for every window.
    Late,
    /// Became a dead letter.
    Dead,
    /// Held by the state of an operator.
    InState,
    /// Acknowledged by the sink, visible in the view, or folded into a released result.
    Emitted,
}

const FATES: [(Fate, &str); 6] = [
    (Fate::Filtered, "filtered"),
    (Fate::Deduplicated, "deduplicated"),
    (Fate::Late, "late"),
    (Fate::Dead, "dead"),
    (Fate::InState, "in_state"),
    (Fate::Emitted, "emitted"),
];

/// Something that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// Records read by a source, by its index.
    Read(usize),
    /// Records that became dead letters between reading and the first leg.
    SourceDead(usize),
    /// Rows that left a source.
    SourceOut(usize),
    /// Rows that left an operator.
    OperatorOut(usize),
    /// Rows that entered a leg.
    LegIn(usize),
    /// Rows of an account, by its index, by fate.
    Account(usize, Fate),
    /// Rows that an operator, by its index, has dropped as duplicates although their content is another one.
    Conflict(usize),
    /// Dead letters that were sent by whoever decided about a record or row, and that are safely written. A
    /// row that is taken back may be dead without a letter, so these are counted apart from the fates.
    LettersOut,
    LettersWritten,
    /// Bytes of memory of the state that an account leads to, by its index.
    StateBytes(usize),
}

/// Where each count stands in the array of counts; the same on all workers.
#[derive(Debug)]
pub struct Layout {
    sources: Vec<String>,
    /// Index of a source or operator for each leg.
    legs: Vec<Upstream>,
    accounts: Vec<Account>,
    operators: usize,
}

#[derive(Debug)]
struct Account {
    /// `telemetry_raw->history`, or `a+b->history` where several legs end in one place.
    name: String,
    to: Downstream,
    legs: Vec<usize>,
    /// The operator that it leads to, if that drops duplicates.
    deduplicates: Option<usize>,
}

impl Layout {
    /// The counts of a plan.
    pub fn new(plan: &Plan) -> Self {
        let mut accounts: Vec<Account> = Vec::new();
        for (index, leg) in plan.legs.iter().enumerate() {
            match accounts.iter_mut().find(|account| account.to == leg.to) {
                Some(account) => account.legs.push(index),
                None => {
                    let deduplicates = deduplicates(plan, leg.to);
                    accounts.push(Account {
                        name: String::new(),
                        to: leg.to,
                        legs: vec![index],
                        deduplicates,
                    });
                }
            }
        }
        for account in &mut accounts {
            let names = account.legs.iter().map(|leg| plan.legs[*leg].name.as_str());
            account.name = account_name(names);
        }
        Layout {
            sources: plan.sources.iter().map(|source| source.name.clone()).collect(),
            legs: plan.legs.iter().map(|leg| leg.from).collect(),
            accounts,
            operators: plan.operators.len(),
        }
    }

    /// The account of the legs that end in `to`.
    pub fn account(&self, to: Downstream) -> usize {
        let found = self.accounts.iter().position(|account| account.to == to);
        found.expect("every downstream of a plan has a leg")
    }

    /// Number of accounts.
    pub fn accounts(&self) -> usize {
        self.accounts.len()
    }

    /// How an account is named in reports.
    pub fn account_name(&self, account: usize) -> &str {
        &self.accounts[account].name
    }

    fn size(&self) -> usize {
        self.state_bytes() + self.accounts.len()
    }

    fn state_bytes(&self) -> usize {
        self.letters() + 2
    }

    fn letters(&self) -> usize {
        self.conflicts() + self.operators
    }

    fn conflicts(&self) -> usize {
        3 * self.sources.len() + self.operators + self.legs.len() + FATES.len() * self.accounts.len()
    }

    fn place(&self, count: Count) -> usize {
        let (sources, legs) = (self.sources.len(), self.legs.len());
        match count {
            Count::Read(source) => source,
            Count::SourceDead(source) => sources + source,
            Count::SourceOut(source) => 2 * sources + source,
            Count::OperatorOut(operator) => 3 * sources + operator,
            Count::LegIn(leg) => 3 * sources + self.operators + leg,
            Count::Account(account, fate) => {
                3 * sources + self.operators + legs + FATES.len() * account + fate as usize
            }
            Count::Conflict(operator) => self.conflicts() + operator,
            Count::LettersOut => self.letters(),
            Count::LettersWritten => self.letters() + 1,
            Count::StateBytes(account) => self.state_bytes() + account,
        }
    }
}

/// The operator that a leg leads to, if it drops duplicates.
fn deduplicates(plan: &Plan, to: Downstream) -> Option<usize> {
    let Downstream::Operator(index) = to else { return None };
    matches!(plan.operators[index], Operator::Deduplication(_)).then_some(index)
}

/// `a->x` and `b->x` as `a+b->x`; branches of one upstream (`a->x#2`) once.
fn account_name<'a>(legs: impl Iterator<Item = &'a str>) -> String {
    let (mut from, mut to) = (Vec::new(), "");
    for leg in legs {
        let (upstream, downstream) = leg.split_once("->").unwrap_or((leg, ""));
        if !from.contains(&upstream) {
            from.push(upstream);
        }
        to = downstream.split('#').next().unwrap_or_default();
    }
    format!("{}->{to}", from.join("+"))
}

/// The counts of one worker, shared by its operators.
#[derive(Clone, Debug)]
pub struct Ledger {
    layout: std::sync::Arc<Layout>,
    counts: Rc<RefCell<Counts>>,
}

#[derive(Debug)]
struct Counts {
    open: BTreeMap<Epoch, Vec<i64>>,
    settled: Vec<i64>,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(layout: std::sync::Arc<Layout>) -> Self {
        let counts = Counts { open: BTreeMap::new(), settled: vec![0; layout.size()] };
        Ledger { layout, counts: Rc::new(RefCell::new(counts)) }
    }

    /// What is counted.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Counts `rows` (a sum of diffs) in an epoch.
    pub fn add(&self, epoch: Epoch, count: Count, rows: i64) {
        if rows != 0 {
            let mut counts = self.counts.borrow_mut();
            let size = self.layout.size();
            counts.open.entry(epoch).or_insert_with(|| vec![0; size])[self.layout.place(count)] += rows;
        }
    }

    /// Settles all epochs before `frontier` (`None`: all) and gives the counts of this worker so far.
    pub fn settle(&self, frontier: Option<Epoch>) -> Vec<i64> {
        let mut counts = self.counts.borrow_mut();
        while let Some(entry) = counts.open.first_entry() {
            if frontier.is_some_and(|frontier| *entry.key() >= frontier) {
                break;
            }
            let epoch = entry.remove();
            counts.settled.iter_mut().zip(epoch).for_each(|(total, rows)| *total += rows);
        }
        counts.settled.clone()
    }
}

/// The counts of all workers, settled.
#[derive(Debug)]
pub struct LedgerReport<'a> {
    layout: &'a Layout,
    counts: Vec<i64>,
}

impl<'a> LedgerReport<'a> {
    /// Adds up the counts that [`Ledger::settle`] gave on each worker.
    pub fn new<'c>(layout: &'a Layout, workers: impl IntoIterator<Item = &'c Vec<i64>>) -> Self {
        let mut counts = vec![0; layout.size()];
        for worker in workers {
            counts.iter_mut().zip(worker).for_each(|(total, rows)| *total += rows);
        }
        LedgerReport { layout, counts }
    }

    fn get(&self, count: Count) -> i64 {
        self.counts[self.layout.place(count)]
    }

    /// Rows that entered an account: a record that its source could not use counts for each of them.
    pub fn entered(&self, account: usize) -> i64 {
        let legs = &self.layout.accounts[account].legs;
        legs.iter().map(|leg| self.get(Count::LegIn(*leg)) + self.source_dead(*leg)).sum()
    }

    fn source_dead(&self, leg: usize) -> i64 {
        match self.layout.legs[leg] {
            Upstream::Source(source) => self.get(Count::SourceDead(source)),
            Upstream::Operator(_) | Upstream::Late(_) => 0,
        }
    }

    /// Rows of an account by fate.
    pub fn fate(&self, account: usize, fate: Fate) -> i64 {
        let legs = &self.layout.accounts[account].legs;
        let before: i64 = legs.iter().map(|leg| self.source_dead(*leg)).sum();
        self.get(Count::Account(account, fate)) + if fate == Fate::Dead { before } else { 0 }
    }

    /// How many of the duplicates of an account had other content than the row that stayed; `None` where nobody
    /// looks.
    pub fn conflicts(&self, account: usize) -> Option<i64> {
        self.layout.accounts[account].deduplicates.map(|operator| self.get(Count::Conflict(operator)))
    }

    /// Records read by source `source`.
    pub fn read(&self, source: usize) -> i64 {
        self.get(Count::Read(source))
    }

    /// Records of source `source` that became dead letters before they reached a leg.
    pub fn read_dead(&self, source: usize) -> i64 {
        self.get(Count::SourceDead(source))
    }

    /// Bytes of memory of the state of an operator or arrangement.
    pub fn state_bytes(&self, of: Downstream) -> i64 {
        self.get(Count::StateBytes(self.layout.account(of)))
    }

    /// Rows that were meant for `to`, by fate.
    pub fn count(&self, to: Downstream, fate: Fate) -> i64 {
        self.fate(self.layout.account(to), fate)
    }

    /// Sum of the absolute residuals of all sources, edges and accounts. Zero, or rows were lost or doubled.
    pub fn unaccounted(&self) -> i64 {
        let sources = (0..self.layout.sources.len()).map(|source| {
            let (dead, out) = (Count::SourceDead(source), Count::SourceOut(source));
            (self.get(Count::Read(source)) - self.get(dead) - self.get(out)).abs()
        });
        let edges = self.layout.legs.iter().enumerate().map(|(leg, from)| {
            let out = match from {
                Upstream::Source(source) => Count::SourceOut(*source),
                Upstream::Operator(operator) => Count::OperatorOut(*operator),
                Upstream::Late(operator) => {
                    Count::Account(self.layout.account(Downstream::Operator(*operator)), Fate::Late)
                }
            };
            (self.get(out) - self.get(Count::LegIn(leg))).abs()
        });
        let accounts = (0..self.layout.accounts.len()).map(|account| {
            let fates: i64 = FATES.iter().map(|(fate, _)| self.fate(account, *fate)).sum();
            (self.entered(account) - fates).abs()
        });
        let letters = (self.get(Count::LettersOut) - self.get(Count::LettersWritten)).abs();
        sources.chain(edges).chain(accounts).sum::<i64>() + letters
    }

    /// The report for machines, see the last line of a bounded run.
    pub fn to_json(&self) -> Value {
        let sources = self.layout.sources.iter().enumerate();
        let read: Map<_, _> = sources.map(|(index, name)| (name.clone(), json!(self.read(index)))).collect();
        let legs = self.layout.accounts.iter().enumerate().map(|(index, account)| {
            let mut leg = Map::new();
            leg.insert("leg".into(), json!(account.name));
            leg.insert("in".into(), json!(self.entered(index)));
            for (fate, name) in FATES {
                leg.insert(name.into(), json!(self.fate(index, fate)));
            }
            if let Some(conflicts) = self.conflicts(index) {
                leg.insert("conflicts".into(), json!(conflicts));
            }
            Value::Object(leg)
        });
        let legs: Vec<Value> = legs.collect();
        json!({ "read": read, "legs": legs, "unaccounted": self.unaccounted() })
    }
}

#[cfg(test)]
mod tests;
