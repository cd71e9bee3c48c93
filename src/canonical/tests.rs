use std::sync::Arc;

use arrow::array::NullArray;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn one(column: ArrayRef) -> (String, u8) {
    let rows = encode(&[column], 1);
    (hex(rows.row(0)), key_group(rows.row(0)))
}

fn text(value: &str) -> ArrayRef {
    Arc::new(StringArray::from(vec![value]))
}

fn double(value: f64) -> ArrayRef {
    Arc::new(Float64Array::from(vec![value]))
}

/// These bytes are stored: a change here breaks every checkpoint and every running cluster.
#[test]
fn vectors() {
    let vectors: Vec<(ArrayRef, &str)> = vec![
        (Arc::new(NullArray::new(1)), "00"),
        (Arc::new(BooleanArray::from(vec![true])), "0101"),
        (Arc::new(BooleanArray::from(vec![None])), "00"),
        (Arc::new(Int32Array::from(vec![-2])), "027ffffffe"),
        (Arc::new(Int64Array::from(vec![0])), "038000000000000000"),
        (Arc::new(Int64Array::from(vec![i64::MIN])), "030000000000000000"),
        (double(1.0), "04bff0000000000000"),
        (double(-1.0), "04400fffffffffffff"),
        (double(-0.0), "048000000000000000"),
        (double(0.0), "048000000000000000"),
        (double(-f64::NAN), "04fff8000000000000"),
        (Arc::new(TimestampNanosecondArray::from(vec![1])), "058000000000000001"),
        (text(""), "0600"),
        (text("vehicle-000001"), "0676656869636c652d30303030303100"),
        (text("a\0b"), "066100ff6200"),
        (text("\u{e9}"), "06c3a900"),
        (Arc::new(Date32Array::from(vec![-1])), "077fffffff"),
        (Arc::new(Date32Array::from(vec![19_782])), "0780004d46"),
        (Arc::new(Date32Array::from(vec![None])), "00"),
    ];
    for (column, expected) in vectors {
        assert_eq!(one(column.clone()).0, expected, "{column:?}");
    }
}

#[test]
fn a_null_is_found_behind_values_of_every_type() {
    let values: [ArrayRef; 7] = [
        Arc::new(BooleanArray::from(vec![true])),
        Arc::new(Int32Array::from(vec![0])),
        Arc::new(Int64Array::from(vec![i64::MIN])),
        double(-1.5),
        Arc::new(TimestampNanosecondArray::from(vec![1])),
        text("a\0b"),
        Arc::new(Date32Array::from(vec![19_782])),
    ];
    assert!(values.iter().all(|value| supports(value.data_type())));
    for before in &values {
        for behind in &values {
            let null = arrow::array::new_null_array(behind.data_type(), 1);
            assert!(!has_null(encode(&[before.clone(), behind.clone()], 1).row(0)), "{before:?} {behind:?}");
            assert!(has_null(encode(&[before.clone(), null.clone()], 1).row(0)), "{before:?} {behind:?}");
            assert!(has_null(encode(&[null, before.clone()], 1).row(0)), "{before:?} {behind:?}");
        }
    }
    assert!(!has_null(&[]));
}

#[test]
fn key_groups_are_pinned() {
    let groups: Vec<u8> =
        ["", "a", "vehicle-000001", "vehicle-000002", "d1"].iter().map(|key| one(text(key)).1).collect();
    assert_eq!(groups, [90, 90, 88, 147, 205]);
    assert_eq!(key_group(&[]), 194);
    assert_eq!(xxh3_64(b"vehicle-000001"), 0x0b2d_71e2_dba6_e515);
    assert_eq!([0, 127, 128, 255].map(|group| worker_of(group, 2)), [0, 0, 1, 1]);
    assert_eq!([0, 85, 86, 171, 255].map(|group| worker_of(group, 3)), [0, 0, 1, 2, 2]);
    assert_eq!(worker_of(255, 1), 0);
}

#[test]
fn texts_cannot_run_into_each_other() {
    let tuples = [["a", "b"], ["ab", ""], ["", "ab"], ["a\0", "b"], ["a", "\0b"], ["a\0\u{6}b", ""]];
    let rows: Vec<Vec<u8>> =
        tuples.iter().map(|[left, right]| encode(&[text(left), text(right)], 1).row(0).to_vec()).collect();
    for (i, row) in rows.iter().enumerate() {
        assert!(!rows[..i].contains(row), "{:?}", tuples[i]);
    }
}

const TEXTS: [Option<&str>; 7] = [None, Some(""), Some("a"), Some("a\0"), Some("ab"), Some("\0"), Some("é")];
const DOUBLES: [Option<f64>; 8] = [
    None,
    Some(f64::NEG_INFINITY),
    Some(-1.5),
    Some(0.0),
    Some(f64::MIN_POSITIVE),
    Some(7e300),
    Some(f64::INFINITY),
    Some(f64::NAN),
];

fn random_columns(random: &mut Pcg64Mcg, rows: usize) -> Vec<ArrayRef> {
    let mut some = |limit: usize| (0..rows).map(|_| random.random_range(0..limit)).collect::<Vec<_>>();
    let texts: StringArray = some(TEXTS.len()).into_iter().map(|i| TEXTS[i]).collect();
    let doubles: Float64Array = some(DOUBLES.len()).into_iter().map(|i| DOUBLES[i]).collect();
    let bools: BooleanArray = some(3).into_iter().map(|i| [None, Some(false), Some(true)][i]).collect();
    let ints: Int32Array = some(3).into_iter().map(|i| [None, Some(i32::MIN), Some(9)][i]).collect();
    let longs: Int64Array = some(4).into_iter().map(|i| (i > 0).then_some(i as i64 - 2)).collect();
    let dates: Date32Array = some(3).into_iter().map(|i| [None, Some(i32::MIN), Some(-1)][i]).collect();
    let times: TimestampNanosecondArray = some(3).into_iter().map(|i| Some(i as i64 - 1)).collect();
    vec![
        Arc::new(texts),
        Arc::new(doubles),
        Arc::new(bools),
        Arc::new(ints),
        Arc::new(longs),
        Arc::new(times),
        Arc::new(dates),
    ]
}

#[test]
fn rows_come_back_and_compare_as_their_bytes() {
    for seed in 0..50 {
        let mut random = Pcg64Mcg::seed_from_u64(seed);
        let columns = random_columns(&mut random, 40);
        let rows = encode(&columns, 40);
        let types: Vec<DataType> = columns.iter().map(|column| column.data_type().clone()).collect();
        let back = decode(rows.iter(), &types).expect("decodes");
        assert_eq!(back, columns, "seed {seed}");
        let lexical = arrow::compute::lexsort_to_indices(
            &columns
                .iter()
                .map(|values| arrow::compute::SortColumn { values: Arc::clone(values), options: None })
                .collect::<Vec<_>>(),
            None,
        )
        .expect("sortable");
        for pair in lexical.values().windows(2) {
            assert!(rows.row(pair[0] as usize) <= rows.row(pair[1] as usize), "seed {seed}, rows {pair:?}");
        }
    }
}

#[test]
fn slices_are_encoded_as_what_they_show() {
    let whole: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None, Some("y")]));
    let rows = encode(&[whole.slice(1, 2)], 2);
    assert_eq!((rows.row(0), rows.row(1)), (&[0][..], &[6, b'y', 0][..]));
}

#[test]
fn broken_bytes_are_refused() {
    for bytes in [&[][..], &[3, 1], &[6, b'a'], &[6, 0, 0], &[9], &[6, 0xc3, 0]] {
        assert!(decode(std::iter::once(bytes), &[DataType::Utf8]).is_err(), "{bytes:?}");
    }
    assert!(decode(std::iter::empty(), &[DataType::Date64]).is_err());
}
