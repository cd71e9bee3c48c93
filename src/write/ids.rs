//! What makes two documents the same: `_id` of a row, and its content.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::batch::RowOrigin;
use crate::error::{Error, Result};
use crate::plan;
use crate::record::PartitionNames;

/// Where `_id` comes from.
#[derive(Debug)]
pub(super) enum IdSource {
    /// Columns, in the order of the schema.
    Columns(Vec<usize>),
    Origin(OriginIds),
}

/// Makes ids of origins, which stay the same however a dataflow numbers its sources and topics.
#[derive(Debug)]
pub(super) struct OriginIds {
    partitions: Arc<PartitionNames>,
    /// Hash of the topic's name and number of the partition, as they stand in an id.
    known: HashMap<(u16, u32), [u8; 12]>,
}

impl IdSource {
    /// `_id` of a MongoDB sink: its columns, or the origin where it has none.
    pub(super) fn new(sink: &plan::MongoSink, partitions: &Arc<PartitionNames>) -> Self {
        let mut columns = sink.id.clone();
        columns.sort_unstable();
        match (sink.mode, columns.is_empty()) {
            (plan::WriteMode::Append, true) => {
                IdSource::Origin(OriginIds { partitions: partitions.clone(), known: HashMap::new() })
            }
            _ => IdSource::Columns(columns),
        }
    }
}

impl OriginIds {
    /// xxh3 of the topic's name (64 bits), partition (32), offset (64), all big endian; with the number of
    /// the copy (16) where it is not the first.
    pub(super) fn id(&mut self, origin: Option<&RowOrigin>) -> Result<Vec<u8>> {
        let origin = origin.ok_or_else(|| Error::internal("a row without key has no origin either"))?;
        let place = (origin.source, origin.partition);
        let head = match self.known.get(&place) {
            Some(head) => *head,
            None => {
                let partition = self.partitions.find(origin.source, origin.partition).ok_or_else(|| {
                    Error::internal(format!("nobody knows partition {} of source {}", place.1, place.0))
                })?;
                let mut head = [0; 12];
                head[..8].copy_from_slice(&xxh3_64(partition.name.as_bytes()).to_be_bytes());
                head[8..].copy_from_slice(&partition.number.to_be_bytes());
                self.known.insert(place, head);
                head
            }
        };
        let mut id = Vec::with_capacity(22);
        id.extend_from_slice(&head);
        id.extend_from_slice(&origin.offset.to_be_bytes());
        if origin.index > 0 {
            let index = u16::try_from(origin.index)
                .map_err(|_| Error::internal(format!("copy {} of a record has no id", origin.index)))?;
            id.extend_from_slice(&index.to_be_bytes());
        }
        Ok(id)
    }
}

/// Whether a field takes part when two documents with the same `_id` are compared.
pub(super) fn is_compared(name: &str, not_compared: &[String]) -> bool {
    !name.starts_with('_') && !not_compared.iter().any(|other| other == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Partition;

    #[test]
    fn an_origin_id_is_made_of_topic_partition_offset_and_copy() {
        let names = PartitionNames::default();
        names.add(3, &Partition { id: 65_538, name: "telemetry_raw".into(), number: 2 });
        let mut ids = OriginIds { partitions: Arc::new(names), known: HashMap::new() };
        let origin = RowOrigin { source: 3, partition: 65_538, offset: 258, index: 0 };
        let id = ids.id(Some(&origin)).expect("known partition");
        assert_eq!(id[..8], xxh3_64(b"telemetry_raw").to_be_bytes());
        assert_eq!(id[8..], [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1, 2]);
        let copy = ids.id(Some(&RowOrigin { index: 1, ..origin })).expect("known partition");
        assert_eq!((&copy[..20], &copy[20..]), (&id[..], &[0, 1][..]));
        assert!(ids.id(Some(&RowOrigin { source: 4, ..origin })).is_err());
        assert!(ids.id(None).is_err());
    }

    #[test]
    fn technical_fields_and_those_named_are_not_compared() {
        let named = ["ingestion_time".to_owned()];
        let compared = |name| is_compared(name, &named);
        assert_eq!([compared("did"), compared("_id"), compared("ingestion_time")], [true, false, false]);
    }
}
