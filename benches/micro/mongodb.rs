//! Rows as the commands that write them to MongoDB: documents as they were received, and guarded upserts.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use tidemill::plan::{Operator, Plan};
use tidemill::record::PartitionNames;
use tidemill::transform::aggregate::KeyedState;
use tidemill::write::{Changes, Op, mongodb_commands};

use crate::common::{RECORDS, VEHICLES, batch, decode, epoch, events, partition, plan, through};

/// All events as they came.
fn history(plan: &Plan) -> Changes {
    let whole = batch(decode(plan, &events(RECORDS, 10_000)));
    let leg = plan.legs.iter().find(|leg| leg.name.ends_with("->history")).expect("a leg to the sink");
    changes(through(leg, whole))
}

/// The first states of vehicles.
fn states(plan: &Plan) -> Changes {
    let whole = batch(decode(plan, &events(4 * RECORDS, RECORDS as u64)));
    let leg = plan.legs.iter().find(|leg| leg.name.ends_with("->latest")).expect("a leg to the view");
    let Operator::Aggregation(aggregation) = &plan.operators[0] else { panic!("a GROUP BY") };
    let mut state = KeyedState::new(aggregation, 0, 1).expect("a good plan");
    changes(epoch(&mut state, 1, &through(leg, whole)).remove(0))
}

fn changes(batch: tidemill::batch::Batch) -> Changes {
    let origins = batch.origin.as_ref().map(|origin| (0..batch.len()).map(|row| origin.row(row)).collect());
    Changes { ops: vec![Op::Insert; batch.len()], rows: batch.rows, origins, wall_ms: 0 }
}

pub fn all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("MongoDB commands");
    for (name, sink, made) in
        [("history", "history", history as fn(&Plan) -> Changes), ("upsert", "states", states)]
    {
        group.throughput(Throughput::Elements(RECORDS as u64));
        group.bench_function(name, |bencher| {
            let plan = plan(VEHICLES);
            let sink = plan.sinks.iter().find(|other| other.name == sink).expect("a sink of the dataflow");
            let partitions = Arc::new(PartitionNames::default());
            partitions.add(0, &partition());
            let changes = made(&plan);
            let commands = || mongodb_commands(sink, 1, &changes, &partitions).expect("good rows");
            bencher.iter(|| black_box(commands()));
        });
    }
    group.finish();
}
