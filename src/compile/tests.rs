//! The compiler as a whole: text to plans, and text to mistakes.

mod comparisons;
mod evaluate;
mod functions;
mod good;
mod interval;
mod join;
mod table;
mod traps;
mod wrong;

use std::collections::BTreeMap;
use std::path::Path;

use super::{Request, compile};
use crate::compile::diagnostic::Diagnostics;
use crate::plan::Plan;

/// A source that most tests read.
pub(super) const TELEMETRY: &str = r#"CREATE SOURCE telemetry (
    did TEXT NOT NULL, name TEXT NOT NULL, f DOUBLE, i BIGINT, n INT, b BOOLEAN, "eventTime" TIMESTAMP NOT NULL,
    payload JSON METADATA FROM 'payload', at TIMESTAMP METADATA FROM 'ingestion_time',
    WATERMARK FOR "eventTime" AS "eventTime" - INTERVAL '10 seconds'
) WITH (connector = 'kafka', topic = 'telemetry');
"#;

/// Compiles `text` as it is.
pub(super) fn compiled(text: &str) -> Result<Plan, Diagnostics> {
    let parameters = BTreeMap::new();
    let directory = Path::new("dataflows/test");
    compile(&Request { file: "dataflow.sql", text, name: "test", directory, parameters: &parameters })
}

/// Compiles `text` behind the source `telemetry`; it must be right.
pub(super) fn plan(text: &str) -> Plan {
    compiled(&format!("{TELEMETRY}{text}")).unwrap_or_else(|wrong| panic!("{wrong}"))
}
