//! Options of a simulator.

use super::reader::Reader;
use super::values;
use crate::compile::diagnostic::Diagnostic;
use crate::plan::{Shape, Simulator};

pub(super) const OPTIONS: &[&str] = &[
    "shape",
    "rate",
    "seed",
    "count",
    "keys",
    "disorder",
    "late_by",
    "duplicates",
    "conflicts",
    "broken",
    "types",
];

/// Options of events that have an id and come from several types of devices.
const OF_SENSORS: [&str; 2] = ["conflicts", "types"];

/// What is simulated. Of an option that is wrong, the default counts; the mistake is reported.
pub(super) fn read(reader: &mut Reader<'_>) -> Simulator {
    let shapes = [
        ("vehicles", Shape::Vehicles),
        ("sensors", Shape::Sensors),
        ("metrics", Shape::Metrics),
        ("logs", Shape::Logs),
    ];
    let shape = reader.choice("shape", &shapes, &[]).unwrap_or_default();
    if shape != Shape::Sensors {
        for entry in OF_SENSORS.map(|name| reader.entry(name)).into_iter().flatten() {
            let error = Diagnostic::new(entry.key.span, format!("`{}` is of sensors only", entry.key.value));
            reader.report(error.hint("remove it, or set shape = 'sensors'"));
        }
    }
    let usual = Simulator::of(shape);
    let mut number = |key: &str, default: u64, from: i64, to: i64| {
        let read = |value: &_| values::integer(value, from..=to).map(i64::unsigned_abs);
        reader.parsed(key, default, read)
    };
    let (rate, seed) = (number("rate", usual.rate, 0, i64::MAX), number("seed", usual.seed, 0, i64::MAX));
    let keys = number("keys", usual.keys, 1, i64::MAX);
    let types = number("types", usual.types, 1, Shape::TYPES_MAX as i64);
    let count = reader.entry("count").is_some().then(|| {
        reader.parsed("count", 0, |value| values::integer(value, 0..=i64::MAX).map(i64::unsigned_abs))
    });
    Simulator {
        shape,
        rate,
        seed,
        count,
        keys,
        disorder: reader.parsed("disorder", usual.disorder, values::share),
        late_by: reader.parsed("late_by", usual.late_by, values::duration),
        duplicates: reader.parsed("duplicates", usual.duplicates, values::share),
        conflicts: reader.parsed("conflicts", usual.conflicts, values::share),
        broken: reader.parsed("broken", usual.broken, values::share),
        types,
    }
}
