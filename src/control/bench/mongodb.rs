//! How fast documents go into MongoDB, beside a loop of bulk writes of the same documents.
//!
//! Two sinks, fed with the changes of epochs as a dataflow gives them: all events as they came (*history*), and the
//! latest states of vehicles (*upsert*). The loop has its documents encoded before it begins, and sends a command of
//! 1,000 after the other (`--in-flight`: several at a time) with majority write concern: `insert`, or `update` that replaces the document of an `_id`.
//! What is in both collections at the end is compared.

mod bare;
mod changes;

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;

use self::bare::Server;
use self::changes::{Made, made};
use super::args::MongodbArgs;
use super::report::{median, spread};
use super::scratch::Scratch;
use crate::control::progress;
use crate::error::{Error, Result};
use crate::plan::{Plan, Sink, SinkConnector};
use crate::settings::Settings;
use crate::write::{Context, Health, Identity, connect};

/// Measures both sinks by turns with their loops.
pub fn run(args: &MongodbArgs, settings: &Settings) -> Result<()> {
    let Some(uri) = &settings.mongodb.uri else {
        return Err(Error::config("this benchmark needs a MongoDB server")
            .hint("set mongodb.uri, for example with TIDEMILL_MONGODB__URI"));
    };
    let scratch = Scratch::create()?;
    let server = Server::connect(uri, &settings.mongodb.database, usize::from(args.in_flight))?;
    let made = made(args)?;
    let mut figures = Vec::new();
    for sink in &made.plan.sinks {
        figures.push(
            Measured { sink, made: &made, scratch: &scratch.name, server: &server }.run(args, settings)?,
        );
    }
    let text: String = figures.iter().map(Figures::text).collect();
    progress::say(&text);
    if args.json {
        let figures: serde_json::Map<_, _> =
            figures.iter().map(|figures| (figures.sink.clone(), figures.json())).collect();
        progress::say(&format!(
            "{}\n",
            json!({ "events": args.events, "keys": args.keys, "epoch": args.epoch, "sinks": figures })
        ));
    }
    Ok(())
}

/// One sink and its loop.
struct Measured<'a> {
    sink: &'a Sink,
    made: &'a Made,
    scratch: &'a str,
    server: &'a Server,
}

/// Documents per second, by repetition.
struct Figures {
    sink: String,
    documents: u64,
    tidemill: Vec<f64>,
    bare: Vec<f64>,
}

impl Measured<'_> {
    fn run(&self, args: &MongodbArgs, settings: &Settings) -> Result<Figures> {
        let epochs = self.made.of(self.sink);
        let documents = epochs.iter().map(|changes| changes.rows.num_rows() as u64).sum();
        let (mut tidemill, mut bare) = (Vec::new(), Vec::new());
        for repetition in 0..args.repetitions {
            let ours = format!("{}-{}-{repetition}", self.scratch, self.sink.name);
            let theirs = format!("{ours}-bare");
            bare.push(
                documents as f64 / self.server.write(self.sink, epochs, &self.made.partitions, &theirs)?,
            );
            tidemill.push(documents as f64 / self.write(settings, &ours)?);
            self.server.compare(&ours, &theirs)?;
            self.server.drop(&ours)?;
            self.server.drop(&theirs)?;
        }
        Ok(Figures { sink: self.sink.name.clone(), documents, tidemill, bare })
    }

    /// How many seconds the sink needs until everything is confirmed.
    fn write(&self, settings: &Settings, collection: &str) -> Result<f64> {
        let mut sink = self.sink.clone();
        if let SinkConnector::MongoDb(target) = &mut sink.connector {
            target.collection = collection.to_owned();
        }
        let context = Context {
            directory: self.made.plan.directory.clone(),
            bounded: true,
            output: None,
            blackhole: false,
            partitions: Arc::clone(&self.made.partitions),
        };
        let mut writer = connect(&sink, settings, &context, Health::new())?;
        writer.open(&identity(&self.made.plan, &sink.name))?;
        let epochs = self.made.of(self.sink).to_vec();
        let began = Instant::now();
        for (epoch, changes) in (1..).zip(epochs) {
            writer.write(epoch, changes)?;
        }
        let receipts = writer.confirm()?;
        let seconds = began.elapsed().as_secs_f64();
        writer.close()?;
        match receipts.iter().find_map(|(_, receipt)| receipt.refused.first()) {
            None => Ok(seconds),
            Some((_, letter)) => Err(Error::internal(format!("a document was refused: {}", letter.error))),
        }
    }
}

fn identity(plan: &Plan, sink: &str) -> Identity {
    let (lineage, sink) = ("bench".to_owned(), sink.to_owned());
    Identity { lineage, generation: 1, dataflow: plan.name.clone(), sink, shards: 1, shard: 0 }
}

impl Figures {
    fn ratio(&self) -> f64 {
        median(self.tidemill.iter().copied()) / median(self.bare.iter().copied())
    }

    fn text(&self) -> String {
        let rate = |rates: &[f64]| {
            let half = spread(rates) * 50.0;
            format!("{:>8.0} documents/s ± {half:.0} %", median(rates.iter().copied()))
        };
        format!(
            "{:<8} {:>8} documents   {}   bare loop {}   ratio {:.2}\n",
            self.sink,
            self.documents,
            rate(&self.tidemill),
            rate(&self.bare),
            self.ratio()
        )
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "documents": self.documents,
            "documents_per_s": median(self.tidemill.iter().copied()),
            "bare_documents_per_s": median(self.bare.iter().copied()),
            "ratio": self.ratio(),
        })
    }
}
