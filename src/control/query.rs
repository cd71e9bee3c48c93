//! `tidemill query`: one row of a view of a running dataflow.

use std::time::Duration;

use serde_json::Value;

use super::api;
use crate::error::{Error, Result};

/// Longer than the server itself waits.
const TIMEOUT: Duration = Duration::from_secs(15);

/// The row of a key as JSON text. `address` is `host:port`, or a URL.
pub fn get(address: &str, view: &str, key: Option<&str>) -> Result<String> {
    let base = if address.contains("://") { address.to_string() } else { format!("http://{address}") };
    let base = base.trim_end_matches('/');
    let url = format!("{base}{}", api::path(view, key));
    let away = |error: ureq::Error| {
        Error::away(format!("no answer from {base}"))
            .caused_by(error)
            .hint("is the dataflow running, with HTTP? --address says where")
    };
    let request = ureq::get(&url).config().http_status_as_error(false).timeout_global(Some(TIMEOUT)).build();
    let mut response = request.call().map_err(away)?;
    let body = response.body_mut().read_to_string().map_err(away)?;
    if response.status().is_success() {
        return Ok(body);
    }
    Err(refusal(base, response.status().as_u16(), &body))
}

/// The server's own words, where it is one of ours.
fn refusal(base: &str, code: u16, body: &str) -> Error {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(message) = body["error"].as_str() else {
        return Error::config(format!("{base} answers {code}; it is not a tidemill process"));
    };
    let error = Error::config(message);
    match body["views"].as_array() {
        Some(views) => {
            let views: Vec<&str> = views.iter().filter_map(Value::as_str).collect();
            error.hint(format!("views: {}", views.join(", ")))
        }
        None => error,
    }
}
