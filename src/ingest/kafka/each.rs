//! Reading with one call of the client for each record, to compare with.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::client::{connect, properties};
use crate::error::{Error, Result};
use crate::plan::KafkaSource;
use crate::record::FoundPartition;
use crate::settings;

/// How long one call waits for a record.
const WAIT: Duration = Duration::from_millis(100);

/// Reads partitions, whose ends are known, with the client of a source and its settings. Tells the bytes of each value.
pub fn poll_each(
    source: &KafkaSource,
    settings: &settings::Kafka,
    partitions: &[FoundPartition],
    mut each: impl FnMut(usize),
) -> Result<()> {
    let (properties, servers) = properties(source, settings)?;
    let failed = |error| Error::away(format!("cannot read from {servers}")).caused_by(error);
    let client = connect(&properties)?;
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for FoundPartition { partition, from, to } in partitions {
        let number = i32::try_from(partition.number).unwrap_or(i32::MAX);
        let first = Offset::Offset(i64::try_from(*from).unwrap_or(i64::MAX));
        list.add_partition_offset(&partition.name, number, first).map_err(failed)?;
        left += to.unwrap_or(*from).saturating_sub(*from);
    }
    client.assign(&list).map_err(failed)?;
    while left > 0 {
        match client.poll(WAIT) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => {}
            Some(Err(error)) => return Err(failed(error)),
            Some(Ok(message)) => {
                each(message.payload().map_or(0, <[u8]>::len));
                left -= 1;
            }
        }
    }
    Ok(())
}
