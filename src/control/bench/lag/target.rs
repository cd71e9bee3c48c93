//! Where the effects of an event are looked for: the views and sinks that show its key and its time.

use arrow::datatypes::{DataType, Schema};

use crate::error::{Error, Result};
use crate::plan::{ColumnOrigin, ColumnType, Plan, SinkConnector, Source, WriteMode};

/// What identifies an event: a key, and a time that no other event of this key has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Column of the source and its path in the record.
    pub key: (String, Vec<String>),
    pub time: (String, Vec<String>),
}

impl Identity {
    /// The first text column and the column of the watermark.
    pub fn of(source: &Source) -> Result<Self> {
        let path = |column: &crate::plan::Column| match &column.from {
            ColumnOrigin::Path(path) => Some((column.name.clone(), path.clone())),
            ColumnOrigin::Metadata(_) | ColumnOrigin::Computed => None,
        };
        let key = source.columns.iter().filter(|column| column.kind == ColumnType::Text).find_map(path);
        let time = source.watermark.and_then(|watermark| path(&source.columns[watermark.column]));
        key.zip(time).map(|(key, time)| Identity { key, time }).ok_or_else(|| {
            Error::config(format!("events of source \"{}\" cannot be told apart", source.name))
                .hint("a source to be measured has a text column, which is the key, and a WATERMARK")
        })
    }
}

/// A place where rows can be watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub name: String,
    pub place: Place,
    /// A newer row of a key replaces the older one, and so shows that it has arrived, too.
    pub replaces: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    View,
    Kafka { topic: String },
    MongoDb { database: Option<String>, collection: String },
}

impl Place {
    /// How reports name it.
    pub fn title(&self) -> &'static str {
        match self {
            Place::View => "view",
            Place::Kafka { .. } => "Kafka",
            Place::MongoDb { .. } => "MongoDB",
        }
    }
}

/// The views and sinks of a plan that show both columns; the names of the sinks that do not.
pub fn targets(plan: &Plan, identity: &Identity) -> (Vec<Target>, Vec<String>) {
    let shows = |schema: &Schema| {
        let has = |name: &str| schema.index_of(name).is_ok();
        has(&identity.key.0) && has(&identity.time.0)
    };
    let by_key = |schema: &Schema, key: &[usize]| match key {
        [column] => {
            schema.field(*column).name() == &identity.key.0 && is_text(schema.field(*column).data_type())
        }
        _ => false,
    };
    let mut found = Vec::new();
    let mut left_out = Vec::new();
    for view in &plan.views {
        if shows(&view.schema) && by_key(&view.schema, &view.key) {
            found.push(Target { name: view.name.clone(), place: Place::View, replaces: true });
        }
    }
    for sink in &plan.sinks {
        // The fields of a record that became a document are its own.
        let shown = shows(&sink.schema) || sink.document.is_some();
        let (place, mode) = match &sink.connector {
            SinkConnector::Kafka(kafka) => (Place::Kafka { topic: kafka.topic.clone() }, kafka.mode),
            SinkConnector::MongoDb(mongo) => {
                let (database, collection) = (mongo.database.clone(), mongo.collection.clone());
                (Place::MongoDb { database, collection }, mongo.mode)
            }
            SinkConnector::File(_) | SinkConnector::Stdout | SinkConnector::Blackhole => {
                left_out.push(sink.name.clone());
                continue;
            }
        };
        let replaces = mode == WriteMode::Upsert;
        let key = sink.key.as_deref().unwrap_or_default();
        if shown && (!replaces || by_key(&sink.schema, key)) {
            found.push(Target { name: sink.name.clone(), place, replaces });
        } else {
            left_out.push(sink.name.clone());
        }
    }
    (found, left_out)
}

fn is_text(kind: &DataType) -> bool {
    *kind == DataType::Utf8
}
