//! Read first: how a plan becomes a timely dataflow. This is the only file that names all stages.
//!
//! ```text
//!  ticker --tick--> sources --rows--> legs --> exchange --> operators --> legs --> exchange --> sinks
//!    ^                 |                                                                         |
//!    |              bindings --> binder --closes--> operators                               confirmed
//!    |                              \----durable--> sinks, dead letters                          |
//!    '--------------------------- flow control --------------------------------------------------'
//! ```
//!
//! The graph is the same on all workers. What stands at one place, stands there by exchange: the ticker, the
//! binder and the dead letters on worker 0, a key group on its worker, a sink shard on its worker.

use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_physical_expr::expressions::Column;
use timely::dataflow::operators::{Concatenate, Probe};
use timely::dataflow::{Scope, StreamVec};
use timely::scheduling::SyncActivator;

use crate::alarm::Woken;
use crate::batch::Batch;
use crate::control::settlement::{self, Settled};
use crate::dead_letter::{AddressedLetter, DeadLetter};
use crate::error::{Error, Result};
use crate::ingest::binder::{self, Journal};
use crate::ingest::driver::{SourceParts, cut_on_ticks};
use crate::ingest::ticker::{self, Gauge, Pace, TickerControl};
use crate::ledger::Ledger;
use crate::plan::{Aggregation, Downstream, Expr, Leg, Operator, Plan, Upstream, Window, Windowing};
use crate::route::exchange::{Destination, exchange};
use crate::route::shard::{split_by_shard, worker_of_shard};
use crate::route::split::split;
use crate::time::{Epoch, EpochClose};
use crate::transform;
use crate::transform::aggregate::KeyedState;
use crate::transform::aggregate::partial::{PARTIALS, Partials, ROWS};
use crate::transform::arrange::{self, Kept};
use crate::transform::dedup::Deduplicator;
use crate::transform::eval::Evaluation;
use crate::transform::harness::add_up::add_up;
use crate::transform::harness::{self, Outputs, StatefulParts};
use crate::transform::interval_join::IntervalJoin;
use crate::transform::join::{self, JoinParts, Matcher};
use crate::transform::lag::LagState;
use crate::transform::rank;
use crate::transform::retention::RetainedRows;
use crate::transform::session::SessionState;
use crate::transform::steps::Steps;
use crate::transform::table::TableRows;
use crate::transform::temporal::TemporalJoin;
use crate::transform::view::ViewReader;
use crate::transform::window::WindowedState;
use crate::write::driver::{self as sinks, SinkParts, Start};
use crate::write::letters::{self, LetterCounts, Records};
use crate::write::outbox::Outbox;

/// What a worker brings along; prepared by [`crate::worker`].
pub struct Parts {
    pub plan: Arc<Plan>,
    pub pace: Pace,
    pub gauge: Rc<Gauge>,
    pub control: Rc<TickerControl>,
    pub journal: Box<dyn Journal>,
    pub ledger: Ledger,
    /// One per source of the plan.
    pub sources: Vec<SourceParts>,
    /// One per sink of the plan: starts the shards of this worker.
    pub sinks: Vec<(Start, Woken)>,
    pub records: Records,
    /// Starts the dead letters' outbox, on worker 0.
    pub letters: StartLetters,
    /// Counts them by reason.
    pub letter_counts: Arc<LetterCounts>,
    /// From how many rows per group of a batch on these are added up before they are sent; 0: never.
    pub rows_per_partial: usize,
    /// Whether anybody can look up rows of views here.
    pub serves: bool,
    /// Ends the process with a message.
    pub fail: fn(&Error) -> !,
}

/// Starts the dead letters' outbox when its operator is built, so that it can wake it.
pub type StartLetters = Box<dyn FnOnce(SyncActivator) -> Option<Outbox<Vec<AddressedLetter>>>>;

/// What a worker holds in its hands while the dataflow runs.
pub struct Running {
    pub views: Vec<ViewReader>,
    pub settled: Settled,
}

/// Builds the dataflow of a plan.
pub fn build(scope: Scope<'_, Epoch>, parts: Parts) -> Result<Running> {
    let Parts { plan, pace, gauge, control, journal, ledger, sources, records, fail, .. } = parts;
    let (starts, woken): (Vec<_>, Vec<_>) = parts.sinks.into_iter().unzip();

    let epoch_interval = pace.interval;
    let (ready, shards) = sinks::open(scope, starts, control.stop.clone(), fail);
    let ticks = ticker::ticker(scope, ready, pace, gauge.clone(), control.clone());

    let growing = sources.iter().map(|source| source.growing).collect();
    let alignments = sources.iter().map(SourceParts::alignment).collect();
    let cuts = sources.into_iter().map(|source| cut_on_ticks(ticks.clone(), source, fail));
    let cuts: Vec<_> = cuts.collect();
    let reports = scope.concatenate(cuts.iter().map(|cut| cut.reports.clone()));
    let bound = binder::binder(ticks, reports, (growing, alignments), control, journal);
    let durable = bound.durable.probe_with(&gauge.durable);

    let mut network = Network {
        plan: &plan,
        ledger: &ledger,
        fail,
        rows_per_partial: parts.rows_per_partial,
        sources: cuts.iter().map(|cut| cut.rows.clone()).collect(),
        operators: Vec::new(),
        arrangements: plan.arrangements.iter().map(|_| None).collect(),
        counted: Vec::new(),
        letters: cuts.iter().map(|cut| cut.letters.clone()).collect(),
        late: Vec::new(),
    };

    for (index, operator) in plan.operators.iter().enumerate() {
        let out = network.operator(scope, index, operator, bound.closes.clone())?;
        network.letters.push(out.letters);
        network.operators.push(out.rows);
        network.late.push(out.late);
    }

    let mut views = Vec::new();
    for view in &plan.views {
        views.push(ViewReader::new(view, network.arrangement(scope, view.arrangement, parts.serves)?)?);
    }

    for ((index, sink), (shards, woken)) in plan.sinks.iter().enumerate().zip(shards.into_iter().zip(woken)) {
        let to = Downstream::Sink(index);
        let (key, count, peers) = (&sink.key, sink.shards, scope.peers());
        let rows = network.arrivals(scope, to, |rows, leg| {
            send(rows, leg, by_shard(key.clone(), count, peers, fail), fail)
        });
        let rows = rows.probe_with(&gauge.computed);
        let account = ledger.layout().account(to);
        let parts = SinkParts { sink: sink.clone(), account, ledger: ledger.clone(), shards, woken };
        network.letters.push(sinks::sink(rows, durable.clone(), parts, fail));
    }

    let all_letters = scope.concatenate(std::mem::take(&mut network.letters));
    let addressed = letters::address(all_letters, bound.closes, records);
    let confirmed = letters::write(addressed, durable, (parts.letter_counts, ledger.clone()), parts.letters)
        .probe_with(&gauge.confirmed);
    let counted = network.counted.into_iter().map(|counted| counted.probe_with(&gauge.computed));
    let counted = counted.chain([confirmed]).collect::<Vec<_>>();
    let settled = settlement::settle(scope.concatenate(counted), ledger.clone(), epoch_interval);
    Ok(Running { views, settled })
}

type Split = Box<dyn FnMut(Batch) -> Vec<(Destination, Batch)>>;
type Arrivals<'s> = StreamVec<'s, Epoch, (u16, Batch)>;

/// The part of the dataflow that is built so far.
struct Network<'s, 'p> {
    plan: &'p Plan,
    ledger: &'p Ledger,
    fail: fn(&Error) -> !,
    rows_per_partial: usize,
    sources: Vec<StreamVec<'s, Epoch, Batch>>,
    operators: Vec<StreamVec<'s, Epoch, Batch>>,
    /// Built when the first reader asks. Nothing may hold one beyond the wiring: it would keep all its past.
    arrangements: Vec<Option<Kept<'s>>>,
    /// Their frontiers pass an epoch when the arrangements have counted it.
    counted: Vec<StreamVec<'s, Epoch, ()>>,
    letters: Vec<StreamVec<'s, Epoch, DeadLetter>>,
    /// What came too late for each operator.
    late: Vec<Option<StreamVec<'s, Epoch, Batch>>>,
}

impl<'s, 'p> Network<'s, 'p> {
    /// Builds an operator, by its kind, behind the legs that lead to it.
    fn operator(
        &mut self,
        scope: Scope<'s, Epoch>,
        index: usize,
        operator: &Operator,
        closes: StreamVec<'s, Epoch, EpochClose>,
    ) -> Result<Outputs<'s>> {
        if let Operator::Join(plan) = operator {
            let [left, right] = [plan.left, plan.right].map(|side| &self.plan.arrangements[side].schema);
            let matcher = Matcher::new(plan, left, right)?;
            let left = self.arrangement(scope, plan.left, true)?.arranged.clone();
            let right = self.arrangement(scope, plan.right, true)?.arranged.clone();
            let parts = JoinParts { index, matcher, ledger: self.ledger.clone(), fail: self.fail };
            return Ok(join::join([left, right], closes, parts));
        }
        let (worker, workers) = (scope.index(), scope.peers());
        let state = state(operator, worker, workers)?;
        let keys = keys(operator)?;
        let (to, fail) = (Downstream::Operator(index), self.fail);
        let rows = match self.first_phase(index, workers) {
            None => self.arrivals(scope, to, |rows, leg| {
                let (exprs, types) = &keys[usize::from(leg.port)];
                send(rows, leg, by_group(leg.port, exprs, types, workers), fail)
            }),
            Some((plan, rows_per_partial, late_is_read)) => {
                // Those of the second phase, whose state is built above.
                let phase =
                    || Partials::new(plan, rows_per_partial, late_is_read).expect("types that are kept");
                self.arrivals(scope, to, |rows, leg| {
                    let phase = phase();
                    let (partial, rows_only) = (phase.schema(), leg.schema.clone());
                    let schema =
                        move |slot| if slot == PARTIALS { partial.clone() } else { rows_only.clone() };
                    let split = by_group_or_partial(&keys[0], phase.key_columns(), workers);
                    let closes = Some(closes.clone()).filter(|_| phase.judges());
                    let bound = plan.window.as_ref().map(|window| window.bound.clone());
                    exchange(add_up(rows, closes, phase, bound, &leg.name), &leg.name, schema, split, fail)
                })
            }
        };
        Ok(harness::stateful(rows, closes, state, self.stateful(index, operator)))
    }

    /// An arrangement, built behind the legs that lead to it by the first that asks: joins, then views, of which
    /// each process says for itself whether it reads them.
    fn arrangement(&mut self, scope: Scope<'s, Epoch>, index: usize, is_read: bool) -> Result<&Kept<'s>> {
        if self.arrangements[index].is_none() {
            let plan = &self.plan.arrangements[index];
            let (to, fail) = (Downstream::Arrangement(index), self.fail);
            let rows = self.arrivals(scope, to, |rows, leg| {
                send(rows, leg, by_group(leg.port, &plan.key, &plan.key_types, scope.peers()), fail)
            });
            let account = self.ledger.layout().account(to);
            let (kept, letters, counted) =
                arrange::arrange(rows, plan, is_read, (account, self.ledger.clone()), self.fail)?;
            self.letters.push(letters);
            self.counted.push(counted);
            self.arrangements[index] = Some(kept);
        }
        Ok(self.arrangements[index].as_ref().expect("it was built above"))
    }

    /// What the driver of an operator must know.
    fn stateful(&self, index: usize, operator: &Operator) -> StatefulParts {
        let to = Downstream::Operator(index);
        StatefulParts {
            name: operator.name().to_owned(),
            index,
            account: self.ledger.layout().account(to),
            bounds: operator.bounds(),
            ledger: self.ledger.clone(),
        }
    }

    /// The aggregation that an operator is, if its rows are added up before they are sent, from how many of them per
    /// group on, and whether somebody reads those that are late.
    fn first_phase(&self, index: usize, workers: usize) -> Option<(&'p Aggregation, usize, bool)> {
        let plan = self.plan.operators[index].aggregation().filter(|plan| plan.has_two_phases())?;
        let late_is_read = self.plan.legs.iter().any(|leg| leg.from == Upstream::Late(index));
        let moves = workers > 1 && self.rows_per_partial > 0;
        moves.then_some((plan, self.rows_per_partial, late_is_read))
    }

    /// What arrives at `to` by all its legs, on the workers that `route` sends it to.
    fn arrivals(
        &mut self,
        scope: Scope<'s, Epoch>,
        to: Downstream,
        mut route: impl FnMut(StreamVec<'s, Epoch, Batch>, &Leg) -> Arrivals<'s>,
    ) -> Arrivals<'s> {
        let account = self.ledger.layout().account(to);
        let mut arrivals = Vec::new();
        for (index, leg) in self.plan.legs.iter().enumerate().filter(|(_, leg)| leg.to == to) {
            let (rows, key) = match leg.from {
                Upstream::Source(source) => (self.sources[source].clone(), None),
                Upstream::Operator(operator) => {
                    (self.operators[operator].clone(), self.plan.operators[operator].key())
                }
                Upstream::Late(operator) => (
                    self.late[operator].clone().expect("only operators that know of time have late rows"),
                    None,
                ),
            };
            let steps = Steps::new(leg.name.clone(), leg.steps.clone()).with_key(key);
            let out = harness::leg(rows, steps, leg, (index, account), self.ledger.clone());
            self.letters.push(out.letters);
            arrivals.push(route(out.rows, leg));
        }
        scope.concatenate(arrivals)
    }
}

/// What a worker keeps of an operator that legs lead into.
fn state(operator: &Operator, worker: usize, workers: usize) -> Result<Box<dyn transform::Operator>> {
    Ok(match operator {
        Operator::Aggregation(plan) => match &plan.window {
            None => Box::new(KeyedState::new(plan, worker, workers)?),
            Some(Windowing { window: Window::Session { .. }, .. }) => Box::new(SessionState::new(plan)?),
            Some(_) => Box::new(WindowedState::new(plan)?),
        },
        Operator::Deduplication(plan) => Box::new(Deduplicator::new(plan)?),
        Operator::IntervalJoin(plan) => Box::new(IntervalJoin::new(plan)?),
        Operator::Table(plan) => Box::new(TableRows::new(plan)?),
        Operator::Lookup(plan) => Box::new(TemporalJoin::new(plan)?),
        Operator::Lag(plan) => Box::new(LagState::new(plan)?),
        Operator::Retention(plan) => Box::new(RetainedRows::new(plan)?),
        Operator::Rank(plan) => rank::state(plan, worker, workers)?,
        Operator::Join(plan) => return Err(Error::internal(format!("{} reads arrangements", plan.name))),
    })
}

/// By what rows find their worker, with the types of these expressions: for each input of an operator.
fn keys(operator: &Operator) -> Result<Vec<(Vec<Expr>, Vec<DataType>)>> {
    let column = |schema: &SchemaRef, index: usize| {
        let field = schema.field(index);
        let physical = Arc::new(Column::new(field.name(), index));
        let expr = Expr { physical, text: field.name().clone(), uses_now: false };
        (expr, field.data_type().clone())
    };
    Ok(match operator {
        Operator::Aggregation(plan) => {
            let types = plan.schema.fields()[..plan.keys.len()].iter().map(|field| field.data_type().clone());
            vec![(plan.keys.clone(), types.collect())]
        }
        Operator::Deduplication(plan) => {
            vec![plan.keys.iter().map(|key| column(&plan.input, *key)).unzip()]
        }
        Operator::IntervalJoin(plan) => {
            plan.sides.iter().map(|side| (side.keys.clone(), plan.key_types.clone())).collect()
        }
        Operator::Table(plan) => vec![(plan.keys.clone(), plan.key_types())],
        Operator::Lookup(plan) => {
            plan.keys.iter().map(|keys| (keys.clone(), plan.key_types.clone())).collect()
        }
        Operator::Lag(plan) => vec![typed(&plan.keys, &plan.input)?],
        Operator::Rank(plan) => vec![typed(&plan.keys, &plan.input)?],
        Operator::Retention(plan) => vec![typed(&plan.keys, &plan.schema)?],
        Operator::Join(_) => Vec::new(),
    })
}

/// Sends what a leg gives to the workers that `split` names.
fn send<'s>(
    rows: StreamVec<'s, Epoch, Batch>,
    leg: &Leg,
    split: Split,
    fail: fn(&Error) -> !,
) -> Arrivals<'s> {
    let schema = leg.schema.clone();
    exchange(rows, &leg.name, move |_| schema.clone(), split, fail)
}

/// The same for batches of which some are added up already: these have the columns of the key.
fn by_group_or_partial(
    (keys, types): &(Vec<Expr>, Vec<DataType>),
    key_columns: Range<usize>,
    workers: usize,
) -> impl FnMut((u16, Batch)) -> Vec<(Destination, Batch)> + use<> {
    let mut rows = by_group(ROWS, keys, types, workers);
    move |(slot, batch)| {
        if slot != PARTIALS {
            return rows(batch);
        }
        let parts = split(&batch, &batch.rows.columns()[key_columns.clone()], workers).into_iter();
        parts.map(|(worker, part)| (Destination { worker, slot }, part)).collect()
    }
}

/// Expressions over a schema, with their types.
fn typed(keys: &[Expr], input: &SchemaRef) -> Result<(Vec<Expr>, Vec<DataType>)> {
    let types = keys.iter().map(|key| key.physical.data_type(input));
    let types = types.collect::<std::result::Result<Vec<_>, _>>();
    Ok((keys.to_vec(), types.map_err(|error| Error::internal(error.to_string()))?))
}

/// To the worker of the key group; the slot is the input of the operator.
fn by_group(port: u16, keys: &[Expr], types: &[DataType], workers: usize) -> Split {
    let (keys, types) = (keys.to_vec(), types.to_vec());
    Box::new(move |batch| {
        // A row whose key cannot be evaluated counts as NULL here; who keeps the rows makes a letter of it.
        let mut evaluation = Evaluation::new(&batch);
        let columns = keys.iter().zip(&types).map(|(key, to)| evaluation.column(key, to));
        let columns: Vec<_> = columns.collect();
        let parts = split(&batch, &columns, workers).into_iter();
        parts.map(|(worker, part)| (Destination { worker, slot: port }, part)).collect()
    })
}

/// To the worker of the sink's shard; the slot is the shard.
fn by_shard(key: Option<Vec<usize>>, shards: u16, workers: usize, fail: fn(&Error) -> !) -> Split {
    Box::new(move |batch| match split_by_shard(batch, key.as_deref(), shards) {
        Ok(parts) => {
            let destination =
                |shard| Destination { worker: worker_of_shard(shard, shards, workers), slot: shard };
            parts.into_iter().map(|(shard, part)| (destination(shard), part)).collect()
        }
        Err(error) => fail(&error),
    })
}
