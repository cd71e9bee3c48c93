//! The declared columns of a source: their types and where their values come from.

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, TimeUnit};

/// One declared column of a source.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub name: String,
    pub kind: ColumnType,
    pub nullable: bool,
    /// One value of the column's Arrow type, for a field that is missing or null.
    pub default: Option<ArrayRef1>,
    pub from: ColumnOrigin,
}

/// An array of length 1: a value of any type. Compared by content.
#[derive(Clone, Debug)]
pub struct ArrayRef1(pub ArrayRef);

impl PartialEq for ArrayRef1 {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

/// The SQL types of columns with their Arrow types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnType {
    /// `Utf8`
    Text,
    /// `Int64`
    BigInt,
    /// `Int32`
    Int,
    /// `Float64`
    Double,
    /// `Boolean`
    Boolean,
    /// `Timestamp(Nanosecond, None)`, UTC
    Timestamp,
    /// `Date32`
    Date,
    /// `Utf8` that holds JSON text
    Json,
}

/// Metadata of an Arrow field (key, value) that says that its text is JSON, see [`ColumnType::field`].
pub const JSON_TYPE: (&str, &str) = ("tidemill.type", "json");

impl ColumnType {
    /// The Arrow type that holds the values.
    pub fn arrow_type(self) -> DataType {
        match self {
            ColumnType::Text | ColumnType::Json => DataType::Utf8,
            ColumnType::BigInt => DataType::Int64,
            ColumnType::Int => DataType::Int32,
            ColumnType::Double => DataType::Float64,
            ColumnType::Boolean => DataType::Boolean,
            ColumnType::Timestamp => DataType::Timestamp(TimeUnit::Nanosecond, None),
            ColumnType::Date => DataType::Date32,
        }
    }

    /// How the type is written in SQL.
    pub fn sql_name(self) -> &'static str {
        match self {
            ColumnType::Text => "TEXT",
            ColumnType::BigInt => "BIGINT",
            ColumnType::Int => "INT",
            ColumnType::Double => "DOUBLE",
            ColumnType::Boolean => "BOOLEAN",
            ColumnType::Timestamp => "TIMESTAMP",
            ColumnType::Date => "DATE",
            ColumnType::Json => "JSON",
        }
    }

    /// A field of this type. That of a JSON column carries [`JSON_TYPE`], because its Arrow type is that of
    /// a text.
    pub fn field(self, name: impl Into<String>, nullable: bool) -> Field {
        field(name, self.arrow_type(), nullable, self == ColumnType::Json)
    }
}

/// A field whose text is JSON where `json` says so.
pub fn field(name: impl Into<String>, data_type: DataType, nullable: bool, json: bool) -> Field {
    let field = Field::new(name, data_type, nullable);
    let mark = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
    if json { field.with_metadata([mark(JSON_TYPE)].into()) } else { field }
}

/// Whether the text of this field is JSON.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(JSON_TYPE.0).is_some_and(|kind| kind == JSON_TYPE.1)
}

/// Where the value of a column comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColumnOrigin {
    /// A field of the record, by its path from the top: `pos.lat` is `["pos", "lat"]`.
    Path(Vec<String>),
    /// `METADATA FROM '...'`
    Metadata(Metadata),
    /// `AS expression`, see [`Source::computed`](super::Source::computed).
    Computed,
}

/// What is known about a record besides its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata {
    /// TEXT: the topic, or the path of the file.
    Topic,
    /// INT or BIGINT: number of the partition.
    Partition,
    /// BIGINT: offset in the partition.
    Offset,
    /// TEXT: the record's key; NULL where there is none or it is not UTF-8.
    Key,
    /// JSON: object of the headers.
    Headers,
    /// TIMESTAMP: the time that the broker holds for the record; NULL in files.
    Timestamp,
    /// TIMESTAMP: `wall_ms` of the epoch in which the record was cut. Filled at the cut.
    IngestionTime,
    /// JSON: the record's content exactly as it was received.
    Payload,
}
