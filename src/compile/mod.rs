//! SQL text to [`Plan`]: statements, names, types, expressions, legs.
//!
//! [`compile`] goes through the statements in the order of the file. Each `CREATE` becomes a relation in the
//! catalog or a sink; each query goes through the library's planner and is lowered to legs and operators.

pub mod ast;
pub mod diagnostic;
pub mod dialect;
pub mod explain;
pub mod options;
pub mod statement;

mod aggregate;
mod catalog;
mod distinct;
mod distinct_on;
mod expression;
mod first;
mod flow;
mod function;
mod graph;
mod guard;
mod interval;
mod join;
mod lag;
mod late;
mod locate;
mod lower;
mod names;
mod narrow;
mod over;
mod problem;
mod protect;
mod prune;
mod query;
mod rank;
mod refuse;
mod retention;
mod reword;
mod rewrite;
mod sink;
mod source;
mod table;
mod targets;
mod text;
mod types;
mod union;
mod window;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use datafusion_common::TableReference;
use datafusion_sql::sqlparser::tokenizer::Span;

use self::aggregate::{Retention, Timing};
use self::ast::{CreateSink, CreateSource, CreateView, Name, SinkInput, Statement};
use self::catalog::{Catalog, Statements};
use self::diagnostic::{Diagnostic, Diagnostics};
use self::flow::Flow;
use self::graph::Graph;
use self::lower::Lowering;
use self::problem::{Place, Problem};
use self::reword::failed;
use crate::plan::{Emit, Operator, Plan};

/// Planning recurses over expressions, and unoptimised builds need much stack for it.
const STACK_BYTES: usize = 64 << 20;

/// What is to be compiled.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The file as messages name it.
    pub file: &'a str,
    /// The text of the file.
    pub text: &'a str,
    /// Name of the dataflow.
    pub name: &'a str,
    /// The directory that relative paths start from.
    pub directory: &'a Path,
    /// Values of `${NAME}` in options.
    pub parameters: &'a BTreeMap<String, String>,
}

/// Compiles a dataflow file, or says everything that is wrong with it.
pub fn compile(request: &Request) -> Result<Plan, Diagnostics> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("compile".to_owned()).stack_size(STACK_BYTES);
        match builder.spawn_scoped(scope, || compile_here(request)) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            // Without a thread of its own, a deep expression may end the process; others are fine.
            Err(_) => compile_here(request),
        }
    })
}

fn compile_here(request: &Request) -> Result<Plan, Diagnostics> {
    let (statements, diagnostics) = statement::parse(request.text, request.parameters);
    let (graph, retention) = Default::default();
    let (timing, undecided) = Default::default();
    let mut compiler = Compiler { catalog: Catalog::new(), graph, diagnostics, retention, timing, undecided };
    compiler.catalog.statements = Statements::of(&statements);
    let names = statements.iter().map(name_of);
    let names: Vec<(String, Span)> = names.map(|name| (name.value.clone(), name.span)).collect();
    for (index, statement) in statements.iter().enumerate() {
        let (before, after) = (&names[..index], &names[index + 1..]);
        let name = name_of(statement);
        if let Some((_, first)) = before.iter().find(|(other, _)| *other == name.value) {
            let message = format!("the name `{}` is already taken in line {}", name.value, first.start.line);
            compiler.diagnostics.push(Diagnostic::new(name.span, message).hint("choose another name"));
            continue;
        }
        if !targets::is_file_name(&name.value) {
            let message = format!("`{}` cannot be a name: files are named after it", name.value);
            let hint = "choose one without slashes and control characters";
            compiler.diagnostics.push(Diagnostic::new(name.span, message).hint(hint));
            continue;
        }
        let later =
            |wanted: &str| after.iter().find(|(name, _)| name == wanted).map(|(_, span)| span.start.line);
        compiler.catalog.statements.owner.clone_from(&name.value);
        compiler.statement(statement, &later);
    }
    compiler.finish(request)
}

/// A length of time as event time counts it.
fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn name_of(statement: &Statement) -> &Name {
    match statement {
        Statement::Source(create) => &create.name,
        Statement::View(create) => &create.name,
        Statement::Sink(create) => &create.name,
        Statement::Broken(name) => name,
    }
}

/// Tells the line in which a relation is defined further down.
type Later<'a> = dyn Fn(&str) -> Option<u64> + 'a;

/// What became of a query.
struct Lowered {
    flow: Flow,
    /// Number of windows in it.
    windows: usize,
    /// Whether anything is kept as long as `state_retention` says.
    retention_used: bool,
    /// The rows that come too late for it, where it is clear which these are and somebody reads them.
    late: Option<Flow>,
}

struct Compiler {
    catalog: Catalog,
    graph: Graph,
    diagnostics: Vec<Diagnostic>,
    /// Of the statement at hand.
    retention: Retention,
    /// Of the statement at hand.
    timing: Timing,
    /// Sources that say nothing about the alignment of their partitions.
    undecided: Vec<usize>,
}

impl Compiler {
    fn statement(&mut self, statement: &Statement, later: &Later) {
        match statement {
            Statement::Source(create) => self.source(create),
            Statement::View(create) => self.view(create, later),
            Statement::Sink(create) => self.sink(create, later),
            Statement::Broken(name) => self.catalog.insert(&name.value, None),
        }
    }

    fn source(&mut self, create: &CreateSource) {
        let index = self.graph.sources.len();
        let compiled = source::source(create, &self.catalog, index, &mut self.diagnostics);
        let flow = compiled.map(|(source, flow)| {
            let table = source.table.clone();
            self.graph.sources.push(source);
            if !create.options.entries.iter().any(|option| option.key.value == options::MAX_DRIFT) {
                self.undecided.push(index);
            }
            match table {
                Some(table) => table::relation(&mut self.graph, index, &table, flow),
                None => flow,
            }
        });
        self.catalog.insert(&create.name.value, flow);
    }

    fn view(&mut self, create: &CreateView, later: &Later) {
        let options = options::view_options(&create.options, &mut self.diagnostics);
        self.retention = Retention::of(&options);
        self.timing.allowed_lateness_ns = options.allowed_lateness.map_or(0, |(lateness, _)| nanos(lateness));
        self.timing.horizon = options.horizon.map(|(horizon, _)| horizon);
        let before = self.graph.deduplications();
        let renamed = !create.columns.is_empty();
        let lowered = self.query(&create.query, &create.name.value, renamed, later);
        if let (Some(Lowered { windows: 0, .. }), Some((_, span))) = (&lowered, options.allowed_lateness) {
            let error = Diagnostic::new(span, "allowed_lateness is for windows, and this view has none");
            self.diagnostics.push(error.hint("remove it, or write it at the view that has the window"));
        }
        if let (true, Some((_, span))) = (lowered.is_some(), options.horizon)
            && self.graph.deduplications() == before
        {
            let message = "`deduplicate_horizon` says how long DISTINCT ON remembers, and this view has none";
            let hint = "write it on the view with SELECT DISTINCT ON, or leave it out";
            self.diagnostics.push(Diagnostic::new(span, message).hint(hint));
        }
        let retention_used = lowered.as_ref().is_some_and(|lowered| lowered.retention_used);
        let late = lowered.as_ref().map(|lowered| lowered.late.clone());
        if let None | Some(Some(_)) = late {
            self.catalog.insert(&late::name(&create.name.value), late.flatten());
        }
        let flow = lowered.and_then(|lowered| self.renamed(lowered.flow, &create.columns));
        if let Some(flow) = &flow
            && let (true, Some(key)) = (create.materialized, &flow.key)
        {
            self.serve(create, flow, key);
        }
        let flow = flow.map(|flow| self.with_retention(flow, retention_used, &options));
        self.catalog.insert(&create.name.value, flow);
    }

    fn sink(&mut self, create: &CreateSink, later: &Later) {
        self.retention = Retention::OfSink;
        self.timing = Timing::default();
        let flow = match &create.input {
            SinkInput::Query(query) => {
                self.query(query, &create.name.value, false, later).map(|lowered| lowered.flow)
            }
            SinkInput::From(name) => match self.catalog.relation(&name.value) {
                Some(flow) => flow.cloned(),
                None => {
                    let unknown = refuse::query::unknown(&self.catalog, &name.value, name.span, later);
                    self.diagnostics.push(unknown);
                    None
                }
            },
        };
        let options = options::sink_options(&create.options, &mut self.diagnostics);
        if let (Some(flow), Some(options)) = (flow, options)
            && let Some(sink) = sink::sink(&create.name, options, (&flow, &self.graph), &mut self.diagnostics)
        {
            match targets::conflict(&sink, &self.graph.sinks, &self.graph.sources) {
                Some((message, hint)) => {
                    self.diagnostics.push(Diagnostic::new(create.name.span, message).hint(hint));
                }
                None => self.graph.add_sink(sink, &flow),
            }
        }
    }

    /// The relation of a view under the column names that stand behind its name, if any.
    fn renamed(&mut self, flow: Flow, names: &[Name]) -> Option<Flow> {
        let (Some(first), Some(last)) = (names.first(), names.last()) else { return Some(flow) };
        let plain: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
        let span = Span::new(first.span.start, last.span.end);
        if names.len() != flow.columns.len() {
            let columns = flow.columns.len();
            let message = format!("{} names for the {columns} columns of the SELECT", names.len());
            let error = Diagnostic::new(span, message);
            self.diagnostics.push(error.hint("name each column, in the order of the SELECT list"));
            return None;
        }
        let renamed = lower::renamed(flow, &plain);
        renamed.map_err(|error| self.diagnostics.push(failed(&error).into_diagnostic(&[], None, span))).ok()
    }

    /// Compiles a query of the view or sink `owner`, whose columns get other names where it is `renamed`.
    /// `None` if anything is wrong with it or what it reads.
    fn query(&mut self, query: &ast::Query, owner: &str, renamed: bool, later: &Later) -> Option<Lowered> {
        let (span, emit, system_times) = (query.span, query.emit, &query.system_times);
        self.timing.emit = emit.map(|(emit, _)| emit).unwrap_or_default();
        let mut query = query.ast.clone();
        let mut found = rewrite::query(&self.catalog, &mut query, span);
        let findings = refuse::query::query(&self.catalog, &query, span, later);
        let reads_broken = findings.reads_broken;
        found.extend(findings.diagnostics);
        found.extend(names::columns(&mut query, span, renamed));
        found.extend(window::rewrite(&self.catalog, &mut query, span));
        if found.is_empty() && !reads_broken {
            found = findings.unnamed;
        }
        if reads_broken || !found.is_empty() {
            self.diagnostics.extend(found);
            return None;
        }
        let flow = query::query(&self.catalog, &query).map_err(|error| query::problems(&error));
        let (catalog, retention, timing) = (&self.catalog, self.retention, self.timing);
        let mut lowering = Lowering {
            catalog,
            graph: &mut self.graph,
            owner,
            retention,
            retention_used: false,
            timing,
            windows: 0,
            late: Vec::new(),
            looked_up_in: Vec::new(),
            firsts: Default::default(),
            query: &query,
        };
        let flow = flow.and_then(|plan| lowering.flow(&plan));
        let flow = flow
            .and_then(|flow| flow.named(TableReference::bare(owner)).map_err(|error| vec![failed(&error)]));
        let (windows, retention_used, mut late) = (lowering.windows, lowering.retention_used, lowering.late);
        let looked_up_in = lowering.looked_up_in;
        let flow = flow.map_err(|problems| self.report(problems, &query, span)).ok()?;
        if let (0, Some((Emit::Final, span))) = (windows, emit) {
            let error = Diagnostic::new(span, "EMIT FINAL needs a window, which has an end");
            self.diagnostics.push(error.hint("remove it: without a window every change is emitted"));
        }
        let unused = locate::unused_system_times(&query, system_times, &looked_up_in);
        if !unused.is_empty() {
            self.diagnostics.extend(unused);
            return None;
        }
        // Of two it would not be clear whose rows are meant.
        let late = late.pop().filter(|_| late.is_empty());
        Some(Lowered { flow, windows, retention_used, late })
    }

    /// Reports what is wrong with a query, at its place.
    fn report(&mut self, problems: Vec<Problem>, query: &datafusion_sql::sqlparser::ast::Query, span: Span) {
        let unknown = locate::unknown_columns(&self.catalog, query, &problems);
        if !unknown.is_empty() {
            self.diagnostics.extend(unknown);
            return;
        }
        let grouped = problems.iter().any(|problem| problem.message.ends_with("cannot be used here"));
        if let Some(place) = grouped.then(|| locate::grouped_aggregate(&self.catalog, query)).flatten() {
            let error = Diagnostic::new(place, "GROUP BY cannot use what an aggregate function makes");
            self.diagnostics.push(error.hint("put it into a view, and group that"));
            return;
        }
        let unplaced = problems.iter().any(|problem| !matches!(problem.place, Place::At(_)));
        let culprits = if unplaced { locate::in_query(&self.catalog, query) } else { Vec::new() };
        let placed = problems.into_iter().map(|problem| {
            let item = problem.column.as_ref().and_then(|name| locate::column(query, name));
            let count = problem.message.split_once(" names for the columns of").map(|(count, _)| count);
            let names = count.and_then(|count| locate::renamed_columns(query, count.parse().ok()?));
            problem.or_at(names).into_diagnostic(&culprits, item, span)
        });
        self.diagnostics.extend(placed);
    }

    /// Partitions are kept together only where something waits for them anyway: elsewhere nobody shall.
    fn decide_alignments(&mut self) {
        let waited_for = |source: &usize| {
            let mut bounds = self.graph.operators.iter().flat_map(Operator::bounds).flatten();
            bounds.any(|bound| bound.depends_on(*source))
        };
        let waited_for: Vec<usize> = self.undecided.iter().copied().filter(waited_for).collect();
        for index in waited_for {
            let source = &mut self.graph.sources[index];
            source.max_drift = Some(source::default_drift(source));
        }
    }

    fn finish(mut self, request: &Request) -> Result<Plan, Diagnostics> {
        if !self.diagnostics.is_empty() {
            let mut diagnostics = Diagnostics::new(request.file, request.text, self.diagnostics);
            diagnostics.list.dedup();
            return Err(diagnostics);
        }
        self.graph.remove_unread();
        narrow::operators(&mut self.graph);
        self.decide_alignments();
        Ok(Plan {
            name: request.name.to_owned(),
            directory: request.directory.to_owned(),
            sources: self.graph.sources,
            operators: self.graph.operators,
            arrangements: self.graph.arrangements,
            views: self.graph.views,
            sinks: self.graph.sinks,
            legs: self.graph.legs,
        })
    }
}
