//! Settings as they may be shown.

use std::fmt::Write;

use crate::settings::Settings;

/// A connection string without what may be secret in it: `mongodb://***@host:port/database`.
///
/// Options go, too, since some of them carry credentials.
pub fn redact_uri(uri: &str) -> String {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return "***".to_string();
    };
    let path = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(path);
    if path.contains('@') {
        // An unescaped password or an option with one: nobody can tell where the host begins.
        return format!("{scheme}://***");
    }
    let path = path.split('?').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, hosts)) => format!("{scheme}://***@{hosts}{path}"),
        None => format!("{scheme}://{authority}{path}"),
    }
}

/// One line for the log: where data comes from and goes to, without secrets.
pub fn describe(settings: &Settings) -> String {
    let mut line = format!("state in {}", settings.state_dir.display());
    let kafka = settings.kafka.bootstrap_servers.as_deref().unwrap_or("embedded");
    let mongodb = settings.mongodb.uri.as_ref().map(|uri| redact_uri(uri.expose()));
    let mongodb = mongodb.as_deref().unwrap_or("embedded");
    write!(line, ", kafka {kafka}, mongodb {mongodb}").expect("a text takes what is written");
    line
}
