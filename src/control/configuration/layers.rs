//! Settings as they were typed: one value per key, with the place it came from.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::error::{Error, Result};
use crate::nearest::nearest;

/// Tables whose keys are the user's own.
const KAFKA_PROPERTIES: &str = "kafka.properties";
const PARAMETERS: &str = "parameters";

const PREFIX: &str = "TIDEMILL_";
const PARAMETER_PREFIX: &str = "TIDEMILL_PARAM_";
const PROPERTY_PREFIX: &str = "TIDEMILL_KAFKA__PROPERTIES__";

/// A value and where it was typed.
#[derive(Clone, Debug)]
struct Entry {
    value: Value,
    origin: String,
}

/// All layers merged. The default file decides which keys there are and of which type each is.
#[derive(Debug)]
pub struct Layers {
    entries: BTreeMap<String, Entry>,
    pub kafka_properties: BTreeMap<String, String>,
    pub parameters: BTreeMap<String, String>,
}

impl Layers {
    /// The lowest layer, which defines the keys.
    pub fn defaults(text: &str) -> Result<Layers> {
        let mut layers = Layers {
            entries: BTreeMap::new(),
            kafka_properties: BTreeMap::new(),
            parameters: BTreeMap::new(),
        };
        let mut leaves = Vec::new();
        flatten("", parse("config/default.toml", text)?, &mut leaves);
        for (key, value) in leaves {
            layers.entries.insert(key, Entry { value, origin: "the default".to_string() });
        }
        Ok(layers)
    }

    /// Lays a file over what is there.
    pub fn add_file(&mut self, name: &str, text: &str) -> Result<()> {
        let mut leaves = Vec::new();
        flatten("", parse(name, text)?, &mut leaves);
        leaves.into_iter().try_for_each(|(key, value)| self.add(&key, value, name))
    }

    /// Lays `TIDEMILL_<SECTION>__<KEY>` or `TIDEMILL_PARAM_<NAME>` over what is there.
    pub fn add_variable(&mut self, name: &str, value: &str) -> Result<()> {
        if let Some(parameter) = name.strip_prefix(PARAMETER_PREFIX) {
            self.add_parameter(parameter, value);
            return Ok(());
        }
        if let Some(property) = name.strip_prefix(PROPERTY_PREFIX) {
            self.kafka_properties.insert(property.to_lowercase().replace('_', "."), value.to_string());
            return Ok(());
        }
        let key = self.entries.keys().find(|key| variable(key) == name).cloned();
        match key {
            Some(key) => self.add_text(&key, value, &format!("the environment variable {name}")),
            None => {
                let names: Vec<String> = self.entries.keys().map(|key| variable(key)).collect();
                let error = Error::config(format!("unknown setting in the environment: {name}"));
                Err(with_nearest(error, name, names.iter().map(String::as_str)))
            }
        }
    }

    /// Lays a value given as text over what is there, read as the type of its setting.
    pub fn add_text(&mut self, key: &str, text: &str, origin: &str) -> Result<()> {
        let value = match self.entries.get(key).map(|entry| &entry.value) {
            Some(Value::Integer(_)) => text.trim().parse().map(Value::Integer).ok(),
            Some(Value::Boolean(_)) => text.trim().parse().map(Value::Boolean).ok(),
            _ => None,
        };
        self.add(key, value.unwrap_or_else(|| Value::String(text.to_string())), origin)
    }

    /// Sets a replacement for `${name}`.
    pub fn add_parameter(&mut self, name: &str, value: &str) {
        self.parameters.insert(name.to_string(), value.to_string());
    }

    /// All fixed settings as a table again.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        for (key, entry) in &self.entries {
            match key.split_once('.') {
                None => table.insert(key.clone(), entry.value.clone()),
                Some((section, key)) => {
                    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                    section
                        .as_table_mut()
                        .and_then(|table| table.insert(key.to_string(), entry.value.clone()))
                }
            };
        }
        table
    }

    /// Where the value of a key came from.
    pub fn origin(&self, key: &str) -> &str {
        self.entries.get(key).map_or("the default", |entry| &entry.origin)
    }

    /// All keys with their values as they would be typed.
    #[cfg(test)]
    pub fn listed(&self) -> Vec<(String, String)> {
        self.entries.iter().map(|(key, entry)| (key.clone(), entry.value.to_string())).collect()
    }

    fn add(&mut self, key: &str, value: Value, origin: &str) -> Result<()> {
        for (table, entries) in
            [(KAFKA_PROPERTIES, &mut self.kafka_properties), (PARAMETERS, &mut self.parameters)]
        {
            let inner = key.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
            if let Some(inner) = inner {
                entries.insert(inner.to_string(), as_text(key, value, origin)?);
                return Ok(());
            }
        }
        let Some(entry) = self.entries.get_mut(key) else {
            let error = Error::config(format!("{origin}: unknown setting '{key}'"));
            return Err(with_nearest(error, key, self.entries.keys().map(String::as_str)));
        };
        check_type(key, &entry.value, &value, origin)?;
        *entry = Entry { value, origin: origin.to_string() };
        Ok(())
    }
}

/// Name of the environment variable of a setting.
pub fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

fn parse(name: &str, text: &str) -> Result<Table> {
    text.parse::<Table>().map_err(|error| {
        // The error's own text would show the line, which may hold a secret.
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        Error::config(format!("{name}:{line}: not valid TOML: {}", error.message()))
    })
}

/// Leaves of a table with their keys; what is empty has none.
fn flatten(prefix: &str, table: Table, leaves: &mut Vec<(String, Value)>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(inner) => flatten(&key, inner, leaves),
            leaf => leaves.push((key, leaf)),
        }
    }
}

fn check_type(key: &str, default: &Value, value: &Value, origin: &str) -> Result<()> {
    let expected = match (default, value) {
        (Value::Integer(_), Value::Integer(number)) if *number >= 0 => return Ok(()),
        (Value::Integer(_), _) => "a whole number, 0 or more",
        (Value::Boolean(_), Value::Boolean(_)) | (Value::String(_), Value::String(_)) => return Ok(()),
        (Value::Boolean(_), _) => "true or false",
        _ => "a text in quotes",
    };
    Err(Error::config(format!("{origin}: {key} must be {expected}")))
}

fn as_text(key: &str, value: Value, origin: &str) -> Result<String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.to_string()),
        _ => Err(Error::config(format!("{origin}: {key} must be a text in quotes"))),
    }
}

fn with_nearest<'a>(error: Error, name: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    match nearest(name, &known) {
        Some(nearest) => error.hint(format!("did you mean {nearest}?")),
        None => error.hint("config/default.toml and docs/settings.md list all settings"),
    }
}
