//! Moves whole batches between workers: within a process as they are, between processes as bytes.

use std::cell::OnceCell;
use std::fmt;

use arrow::datatypes::SchemaRef;
use serde::de::{SeqAccess, Visitor};
use serde::ser::SerializeTuple;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::generic::Operator;

use crate::batch::Batch;
use crate::error::Error;
use crate::route::wire;
use crate::time::Epoch;

/// A batch on its way to a worker. It is turned into bytes only where it leaves the process.
struct Parcel {
    target: u64,
    /// Where at the target it belongs: the shard of a sink, the input of an operator.
    slot: u16,
    content: Content,
}

enum Content {
    Batch {
        batch: Box<Batch>,
        /// Made when timely asks how long they are, and written when it asks for them.
        bytes: OnceCell<Vec<u8>>,
    },
    Bytes(Vec<u8>),
}

/// Where a part of a batch goes.
pub struct Destination {
    /// Index of the worker.
    pub worker: usize,
    /// Where at the target it belongs: the shard of a sink, the input of an operator, otherwise 0.
    pub slot: u16,
}

/// Sends the parts of each batch to their workers. `split` decides; `schema` is that of the rows, by slot.
pub fn exchange<'s, B: Clone + 'static>(
    batches: StreamVec<'s, Epoch, B>,
    name: &str,
    schema: impl Fn(u16) -> SchemaRef + 'static,
    mut split: impl FnMut(B) -> Vec<(Destination, Batch)> + 'static,
    fail: fn(&Error) -> !,
) -> StreamVec<'s, Epoch, (u16, Batch)> {
    let parcels = batches.unary::<CapacityContainerBuilder<Vec<Parcel>>, _, _, _>(
        Pipeline,
        &format!("Split {name}"),
        move |_, _| {
            move |input, output| {
                input.for_each(|capability, batches| {
                    let parts = batches.drain(..).flat_map(&mut split);
                    let parcels = parts.map(|(to, batch)| Parcel {
                        target: to.worker as u64,
                        slot: to.slot,
                        content: Content::Batch { batch: Box::new(batch), bytes: OnceCell::new() },
                    });
                    output.session(&capability).give_iterator(parcels);
                });
            }
        },
    );
    let route = Exchange::new(|parcel: &Parcel| parcel.target);
    parcels.unary::<CapacityContainerBuilder<Vec<(u16, Batch)>>, _, _, _>(
        route,
        &format!("Exchange {name}"),
        move |_, _| {
            move |input, output| {
                input.for_each(|capability, parcels| {
                    let batches = parcels.drain(..).map(|parcel| match parcel.content {
                        Content::Batch { batch, .. } => (parcel.slot, *batch),
                        Content::Bytes(bytes) => match wire::decode(bytes, &schema(parcel.slot)) {
                            Ok(batch) => (parcel.slot, batch),
                            Err(error) => fail(&error),
                        },
                    });
                    output.session(&capability).give_iterator(batches);
                });
            }
        },
    )
}

impl Serialize for Parcel {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(3)?;
        tuple.serialize_element(&self.target)?;
        tuple.serialize_element(&self.slot)?;
        match &self.content {
            Content::Batch { batch, bytes } => {
                let bytes = match bytes.get() {
                    Some(bytes) => bytes,
                    None => {
                        let encoded = wire::encode(batch).map_err(serde::ser::Error::custom)?;
                        bytes.get_or_init(|| encoded)
                    }
                };
                tuple.serialize_element(serde_bytes::Bytes::new(bytes))?;
            }
            Content::Bytes(bytes) => tuple.serialize_element(serde_bytes::Bytes::new(bytes))?,
        }
        tuple.end()
    }
}

impl<'de> Deserialize<'de> for Parcel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Parcel;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a parcel")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut fields: A) -> Result<Parcel, A::Error> {
                let missing = || serde::de::Error::custom("a parcel is cut short");
                let target = fields.next_element()?.ok_or_else(missing)?;
                let slot = fields.next_element()?.ok_or_else(missing)?;
                let bytes: serde_bytes::ByteBuf = fields.next_element()?.ok_or_else(missing)?;
                Ok(Parcel { target, slot, content: Content::Bytes(bytes.into_vec()) })
            }
        }
        deserializer.deserialize_tuple(3, Fields)
    }
}
