//! Tables: the last row of each key of a compacted topic or a file, and streams that look rows up in them.

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Expr, JoinKind, KeyFormat};

/// What makes a source a table: `PRIMARY KEY (...)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSource {
    /// The key, as indices into [`Source::columns`](super::Source::columns).
    pub key: Vec<usize>,
    pub said: KeySaid,
}

/// Where a record of a table says which key it is about, and that the key is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySaid {
    /// In the key of the message. Without a payload it deletes.
    Message(KeyFormat),
    /// In its fields, as in files. Where its field [`OPERATION`] is `delete` it deletes.
    Record,
}

/// The field of a record in a file that says what it does to its key. File sinks write the same.
pub const OPERATION: &str = "op";

/// The schema in which records of a table travel to its keyed rows: of one that deletes only the key is filled;
/// the last column says whether it does.
pub fn record_schema(declared: &Schema, key: &[usize]) -> SchemaRef {
    let field = |(index, field): (usize, &std::sync::Arc<Field>)| {
        let nullable = field.is_nullable() || !key.contains(&index);
        field.as_ref().clone().with_nullable(nullable)
    };
    let fields = declared.fields().iter().enumerate().map(field);
    let deletes = Field::new("deletes", DataType::Boolean, false);
    std::sync::Arc::new(Schema::new(fields.chain([deletes]).collect::<Vec<_>>()))
}

/// The last row of each key: records become changes of rows.
#[derive(Clone, Debug)]
pub struct Table {
    /// `<table>/rows`, see [`Operator`](super::Operator).
    pub name: String,
    /// The key, over what arrives: see [`record_schema`].
    pub keys: Vec<Expr>,
    /// The same columns of what leaves.
    pub key: Vec<usize>,
    /// What leaves: the declared columns.
    pub schema: SchemaRef,
}

impl Table {
    /// Types of the key.
    pub fn key_types(&self) -> Vec<DataType> {
        self.key.iter().map(|column| self.schema.field(*column).data_type().clone()).collect()
    }
}

/// Rows of a stream, each with the row that a keyed relation has for it when its epoch ends. Rows that have left
/// are never written again.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// `<view>/lookup`, see [`Operator`](super::Operator).
    pub name: String,
    /// Never [`Right`](JoinKind::Right) or [`Full`](JoinKind::Full).
    pub kind: JoinKind,
    /// Of the stream, at port 0, and of the keyed relation, at port 1. A key meets at most one row there.
    pub keys: [Vec<Expr>; 2],
    /// Types to which the values of both keys are cast.
    pub key_types: Vec<DataType>,
    /// Over the columns of the stream and, behind them, those of the relation: a row for which it is not true is
    /// no match.
    pub condition: Option<Expr>,
    /// The columns of the relation.
    pub right: SchemaRef,
    /// The columns of both.
    pub pairs: SchemaRef,
    /// What leaves: `pairs`, or for semi and anti joins the columns of the stream.
    pub schema: SchemaRef,
}
