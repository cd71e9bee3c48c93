//! `WITH ( key = 'value', ... )`: keys, values, and parameters in the values.

use datafusion_sql::sqlparser::tokenizer::{Span, Token};

use super::Context;
use super::tokens::Tokens;
use crate::compile::ast::{Name, OptionEntry, Options};
use crate::compile::diagnostic::Diagnostic;
use crate::nearest::nearest;

/// The WITH clause at `index`, which must be the last thing of the statement. Without one the options are
/// empty and reported at `place`.
pub(super) fn clause(
    context: &mut Context<'_>,
    tokens: Tokens<'_>,
    index: usize,
    place: Span,
) -> Option<Options> {
    if index >= tokens.len() {
        return Some(Options { entries: Vec::new(), span: place });
    }
    if !tokens.is(index, "WITH") {
        let message = format!("expected WITH ( ... ), found {}", tokens.show(index));
        let misspelt = tokens.word(index).and_then(|word| nearest(word, &["WITH"]));
        let hint =
            misspelt.map_or("options stand behind WITH: WITH (connector = '...')", |_| "did you mean WITH?");
        return context.take(Err(Diagnostic::new(tokens.at(index), message).hint(hint)));
    }
    let brackets = "options stand in brackets: WITH (connector = '...', ...)";
    let (group, next) = context.take(tokens.group(index + 1).map_err(|error| error.hint(brackets)))?;
    let options = options(context, group, tokens.range(index, next).span());
    let hint = match tokens.word(next).map(str::to_uppercase).as_deref() {
        Some("FORMAT" | "ENCODE") => "the format is an option: WITH (format = 'json')",
        Some("AS") => "in a sink the SELECT stands before WITH: CREATE SINK name AS SELECT ... WITH ( ... )",
        _ => "statements end with `;`",
    };
    context.take(tokens.end(next, "WITH ( ... )").map_err(|error| error.hint(hint)))?;
    Some(options)
}

/// What stands in the brackets; entries that are wrong are reported and left out.
pub(super) fn options(context: &mut Context<'_>, group: Tokens<'_>, span: Span) -> Options {
    let mut entries: Vec<OptionEntry> = Vec::new();
    for item in group.split_commas() {
        let Some(parsed) = context.take(entry(item)) else { continue };
        let Some(value) = replace_parameters(context, parsed.value) else { continue };
        if entries.iter().any(|other| other.key.value == parsed.key.value) {
            let message = format!("option `{}` stands twice", parsed.key.value);
            context.diagnostics.push(Diagnostic::new(parsed.key.span, message).hint("remove one of them"));
            continue;
        }
        entries.push(OptionEntry { key: parsed.key, value });
    }
    Options { entries, span }
}

/// `scan.startup.mode = 'latest'`; the key may stand in quotes, as in Flink.
fn entry(item: Tokens<'_>) -> Result<OptionEntry, Diagnostic> {
    if item.is_empty() {
        let message = format!("expected an option, found {}", item.show(0));
        return Err(Diagnostic::new(item.at(0), message).hint("name = 'value', with commas between"));
    }
    let equals = (0..item.len()).find(|index| item.get(*index) == Some(&Token::Eq));
    let Some(equals) = equals else {
        let name = item.word(0).unwrap_or("name");
        let message = format!("option `{}` has no value", item.text());
        let message = if item.len() > 1 {
            format!("expected {name} = '...', found `{}`", item.text())
        } else {
            message
        };
        return Err(Diagnostic::new(item.span(), message).hint(format!("write {name} = '...'")));
    };
    let key = key(item.range(0, equals))?;
    let value = item.from(equals + 1);
    let text = match (value.get(0), value.get(1)) {
        (Some(Token::SingleQuotedString(text)), _) => text.clone(),
        (Some(Token::Number(number, _)), _) => number.clone(),
        (Some(Token::Minus), Some(Token::Number(number, _))) => format!("-{number}"),
        (Some(Token::Word(word)), _) if ["true", "false"].contains(&word.value.to_lowercase().as_str()) => {
            word.value.to_lowercase()
        }
        _ => {
            let found = if value.is_empty() { value.show(0) } else { format!("`{}`", value.text()) };
            let message = format!("expected the value of `{}` in single quotes, found {found}", key.value);
            let error = Diagnostic::new(value.span(), message);
            let inside = match value.get(0) {
                Some(Token::Word(word)) if value.len() == 1 => word.value.as_str(),
                _ => "...",
            };
            return Err(error.hint(format!("write {} = '{inside}'", key.value)));
        }
    };
    let used = 1 + usize::from(value.get(0) == Some(&Token::Minus));
    value.end(used, "the value").map_err(|error| error.hint("options have commas between them"))?;
    Ok(OptionEntry { key, value: Name { value: text, span: value.range(0, used).span() } })
}

fn key(tokens: Tokens<'_>) -> Result<Name, Diagnostic> {
    let quoted = match tokens.get(0) {
        Some(Token::SingleQuotedString(text)) => Some(text.clone()),
        Some(Token::Word(word)) if word.quote_style.is_some() => Some(word.value.clone()),
        _ => None,
    };
    if let (Some(value), 1) = (quoted, tokens.len()) {
        return Ok(Name { value, span: tokens.span() });
    }
    let allowed = |index| matches!(tokens.get(index), Some(Token::Word(_) | Token::Period | Token::Minus));
    let name = tokens.text();
    if tokens.is_empty() || name.contains(char::is_whitespace) || !(0..tokens.len()).all(allowed) {
        let message = format!("expected the name of an option, found {}", tokens.show(0));
        return Err(Diagnostic::new(tokens.span(), message).hint("name = 'value', with commas between"));
    }
    Ok(Name { value: name.to_lowercase(), span: tokens.span() })
}

/// Puts in the values of `${NAME}`; every unset one is reported at its place.
fn replace_parameters(context: &mut Context<'_>, literal: Name) -> Option<Name> {
    let mut text = String::new();
    let mut rest = literal.value.as_str();
    let mut whole = true;
    while let Some(start) = rest.find("${") {
        text.push_str(&rest[..start]);
        let from = literal.value[..literal.value.len() - rest.len() + start].chars().count();
        let inner = &rest[start + 2..];
        let Some(end) = inner.find('}') else {
            let place = literal.part(from, literal.value.chars().count());
            let error = Diagnostic::new(place, "`${` without `}`").hint("a parameter is ${NAME}");
            context.diagnostics.push(error);
            return None;
        };
        let name = &inner[..end];
        match context.parameters.get(name) {
            Some(value) => text.push_str(value),
            None => {
                let place = literal.part(from, from + name.chars().count() + 3);
                context.diagnostics.push(unset(place, name, context.parameters.keys()));
                whole = false;
            }
        }
        rest = &inner[end + 1..];
    }
    text.push_str(rest);
    whole.then_some(Name { value: text, span: literal.span })
}

fn unset<'a>(place: Span, name: &str, known: impl Iterator<Item = &'a String>) -> Diagnostic {
    let known: Vec<&String> = known.collect();
    let near = nearest(name, &known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let set = format!("set it with --param {name}=... or in [parameters] of the configuration{near}");
    Diagnostic::new(place, format!("parameter `{name}` is not set")).hint(set)
}
