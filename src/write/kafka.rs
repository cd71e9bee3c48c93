//! Kafka topics: at least once, in order per key.
//!
//! A header `epoch` tells which epoch a record belongs to. What the brokers had taken before a crash is
//! written again after it, so the progress told at the opening is 0.

mod admin;
mod delivery;
mod poller;
mod reports;

use std::sync::Arc;

pub(super) use self::admin::TopicSpec;
pub(super) use self::delivery::{Delivery, Message};
use super::records::Records;
use super::refusal::refusal;
use super::{Changes, Health, Identity, Receipt, Sink};
use crate::dead_letter::Reason;
use crate::error::Result;
use crate::plan;
use crate::settings;
use crate::time::Epoch;

/// The sink of `connector = 'kafka'` when the settings name brokers.
pub(super) struct Topic {
    sink: String,
    records: Records,
    topic: Arc<str>,
    delivery: Delivery,
    /// Epochs that are not confirmed yet.
    epochs: Vec<(Epoch, Changes)>,
}

impl Topic {
    /// The topic of a sink on the brokers at `servers`.
    pub(super) fn new(
        sink: &plan::Sink,
        target: &plan::KafkaSink,
        servers: &str,
        settings: &settings::Kafka,
        health: Arc<Health>,
    ) -> Self {
        let topic = TopicSpec {
            name: target.topic.clone(),
            partitions: target.partitions,
            replication: target.replication,
        };
        Topic {
            sink: sink.name.clone(),
            records: Records::new(sink, target),
            topic: target.topic.as_str().into(),
            delivery: Delivery::new(&sink.name, servers, settings, &target.properties, vec![topic], health),
            epochs: Vec::new(),
        }
    }
}

impl Sink for Topic {
    fn open(&mut self, _identity: &Identity) -> Result<Epoch> {
        self.delivery.open()?;
        Ok(0)
    }

    fn write(&mut self, epoch: Epoch, changes: Changes) -> Result<()> {
        let mut messages = Vec::with_capacity(changes.ops.len());
        for row in 0..changes.ops.len() {
            let (key, value) = self.records.record(&changes, row)?;
            let (topic, wall_ms) = (self.topic.clone(), changes.wall_ms);
            messages.push(Message { epoch, wall_ms, row, topic, key, value });
        }
        self.epochs.push((epoch, changes));
        self.delivery.send(messages)
    }

    fn confirm(&mut self) -> Result<Vec<(Epoch, Receipt)>> {
        let refused = self.delivery.confirm()?;
        let receipts = self.epochs.drain(..).map(|(epoch, changes)| {
            let own = refused.iter().filter(|refused| refused.epoch == epoch);
            let letter =
                |row, error: &str| refusal(&self.sink, &changes, row, Reason::SinkRefused, error.into());
            let refused = own.map(|refused| (refused.row, letter(refused.row, &refused.error))).collect();
            (epoch, Receipt { refused, duplicates: 0 })
        });
        Ok(receipts.collect())
    }

    fn close(&mut self) -> Result<()> {
        self.delivery.confirm().map(drop)
    }
}
