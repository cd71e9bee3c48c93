//! Configuration: `config/default.toml`, then `--config` files, then `TIDEMILL_*`, then flags, to [`Settings`].
//!
//! What a person typed is kept in `layers` with the place where it was typed, so that every complaint
//! names it; `typed` turns the merged text into what it means.

mod layers;
mod redact;
mod security;
mod typed;

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::settings::Settings;

pub use redact::{describe, redact_uri};

use layers::Layers;

/// The file that is part of the binary: every setting, with its default.
pub const DEFAULTS: &str = include_str!("../../../config/default.toml");

/// Variables with our prefix that are no settings: the log filter, and the build profile of the start script.
const OTHER_VARIABLES: [&str; 2] = ["TIDEMILL_LOG", "TIDEMILL_PROFILE"];

/// Everything that settings are made from, in the order in which later wins.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `--config`, in order.
    pub files: Vec<PathBuf>,
    /// Variables whose names begin with `TIDEMILL_`.
    pub environment: Vec<(String, String)>,
    /// Flags that stand for a setting.
    pub flags: Vec<Flag>,
    /// `--param name=value`.
    pub parameters: Vec<(String, String)>,
}

/// A setting that was given on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// As the user wrote it, for messages: `--state-dir`.
    pub name: String,
    /// The setting's key: `state_dir`, `flow.max_epoch_records`.
    pub key: String,
    /// Its value as text.
    pub value: String,
}

/// Merges all layers and checks what they say.
pub fn load(inputs: &Inputs) -> Result<Settings> {
    let mut layers = Layers::defaults(DEFAULTS)?;
    for path in &inputs.files {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::config(format!("cannot read the configuration '{}'", path.display())).caused_by(error)
        })?;
        layers.add_file(&path.display().to_string(), &text)?;
    }
    for (name, value) in &inputs.environment {
        if !OTHER_VARIABLES.contains(&name.as_str()) {
            layers.add_variable(name, value)?;
        }
    }
    for flag in &inputs.flags {
        layers.add_text(&flag.key, &flag.value, &flag.name)?;
    }
    for (name, value) in &inputs.parameters {
        layers.add_parameter(name, value);
    }
    typed::settings(&layers)
}

/// The variables of this process that begin with `TIDEMILL_`.
pub fn environment() -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with("TIDEMILL_")) else {
            continue;
        };
        let value = value
            .into_string()
            .map_err(|_| Error::config(format!("the environment variable {name} is not UTF-8")))?;
        variables.push((name.to_string(), value));
    }
    variables.sort();
    Ok(variables)
}

#[cfg(test)]
mod tests;
