//! The results of string_agg and array_agg.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::FieldRef;

use crate::render;
use crate::transform::eval::TEXT_BYTES_MAX;

/// How the values of a group are put together.
#[derive(Clone, Debug)]
pub enum List {
    /// Texts with a separator in between.
    Text { separator: String },
    /// A JSON array of values of this field.
    Array { field: FieldRef },
}

/// The results of groups whose values stand one behind the other, up to the `ends`. A group without values
/// has none.
pub fn render(list: &List, values: &ArrayRef, ends: &[usize], errors: &mut Vec<(usize, String)>) -> ArrayRef {
    let mut start = 0;
    let results = ends.iter().enumerate().map(|(place, end)| {
        let range = start..*end;
        start = *end;
        if range.is_empty() {
            return None;
        }
        let text = match list {
            List::Text { separator } => {
                let texts = values.as_string::<i32>();
                joined(range.map(|row| texts.value(row)), separator)
            }
            List::Array { field } => array(values.as_ref(), field, range),
        };
        if text.is_none() {
            errors.push((place, format!("the result is longer than {TEXT_BYTES_MAX} bytes")));
        }
        text
    });
    Arc::new(results.collect::<StringArray>())
}

fn joined<'a>(texts: impl Iterator<Item = &'a str>, separator: &str) -> Option<String> {
    let mut joined = String::new();
    for (number, text) in texts.enumerate() {
        if number > 0 {
            joined.push_str(separator);
        }
        joined.push_str(text);
        if joined.len() > TEXT_BYTES_MAX {
            return None;
        }
    }
    Some(joined)
}

fn array(values: &dyn Array, field: &FieldRef, rows: std::ops::Range<usize>) -> Option<String> {
    let mut text = Vec::new();
    render::write_array(&mut text, field, values, rows);
    (text.len() <= TEXT_BYTES_MAX).then(|| String::from_utf8(text).expect("names and values are text"))
}
