//! HTTP: health, metrics, and rows of views by key.
//!
//! Handlers run on a small runtime of their own. A row is asked for through [`Lookup`], which may block: it
//! runs on the runtime's threads for that, never on a worker.

mod handlers;
mod key;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::datatypes::FieldRef;
use serde_json::Value;
use tokio::sync::oneshot;

use super::telemetry::Telemetry;
use crate::error::{Error, Result};

pub use key::path;

/// Rows of the served views, as of the last complete epoch.
pub trait Lookup: Send + Sync {
    /// The views that are served.
    fn views(&self) -> Vec<ViewDescription>;

    /// The row of a key as a JSON object; `None` when there is none. The key has one value per key column, in
    /// their order: text, numbers and booleans as such, timestamps as RFC 3339 text. May block.
    fn get(&self, view: &str, key: &[Value]) -> Result<Option<String>, LookupError>;
}

/// A view as it is served.
#[derive(Clone, Debug)]
pub struct ViewDescription {
    pub name: String,
    pub columns: Vec<FieldRef>,
    /// The key columns, in order.
    pub key: Vec<FieldRef>,
}

/// Why a row cannot be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupError {
    /// The key cannot be a key of this view.
    BadKey(String),
    /// Another process holds the key.
    Elsewhere(usize),
    /// The view is not there yet, or not any more.
    NotNow(String),
}

/// What the server serves.
#[derive(Clone)]
pub struct Api {
    pub telemetry: Arc<Telemetry>,
    pub lookup: Arc<dyn Lookup>,
    /// `host:port` of every process's server, for keys that another one holds; see [`addresses`].
    pub peers: Vec<String>,
}

/// `host:port` of the server of every process: process p listens p ports above process 0, on the host that
/// the hosts file gives it; without one, on the host of the setting.
pub fn addresses(listen: SocketAddr, hosts: &[String]) -> Vec<String> {
    let port = |process: usize| usize::from(listen.port()) + process;
    if hosts.is_empty() {
        return vec![listen.to_string()];
    }
    let name = |host: &str| host.rsplit_once(':').map_or(host.to_string(), |(name, _)| name.to_string());
    hosts.iter().enumerate().map(|(process, host)| format!("{}:{}", name(host), port(process))).collect()
}

/// A running server; it stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts the server of a process: `process` ports above `listen`.
    pub fn start(listen: SocketAddr, process: usize, api: Api) -> Result<Server> {
        let failed = |error: std::io::Error| Error::internal("cannot start the HTTP server").caused_by(error);
        let address = of_process(listen, process)?;
        let listener = TcpListener::bind(address).map_err(|error| {
            Error::config(format!("cannot serve HTTP on {address}"))
                .caused_by(error)
                .hint("choose another address with http.listen, or --no-http")
        })?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "HTTP is served beyond this machine, without authentication");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            // As many rows can be asked for at the same time; further requests wait.
            .max_blocking_threads(16)
            .thread_name("http")
            .enable_all()
            .build()
            .map_err(failed)?;
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::select! {
                result = axum::serve(listener, handlers::router(api)).into_future() => result,
                // Open connections are cut: whoever asks while we stop asks again elsewhere.
                _ = stopped => Ok(()),
            }
        };
        let thread = std::thread::Builder::new().name("http".to_string()).spawn(move || {
            if let Err(error) = runtime.block_on(serve) {
                tracing::error!(%error, "the HTTP server has stopped");
            }
            runtime.shutdown_background();
        });
        Ok(Server { address, stop: Some(stop), thread: Some(thread.map_err(failed)?) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // It has stopped already when nobody receives this.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            // A panic in there has ended the process already.
            let _ = thread.join();
        }
    }
}

fn of_process(listen: SocketAddr, process: usize) -> Result<SocketAddr> {
    let port = u16::try_from(process).ok().and_then(|process| listen.port().checked_add(process));
    let port = port.ok_or_else(|| {
        Error::config(format!("there is no port for HTTP of process {process} above {listen}"))
            .hint("choose a lower port with http.listen")
    })?;
    Ok(SocketAddr::new(listen.ip(), port))
}
