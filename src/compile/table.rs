//! `CREATE TABLE`: a source whose records change the row of their key.

use super::ast::CreateSource;
use super::diagnostic::Diagnostic;
use super::expression;
use super::flow::{Branch, Flow};
use super::graph::Graph;
use crate::plan::{ChangeMode, ColumnType, Downstream, KeyFormat, KeySaid, Table, TableSource, Upstream};

/// The key as indices of the columns; empty for a source.
pub(super) fn key(create: &CreateSource) -> Vec<usize> {
    let place =
        |name: &super::ast::Name| create.columns.iter().position(|column| column.name.value == name.value);
    create.key.iter().flatten().filter_map(place).collect()
}

/// Refuses `key.format = 'raw'` for a key that is not one text.
pub(super) fn wrong_raw_key(
    create: &CreateSource,
    key: &[usize],
    said: Option<KeySaid>,
) -> Option<Diagnostic> {
    if said != Some(KeySaid::Message(KeyFormat::Raw)) {
        return None;
    }
    if let [column] = key
        && create.columns[*column].kind == ColumnType::Text
    {
        return None;
    }
    let entry = create.options.entries.iter().find(|entry| entry.key.value == "key.format");
    let span = entry.map_or(create.options.span, |entry| entry.value.span);
    let error = Diagnostic::new(span, "key.format = 'raw' needs a PRIMARY KEY of one TEXT column");
    Some(error.hint("key.format = 'json' reads a JSON object of the key columns"))
}

/// The relation that a table is: the last row of each key of the source number `index`, whose records are `flow`.
pub(super) fn relation(graph: &mut Graph, index: usize, table: &TableSource, flow: Flow) -> Flow {
    let schema = flow.schema.inner().clone();
    let column = |column: &usize| expression::column(*column, &schema, &flow.columns[*column].text);
    let keys = table.key.iter().map(column).collect();
    let name = graph.sources[index].name.clone();
    let operator = graph.add_table(
        &name,
        Table { name: String::new(), keys, key: table.key.clone(), schema: schema.clone() },
    );
    let arriving = graph.sources[index].schema.clone();
    graph.add_legs(flow.branches.iter().cloned(), (Downstream::Operator(operator), 0), &arriving);
    let sources = [index].into();
    Flow {
        changes: ChangeMode::Updating,
        key: Some(table.key.clone()),
        branches: vec![Branch { from: Upstream::Operator(operator), steps: Vec::new(), sources }],
        ..flow
    }
}
