//! Our own statements, parsed but not yet understood: names are names and expressions are syntax.

use datafusion_sql::sqlparser::ast;
use datafusion_sql::sqlparser::tokenizer::{Location, Span};

use crate::plan::{ColumnType, Emit, Metadata};

/// One statement of a dataflow file.
#[derive(Clone, Debug)]
pub enum Statement {
    Source(Box<CreateSource>),
    View(CreateView),
    Sink(CreateSink),
    /// A relation whose statement is wrong and reported. Its name stays known, so that the statements that
    /// read it are not reported for it as well.
    Broken(Name),
}

/// A name and where it stands. Unquoted names are in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub value: String,
    pub span: Span,
}

impl Name {
    /// The place of characters `from..to` of a literal's value, or of the whole literal where the two differ:
    /// doubled quotes, replaced parameters, line breaks.
    pub fn part(&self, from: usize, to: usize) -> Span {
        let Span { start, end } = self.span;
        let length = self.value.chars().count() as u64;
        let quotes = end.column.saturating_sub(start.column).checked_sub(length);
        match quotes {
            Some(quotes @ (0 | 2)) if start.line == end.line => {
                let first = start.column + quotes / 2;
                let place = |at: usize| Location::new(start.line, first + at as u64);
                Span::new(place(from), place(to))
            }
            _ => self.span,
        }
    }
}

/// An expression with its text as written.
#[derive(Clone, Debug)]
pub struct Expression {
    pub ast: ast::Expr,
    pub span: Span,
    pub text: String,
}

/// `CREATE SOURCE | TABLE name ( ... ) WITH ( ... )`
#[derive(Clone, Debug)]
pub struct CreateSource {
    pub name: Name,
    /// The columns of PRIMARY KEY; `None` for a source, which has no key.
    pub key: Option<Vec<Name>>,
    pub columns: Vec<ColumnDefinition>,
    pub checks: Vec<Expression>,
    pub watermark: Option<WatermarkDefinition>,
    pub options: Options,
}

/// `name TYPE [NOT NULL] [DEFAULT expr] [PATH 'a.b'] [METADATA FROM 'offset'] [AS expr] [CHECK (expr)]`
#[derive(Clone, Debug)]
pub struct ColumnDefinition {
    pub name: Name,
    pub kind: ColumnType,
    pub kind_span: Span,
    pub not_null: bool,
    pub default: Option<Expression>,
    /// The text of PATH, cut at its dots.
    pub path: Option<Vec<String>>,
    pub metadata: Option<Metadata>,
    /// What it is computed of.
    pub computed: Option<Expression>,
}

/// `WATERMARK FOR column AS expression`
#[derive(Clone, Debug)]
pub struct WatermarkDefinition {
    pub column: Name,
    pub expression: Expression,
}

/// `FOR SYSTEM_TIME AS OF PROCTIME()`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemTime {
    /// Where it stands.
    pub clause: Span,
    /// What stands in front of it: the last part of the relation's name.
    pub relation: Span,
}

/// `CREATE [MATERIALIZED] VIEW name [(column, ...)] [WITH ( ... )] AS SELECT ...`
#[derive(Clone, Debug)]
pub struct CreateView {
    pub name: Name,
    /// Names for the columns, in their order. Empty: those of the query.
    pub columns: Vec<Name>,
    pub materialized: bool,
    pub query: Query,
    pub options: Options,
}

/// `SELECT ... [EMIT CHANGES | EMIT FINAL]`
#[derive(Clone, Debug)]
pub struct Query {
    pub ast: Box<ast::Query>,
    pub span: Span,
    /// When windows give their results, where that is said.
    pub emit: Option<(Emit, Span)>,
    pub system_times: Vec<SystemTime>,
}

/// `CREATE SINK name FROM relation | AS SELECT ... WITH ( ... )`
#[derive(Clone, Debug)]
pub struct CreateSink {
    pub name: Name,
    pub input: SinkInput,
    pub options: Options,
}

#[derive(Clone, Debug)]
pub enum SinkInput {
    From(Name),
    Query(Query),
}

/// `WITH (key = 'value', ...)`
#[derive(Clone, Debug)]
pub struct Options {
    pub entries: Vec<OptionEntry>,
    /// Where a missing option is reported: the WITH clause, or the statement's name where there is none.
    pub span: Span,
}

#[derive(Clone, Debug)]
pub struct OptionEntry {
    pub key: Name,
    /// The value as text, parameters (`${NAME}`) already replaced.
    pub value: Name,
}
