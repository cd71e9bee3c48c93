use std::fs::OpenOptions;
use std::io::Write;

use super::*;

type Kept = (u64, Option<Vec<u8>>, Option<Vec<u8>>, usize, Option<i64>);

fn read_all(reader: &mut LogReader) -> Vec<Kept> {
    let mut kept = Vec::new();
    let mut take = |r: &crate::record::Record<'_>| {
        kept.push((
            r.offset,
            r.key.map(<[u8]>::to_vec),
            r.payload.map(<[u8]>::to_vec),
            r.headers.len(),
            r.timestamp_ms,
        ));
    };
    while reader.read(3, &mut take).expect("readable") > 0 {}
    kept
}

fn append(writer: &mut TopicWriter, value: &[u8]) {
    writer.append(0, None, Some(value), &[], 7).expect("appended");
    writer.flush().expect("flushed");
}

fn values(reader: &mut LogReader) -> Vec<String> {
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.expect("a value")).expect("text");
    read_all(reader).into_iter().map(|kept| text(kept.2)).collect()
}

#[test]
fn records_come_back_as_they_were_and_a_reader_follows() {
    let folder = tempfile::tempdir().expect("a folder");
    let topic = folder.path().join("t");
    let mut early = LogReader::open(partition_path(&topic, 0));
    assert_eq!(early.read(9, &mut |_| ()).expect("not there yet"), 0);

    let mut writer = TopicWriter::open(&topic, 2).expect("opened");
    let headers: &Headers<'_> = &[("a", Some(b"1")), ("b", None)];
    writer.append(0, Some(b"k"), Some(b"v"), headers, -5).expect("appended");
    writer.append(0, Some(b""), None, &[], 0).expect("appended");
    writer.append(1, None, Some(b"other"), &[], 1).expect("appended");
    assert!(writer.append(2, None, None, &[], 1).is_err());
    assert_eq!(read_all(&mut early), [], "nothing is visible before the flush");
    writer.flush().expect("flushed");
    let first = (0, Some(b"k".to_vec()), Some(b"v".to_vec()), 2, Some(-5));
    assert_eq!(read_all(&mut early), [first, (1, Some(vec![]), None, 0, Some(0))]);

    let large = vec![b'x'; 700_000];
    append(&mut writer, &large);
    append(&mut writer, b"end");
    let kept = read_all(&mut early);
    assert_eq!(kept.iter().map(|kept| kept.0).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(kept[0].2.as_deref(), Some(&large[..]));
    assert_eq!(early.next_offset(), 4);
    assert_eq!(partitions(&topic).expect("listed"), [0, 1]);
    assert_eq!(TopicWriter::open(&topic, 1).expect("opened").partitions(), 2);
}

#[test]
fn a_record_cut_at_any_byte_is_waited_for_and_replaced_by_the_next_writer() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = partition_path(folder.path(), 0);
    append(&mut TopicWriter::open(folder.path(), 1).expect("opened"), b"first");
    let whole = std::fs::read(&path).expect("the file");
    append(&mut TopicWriter::open(folder.path(), 1).expect("opened"), b"second");
    let both = std::fs::read(&path).expect("the file");
    for cut in 0..both.len() {
        std::fs::write(&path, &both[..cut]).expect("cut");
        let mut reader = LogReader::open(path.clone());
        let expected: &[&str] = if cut < whole.len() { &[] } else { &["first"] };
        assert_eq!(values(&mut reader), expected, "cut at {cut}");
        append(&mut TopicWriter::open(folder.path(), 1).expect("opened"), b"third");
        assert_eq!(values(&mut reader), ["third"], "the same reader, cut at {cut}");
    }
}

#[test]
fn zeros_of_a_power_cut_are_cut_off_and_damage_inside_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = partition_path(folder.path(), 0);
    let mut writer = TopicWriter::open(folder.path(), 1).expect("opened");
    append(&mut writer, b"first");
    let mut file = OpenOptions::new().append(true).open(&path).expect("opened");
    file.write_all(&[0; 100]).expect("written");
    assert_eq!(values(&mut LogReader::open(path.clone())), ["first"]);
    append(&mut TopicWriter::open(folder.path(), 1).expect("opened"), b"second");
    assert_eq!(values(&mut LogReader::open(path.clone())), ["first", "second"]);

    let mut bytes = std::fs::read(&path).expect("the file");
    bytes[MAGIC.len() + FRAME_HEAD + 1] ^= 1;
    std::fs::write(&path, &bytes).expect("damaged");
    let error = LogReader::open(path.clone()).read(9, &mut |_| ()).expect_err("damaged");
    assert!(error.to_string().contains("damaged at byte 8, offset 0"), "{error}");
    assert!(TopicWriter::open(folder.path(), 1).is_err(), "a writer cuts nothing off there");
    std::fs::write(&path, b"something else").expect("written");
    assert!(LogReader::open(path).read(9, &mut |_| ()).is_err());
}

#[test]
fn two_writers_share_a_partition() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    std::thread::scope(|scope| {
        for name in ["a", "b"] {
            scope.spawn(move || {
                let mut writer = TopicWriter::open(path, 1).expect("opened");
                (0..200).for_each(|n| append(&mut writer, format!("{name}{n}").as_bytes()));
            });
        }
    });
    let all = values(&mut LogReader::open(partition_path(folder.path(), 0)));
    for name in ["a", "b"] {
        let own: Vec<_> = all.iter().filter(|value| value.starts_with(name)).cloned().collect();
        assert_eq!(own, (0..200).map(|n| format!("{name}{n}")).collect::<Vec<_>>());
    }
}

#[test]
fn equal_keys_share_a_partition() {
    assert_eq!(partition_of(b"vehicle", 4), partition_of(b"vehicle", 4));
    assert!((0..100u32).map(|key| partition_of(&key.to_le_bytes(), 4)).any(|partition| partition == 3));
}

#[test]
fn a_topic_is_a_folder_of_the_state_directory_and_of_nothing_else() {
    let state = Path::new("state");
    assert_eq!(topic_directory(state, "a.b_c-1").expect("a name"), state.join("topics/a.b_c-1"));
    for name in ["", ".", "..", "../x", "a/b", "a b", "\u{e9}"] {
        assert!(topic_directory(state, name).is_err(), "{name:?}");
    }
}
