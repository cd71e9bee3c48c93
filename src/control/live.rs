//! Live reads from outside: a key is turned into its canonical bytes and asked of the worker that holds it.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampNanosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, FieldRef};
use serde_json::Value;

use super::api::{Lookup, LookupError, ViewDescription};
use crate::canonical;
use crate::execution::{Execution, LookupRequest};
use crate::parse::timestamp::{date, rfc3339};

/// How long a worker may take to answer; it answers between two steps.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads rows of the views of a running execution.
pub struct LiveReads {
    pub execution: Arc<Execution>,
    /// Workers of all processes, and of this one.
    pub peers: usize,
    pub workers: usize,
    /// The worker threads, to be woken.
    pub threads: std::sync::Mutex<Vec<std::thread::Thread>>,
}

impl Lookup for LiveReads {
    fn views(&self) -> Vec<ViewDescription> {
        let field = |view: &crate::plan::ServedView, index: usize| view.schema.fields()[index].clone();
        let describe = |view: &crate::plan::ServedView| ViewDescription {
            name: view.name.clone(),
            columns: view.schema.fields().to_vec(),
            key: view.key.iter().map(|index| field(view, *index)).collect(),
        };
        self.execution.plan.views.iter().map(describe).collect()
    }

    fn get(&self, view: &str, key: &[Value]) -> Result<Option<String>, LookupError> {
        let views = &self.execution.plan.views;
        let Some(index) = views.iter().position(|served| served.name == view) else { return Ok(None) };
        let fields = views[index].key.iter().map(|column| &views[index].schema.fields()[*column]);
        let columns = fields.zip(key).map(|(field, value)| column(field, value));
        let columns = columns.collect::<Result<Vec<ArrayRef>, _>>()?;
        let bytes = canonical::encode(&columns, 1).row(0).to_vec();
        let worker = canonical::worker_of(canonical::key_group(&bytes), self.peers);
        let process = worker / self.workers;
        if process * self.workers != self.execution.first_worker {
            return Err(LookupError::Elsewhere(process));
        }
        let gone = || LookupError::NotNow("the dataflow is starting or stopping".to_owned());
        let local = worker - self.execution.first_worker;
        let (reply, answer) = crossbeam_channel::bounded(1);
        self.execution.lookups[local]
            .0
            .send(LookupRequest { view: index, key: bytes, reply })
            .map_err(|_| gone())?;
        if let Some(thread) = self.threads.lock().expect("no panic under this lock").get(local) {
            thread.unpark();
        }
        let answer = answer.recv_timeout(PATIENCE).map_err(|_| gone())?;
        answer.map_err(|error| LookupError::NotNow(error.to_string()))
    }
}

/// A key value as a column of one row.
fn column(field: &FieldRef, value: &Value) -> Result<ArrayRef, LookupError> {
    let bad = || LookupError::BadKey(format!("{value} is no value of key column \"{}\"", field.name()));
    if value.is_null() {
        return Ok(new_null_array(field.data_type(), 1));
    }
    Ok(match field.data_type() {
        DataType::Utf8 => Arc::new(StringArray::from(vec![value.as_str().ok_or_else(bad)?])),
        DataType::Int64 => Arc::new(Int64Array::from(vec![value.as_i64().ok_or_else(bad)?])),
        DataType::Int32 => {
            let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
            Arc::new(Int32Array::from(vec![number.ok_or_else(bad)?]))
        }
        DataType::Float64 => Arc::new(Float64Array::from(vec![value.as_f64().ok_or_else(bad)?])),
        DataType::Boolean => Arc::new(BooleanArray::from(vec![value.as_bool().ok_or_else(bad)?])),
        DataType::Timestamp(..) => {
            let time = value.as_str().and_then(rfc3339);
            Arc::new(TimestampNanosecondArray::from(vec![time.ok_or_else(bad)?]))
        }
        DataType::Date32 => {
            let date = value.as_str().and_then(date);
            Arc::new(Date32Array::from(vec![date.ok_or_else(bad)?]))
        }
        _ => return Err(bad()),
    })
}
