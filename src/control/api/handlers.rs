//! What is answered to each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use super::{Api, LookupError, key};
use crate::control::metrics;
use crate::nearest::nearest;

/// How long a row may take: longer than any step of a worker.
const LOOKUP: Duration = Duration::from_secs(10);

/// All routes.
pub fn router(api: Api) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/views", get(views))
        .route("/v1/views/{view}", get(only_row))
        .route("/v1/views/{view}/{key}", get(row))
        .fallback(nowhere)
        .with_state(Arc::new(api))
}

async fn readyz(State(api): State<Arc<Api>>) -> Response {
    let reasons = api.telemetry.status().not_ready();
    let code = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(json!({"ready": reasons.is_empty(), "reasons": reasons}))).into_response()
}

async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let content = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content, metrics::render(&api.telemetry)).into_response()
}

async fn status(State(api): State<Arc<Api>>) -> Response {
    let status = api.telemetry.status().clone();
    axum::Json(status).into_response()
}

async fn views(State(api): State<Arc<Api>>) -> Response {
    let rows = |name: &str| {
        let status = api.telemetry.status();
        status.views.iter().find(|view| view.name == name).map(|view| view.rows)
    };
    let views = api.lookup.views();
    let views = views.iter().map(|view| {
        let names = |fields: &[arrow::datatypes::FieldRef]| -> Vec<String> {
            fields.iter().map(|field| field.name().clone()).collect()
        };
        json!({"name": view.name, "key": names(&view.key), "columns": names(&view.columns), "rows": rows(&view.name)})
    });
    axum::Json(Value::from_iter(views)).into_response()
}

/// The row of a view whose key has no columns.
async fn only_row(State(api): State<Arc<Api>>, Path(view): Path<String>) -> Response {
    lookup(api, view, None).await
}

async fn row(State(api): State<Arc<Api>>, Path((view, text)): Path<(String, String)>) -> Response {
    lookup(api, view, Some(text)).await
}

async fn lookup(api: Arc<Api>, view: String, text: Option<String>) -> Response {
    let views = api.lookup.views();
    let Some(description) = views.into_iter().find(|known| known.name == view) else {
        return unknown_view(&api, &view);
    };
    let key = match key::parse(text.as_deref(), &description.key) {
        Ok(key) => key,
        Err(message) => return failure(StatusCode::BAD_REQUEST, format!("view {view}: {message}")),
    };
    let lookup = Arc::clone(&api.lookup);
    let name = view.clone();
    let answer = tokio::task::spawn_blocking(move || lookup.get(&name, &key));
    let answer = match tokio::time::timeout(LOOKUP, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Err(LookupError::NotNow(error.to_string())),
        Err(_) => Err(LookupError::NotNow(format!("no answer within {} s", LOOKUP.as_secs()))),
    };
    respond(&api, &view, text.as_deref(), answer)
}

fn respond(
    api: &Api,
    view: &str,
    text: Option<&str>,
    answer: Result<Option<String>, LookupError>,
) -> Response {
    let telemetry = &api.telemetry;
    let count = |counter: &AtomicU64| _ = counter.fetch_add(1, Ordering::Relaxed);
    match answer {
        Ok(Some(row)) => {
            count(&telemetry.lookups_found);
            ([(header::CONTENT_TYPE, "application/json")], row).into_response()
        }
        Ok(None) => {
            count(&telemetry.lookups_missing);
            let which = text.map_or(String::new(), |text| format!(" with the key {text}"));
            failure(StatusCode::NOT_FOUND, format!("view {view} has no row{which}"))
        }
        Err(LookupError::Elsewhere(process)) if process < api.peers.len() => {
            let path = key::path(view, text);
            let location = format!("http://{}{path}", api.peers[process]);
            (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, location)]).into_response()
        }
        Err(LookupError::Elsewhere(process)) => {
            count(&telemetry.lookups_failed);
            failure(StatusCode::SERVICE_UNAVAILABLE, format!("process {process} holds this key"))
        }
        Err(LookupError::BadKey(message)) => {
            count(&telemetry.lookups_failed);
            failure(StatusCode::BAD_REQUEST, format!("view {view}: {message}"))
        }
        Err(LookupError::NotNow(message)) => {
            count(&telemetry.lookups_failed);
            failure(StatusCode::SERVICE_UNAVAILABLE, format!("view {view}: {message}"))
        }
    }
}

fn unknown_view(api: &Api, view: &str) -> Response {
    let views: Vec<String> = api.lookup.views().into_iter().map(|view| view.name).collect();
    let mut message = format!("no view '{view}'");
    if let Some(nearest) = nearest(view, &views) {
        message.push_str(&format!(", did you mean {nearest}?"));
    }
    (StatusCode::NOT_FOUND, axum::Json(json!({"error": message, "views": views}))).into_response()
}

async fn nowhere(uri: Uri) -> Response {
    let paths =
        "/healthz, /readyz, /metrics, /v1/status, /v1/views, /v1/views/{view}, /v1/views/{view}/{key}";
    failure(StatusCode::NOT_FOUND, format!("nothing at {}; there are {paths}", uri.path()))
}

fn failure(code: StatusCode, message: String) -> Response {
    (code, axum::Json(json!({"error": message}))).into_response()
}
