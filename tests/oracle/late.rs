//! Dataflows of whose rows some are late. Which ones that are depends on the epochs, so these have a known number of
//! records of each partition, and `oracle_lateness.py` works out by the definitions which rows are late to what: all
//! others are where they should be, and these in `late(view)`.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::bounded::{Mode, run_with_ledger, shipped};
use crate::generated::{DATAFLOWS, covers_every_feature, generate, late, texts};
use crate::python;
use crate::seed::seed;

const SCRIPT: &str = "oracle_late.py";
/// One to six of [`generated!`], of [`DATAFLOWS`] dataflows with ten queries each.
const TESTS: usize = 6;

/// How dataflow `index` of all is run.
fn mode(index: usize) -> (Mode, usize, &'static str) {
    let (mode, records) = [
        (Mode::of(2, 1), 7),
        (Mode::of(1, 1), 1),
        (Mode::of(4, 1), 3),
        (Mode::of(1, 2), 11),
        (Mode::of(1, 1), 2 + index % 5),
        (Mode::of(2, 2), 25),
    ][index % 6];
    (mode, records, if (index / 6).is_multiple_of(2) { "input" } else { "shuffled" })
}

/// A run in epochs of so many records of each partition.
struct Run<'a> {
    dataflow: &'a Path,
    input: &'a Path,
    records: usize,
    output: TempDir,
    late: u64,
}

impl<'a> Run<'a> {
    fn of(dataflow: &'a Path, input: &'a Path, mode: Mode, records: usize) -> Run<'a> {
        let (output, ledger) =
            run_with_ledger(dataflow, input, Mode { epoch_records: Some(records), ..mode });
        Run { dataflow, input, records, output, late: late(&ledger) }
    }
}

/// Whether DuckDB agrees with the runs, and what it says.
fn compared(runs: &[Run]) -> (bool, String) {
    python("oracle.py", |command| {
        for run in runs {
            command.args(["--epoch-records", &run.records.to_string()]);
            command.args([run.dataflow, run.input, run.output.path()]);
        }
    })
}

macro_rules! generated {
    ($($name:ident $test:literal)*) => {
        const GENERATED: &[usize] = &[$($test),*];

        $(#[test]
        fn $name() {
            agree_with_duckdb($test);
        })*
    };
}

generated!(first 0 second 1 third 2 fourth 3 fifth 4 sixth 5);

fn agree_with_duckdb(test: usize) {
    let seed = format!("{}.{test}", seed("ORACLE_SEED"));
    println!("{SCRIPT}: seed {seed}");
    let folder = generate(SCRIPT, &seed, DATAFLOWS);
    let paths: Vec<_> = (0..DATAFLOWS)
        .map(|index| {
            let (mode, records, input) = mode(test * DATAFLOWS + index);
            println!("dataflow {index}: {mode:?}, {records} records, {input}");
            let dataflow = folder.path().join(index.to_string());
            (dataflow.join(input), dataflow, mode, records)
        })
        .collect();
    let runs: Vec<_> = paths
        .iter()
        .map(|(input, dataflow, mode, records)| Run::of(dataflow, input, *mode, *records))
        .collect();
    println!("late: {:?}", runs.iter().map(|run| run.late).collect::<Vec<_>>());
    let (agree, report) = compared(&runs);
    assert!(
        agree,
        "{SCRIPT} of seed {seed} (ORACLE_SEED is what stands before the dot)\n{report}\n{}",
        texts(&folder)
    );
}

#[test]
fn queries_with_late_rows_cover_every_feature() {
    assert_eq!(GENERATED.len(), TESTS);
    covers_every_feature(SCRIPT, TESTS);
}

/// Records of a partition that an epoch has.
const CUTS: &[usize] = &[1, 2, 5, 13, 40];

/// A shipped dataflow with late records.
fn agrees_however_it_is_cut(name: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(shipped(name).join("dataflow.sql")).expect("a dataflow");
    fs::write(folder.path().join("dataflow.sql"), not_aligned(&text)).expect("a file");
    let input = shipped(name).join("input");
    let run = |(index, records): (usize, &usize)| {
        let mode = [Mode::of(2, 1), Mode::of(1, 1), Mode::of(1, 2)][index % 3];
        Run::of(folder.path(), &input, mode, *records)
    };
    let runs: Vec<_> = CUTS.iter().enumerate().map(run).collect();
    let late: Vec<_> = runs.iter().map(|run| run.late).collect();
    println!("{name}: {late:?} late in epochs of {CUTS:?} records");
    assert!(late[0] > 0, "{name} has no late records any more");
    let (agree, report) = compared(&runs);
    assert!(agree, "{name}\n{report}");
}

macro_rules! cut {
    ($($name:ident)*) => {
        mod cut {
            $(#[test]
            fn $name() {
                super::agrees_however_it_is_cut(stringify!($name));
            })*
        }
    };
}

cut!(duration_p95 iot_windows sensor_quality service_metrics);

/// The dataflow with sources whose epochs have just as many records of each partition as the run says.
fn not_aligned(text: &str) -> String {
    let statements = text.split_inclusive(";\n").map(|statement| {
        let source = statement.contains("CREATE SOURCE") && statement.contains("WATERMARK");
        let option = "WITH (scan.watermark.alignment.max-drift = 'unbounded', ";
        if source { statement.replacen("WITH (", option, 1) } else { statement.to_owned() }
    });
    statements.collect()
}
