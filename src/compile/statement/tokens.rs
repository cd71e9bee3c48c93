//! The tokens of a file, cut into pieces that know their place and their text.

use datafusion_sql::sqlparser::ast;
use datafusion_sql::sqlparser::keywords::Keyword as K;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer, Word};

use super::explain;
use crate::compile::ast::{Expression, Name};
use crate::compile::diagnostic::Diagnostic;
use crate::compile::dialect::TidemillDialect;

/// Nested brackets and subqueries; deeper ones would need more stack than a thread may have.
pub(super) const DEPTH_MAX: usize = 64;
/// Operators in one expression and branches of UNION, INTERSECT and EXCEPT in one query: planning recurses over them.
const OPERATORS_MAX: usize = 200;

/// The text of a file, addressed by line and column.
pub(super) struct SourceText<'a> {
    text: &'a str,
    /// Byte at which each line starts.
    lines: Vec<usize>,
}

impl<'a> SourceText<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        SourceText { text, lines }
    }

    fn byte(&self, location: Location) -> usize {
        let line = usize::try_from(location.line.saturating_sub(1)).unwrap_or(usize::MAX);
        let column = usize::try_from(location.column.saturating_sub(1)).unwrap_or(usize::MAX);
        let Some(start) = self.lines.get(line).copied() else { return self.text.len() };
        let rest = &self.text[start..];
        start + rest.char_indices().nth(column).map_or(rest.len(), |(at, _)| at)
    }

    pub(super) fn slice(&self, span: Span) -> &'a str {
        let (from, to) = (self.byte(span.start), self.byte(span.end));
        self.text.get(from..to).unwrap_or_default()
    }

    /// All tokens but blanks and comments, up to the first character that is none.
    pub(super) fn tokenize(&self) -> (Vec<TokenWithSpan>, Option<Diagnostic>) {
        let mut tokens = Vec::new();
        let result = Tokenizer::new(&TidemillDialect, self.text).tokenize_with_location_into_buf(&mut tokens);
        tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
        let error = result.err().map(|error| self.lexical(&tokens, &error.message, error.location));
        (tokens, error)
    }

    /// Something that begins and does not end. The tokenizer stops at the last quote, though the one without
    /// a partner is an earlier one, whose text goes over the end of its line.
    fn lexical(&self, tokens: &[TokenWithSpan], message: &str, location: Location) -> Diagnostic {
        let over_lines = |token: &&TokenWithSpan| {
            let quoted = matches!(&token.token, Token::SingleQuotedString(_))
                || matches!(&token.token, Token::Word(word) if word.quote_style.is_some());
            quoted && token.span.start.line < token.span.end.line
        };
        let first = tokens.iter().find(over_lines).map(|token| token.span.start);
        let (what, hint, location) = if message.contains("string literal") {
            ("the text in quotes does not end", "close it with '", first.unwrap_or(location))
        } else if message.contains("close delimiter") {
            ("the name in quotes does not end", "close it with \"", first.unwrap_or(location))
        } else if message.contains("comment") {
            let from = tokens.last().map_or(0, |last| self.byte(last.span.end));
            let start = self.text[from..].find("/*").map_or(from, |at| from + at);
            ("the comment does not end", "close it with */; comments nest", self.location(start))
        } else {
            let error = Diagnostic::new(one_character(location), lower_first(message.trim_end_matches('.')));
            return error.hint("nothing behind this place has been looked at");
        };
        let hint = format!("{hint}. Nothing behind this place has been looked at");
        Diagnostic::new(one_character(location), what).hint(hint)
    }

    fn location(&self, byte: usize) -> Location {
        let line = self.lines.partition_point(|start| *start <= byte).max(1);
        let column = self.text[self.lines[line - 1]..byte].chars().count() + 1;
        Location::new(line as u64, column as u64)
    }
}

/// A run of tokens.
#[derive(Clone, Copy)]
pub(super) struct Tokens<'a> {
    list: &'a [TokenWithSpan],
    /// Where something that is missing behind the last token is reported.
    end: Span,
    source: &'a SourceText<'a>,
}

impl<'a> Tokens<'a> {
    /// The tokens of a statement; `end` is its semicolon where it has one.
    pub(super) fn new(list: &'a [TokenWithSpan], end: Option<Span>, source: &'a SourceText<'a>) -> Self {
        let behind = || list.last().map_or(Span::empty(), |last| one_character(last.span.end));
        Tokens { list, end: end.unwrap_or_else(behind), source }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The tokens `from..to`; what lies outside is left out.
    pub(super) fn range(&self, from: usize, to: usize) -> Tokens<'a> {
        let to = to.min(self.len());
        let from = from.min(to);
        let end = match self.list.get(to) {
            Some(next) => next.span,
            None => self.end,
        };
        Tokens { list: &self.list[from..to], end, source: self.source }
    }

    pub(super) fn from(&self, from: usize) -> Tokens<'a> {
        self.range(from, self.len())
    }

    pub(super) fn get(&self, index: usize) -> Option<&'a Token> {
        self.list.get(index).map(|token| &token.token)
    }

    /// The token that starts at a place.
    pub(super) fn find(&self, location: Location) -> Option<usize> {
        self.list.iter().position(|token| token.span.start == location)
    }

    /// Place of a token, or of the end.
    pub(super) fn at(&self, index: usize) -> Span {
        self.list.get(index).map_or(self.end, |token| token.span)
    }

    /// From the first to the last token.
    pub(super) fn span(&self) -> Span {
        match (self.list.first(), self.list.last()) {
            (Some(first), Some(last)) => Span::new(first.span.start, last.span.end),
            _ => self.end,
        }
    }

    /// As written.
    pub(super) fn text(&self) -> &'a str {
        self.source.slice(self.span())
    }

    /// A token as written, for messages.
    pub(super) fn show(&self, index: usize) -> String {
        match self.source.slice(self.at(index)).trim() {
            "" => "the end".to_owned(),
            text => format!("`{text}`"),
        }
    }

    /// Whether the token is this unquoted word.
    pub(super) fn is(&self, index: usize, word: &str) -> bool {
        self.word(index).is_some_and(|w| w.eq_ignore_ascii_case(word))
    }

    /// Whether these unquoted words stand at `index`.
    pub(super) fn are(&self, index: usize, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.is(index + i, word))
    }

    /// The unquoted word at `index`.
    pub(super) fn word(&self, index: usize) -> Option<&'a str> {
        match self.get(index) {
            Some(Token::Word(word)) if word.quote_style.is_none() => Some(&word.value),
            _ => None,
        }
    }

    /// Index and depth of each token; an opening bracket and its closing one have the depth outside.
    pub(super) fn depths(&self) -> impl Iterator<Item = (usize, usize, &'a Token)> + use<'a> {
        let mut depth = 0_usize;
        self.list.iter().enumerate().map(move |(index, token)| {
            if closes(&token.token) {
                depth = depth.saturating_sub(1);
            }
            let here = depth;
            if opens(&token.token) {
                depth += 1;
            }
            (index, here, &token.token)
        })
    }

    /// The pieces between commas outside of brackets.
    pub(super) fn split_commas(&self) -> Vec<Tokens<'a>> {
        let mut pieces = Vec::new();
        let mut from = 0;
        for (index, depth, token) in self.depths() {
            if depth == 0 && *token == Token::Comma {
                pieces.push(self.range(from, index));
                from = index + 1;
            }
        }
        pieces.push(self.from(from));
        pieces
    }

    /// What stands in the brackets that open at `index`, and the index behind them.
    pub(super) fn group(&self, index: usize) -> Result<(Tokens<'a>, usize), Diagnostic> {
        if self.get(index) != Some(&Token::LParen) {
            let message = format!("expected `(`, found {}", self.show(index));
            return Err(
                Diagnostic::new(self.at(index), message).hint("what follows stands in brackets: ( ... )")
            );
        }
        let rest = self.from(index);
        let close = rest.depths().find(|(i, depth, _)| *i > 0 && *depth == 0).map(|(i, _, _)| i);
        match close {
            Some(close) => Ok((rest.range(1, close), index + close + 1)),
            None => Err(Diagnostic::new(self.at(index), "this `(` is never closed").hint("close it")),
        }
    }

    /// Every bracket that has no partner. Reported before anything else, since all else would follow from it.
    pub(super) fn unbalanced(&self) -> Option<Diagnostic> {
        let mut open = Vec::new();
        for (index, token) in self.list.iter().enumerate() {
            if opens(&token.token) {
                open.push(index);
            } else if closes(&token.token) && open.pop().is_none() {
                let message = format!("{} closes nothing", self.show(index));
                return Some(Diagnostic::new(token.span, message).hint("remove it, or open it before"));
            }
        }
        let index = open.pop()?;
        let message = format!("this {} is never closed", self.show(index));
        Some(Diagnostic::new(self.at(index), message).hint("close it; a `;` ends the statement in any case"))
    }

    /// A name: unquoted in lower case, in double quotes as it stands.
    pub(super) fn name(&self, index: usize, what: &str) -> Result<Name, Diagnostic> {
        const RESERVED: &[&str] = &["as", "select", "from", "with", "where", "group", "create", "if"];
        let expected = |hint: Option<&str>| {
            let message = format!("expected {what}, found {}", self.show(index));
            let error = Diagnostic::new(self.at(index), message);
            hint.into_iter().fold(error, |error, hint| error.hint(hint))
        };
        let value = match self.get(index) {
            Some(Token::Word(word)) => match word.quote_style {
                Some(_) => word.value.clone(),
                None => word.value.to_lowercase(),
            },
            Some(Token::SingleQuotedString(_)) => {
                return Err(expected(Some("names stand in double quotes, texts in single ones")));
            }
            Some(Token::Number(..)) => {
                return Err(expected(Some(
                    "names begin with a letter or `_`; others stand in double quotes",
                )));
            }
            _ => {
                return Err(expected(Some("a name begins with a letter or `_`, or stands in double quotes")));
            }
        };
        if value.is_empty() {
            return Err(expected(Some("a name has at least one character")));
        }
        if self.word(index).is_some() && RESERVED.contains(&value.as_str()) {
            return Err(expected(Some("a name that is also a word of SQL stands in double quotes")));
        }
        Ok(Name { value, span: self.at(index) })
    }

    /// A text in single quotes.
    pub(super) fn string(&self, index: usize, what: &str) -> Result<Name, Diagnostic> {
        match self.get(index) {
            Some(Token::SingleQuotedString(value)) => Ok(Name { value: value.clone(), span: self.at(index) }),
            _ => {
                let message = format!("expected {what} in single quotes, found {}", self.show(index));
                Err(Diagnostic::new(self.at(index), message).hint("texts stand in single quotes: 'text'"))
            }
        }
    }

    /// Demands that nothing follows from `index` on.
    pub(super) fn end(&self, index: usize, behind: &str) -> Result<(), Diagnostic> {
        if index >= self.len() {
            return Ok(());
        }
        let message = format!("unexpected {} behind {behind}", self.show(index));
        Err(Diagnostic::new(self.at(index), message).hint("remove it, or is a comma missing in front of it?"))
    }

    /// All of it as one expression.
    pub(super) fn expression(&self, what: &str) -> Result<Expression, Diagnostic> {
        if self.is_empty() {
            let error = Diagnostic::new(self.end, format!("expected {what}, found {}", self.show(0)));
            return Err(error.hint("write one, or remove what asks for it"));
        }
        let ast = self.parse(|parser| parser.parse_expr())?;
        Ok(Expression { ast, span: self.span(), text: self.text().to_owned() })
    }

    /// All of it as one query.
    pub(super) fn query(&self) -> Result<Box<ast::Query>, Diagnostic> {
        if self.is_empty() {
            return Err(Diagnostic::new(self.end, "expected a SELECT").hint("write SELECT ... FROM ..."));
        }
        self.parse(|parser| parser.parse_query())
    }

    fn parse<T>(
        &self,
        parse: impl FnOnce(&mut Parser<'_>) -> Result<T, ParserError>,
    ) -> Result<T, Diagnostic> {
        self.small_enough()?;
        let mut parser = Parser::new(&TidemillDialect)
            .with_recursion_limit(DEPTH_MAX)
            .with_tokens_with_locations(self.list.to_vec());
        let parsed = parse(&mut parser).map_err(|error| explain::error(self, &error, parser.index()))?;
        let rest = parser.index();
        match parser.peek_token_ref().token {
            Token::EOF => Ok(parsed),
            _ => Err(explain::unexpected(self, rest)),
        }
    }

    /// Chains of operators become trees of that depth, over which everything behind the parser recurses.
    fn small_enough(&self) -> Result<(), Diagnostic> {
        let mut counts = Vec::new();
        let mut unions = 0;
        for (index, depth, token) in self.depths() {
            counts.resize(depth + 1, 0);
            let count = &mut counts[depth];
            match token {
                Token::Comma => *count = 0,
                token if is_operator(token) => *count += 1,
                Token::Word(Word { keyword: K::UNION | K::INTERSECT | K::EXCEPT | K::MINUS, .. }) => {
                    unions += 1
                }
                _ => {}
            }
            if (*count).max(unions) > OPERATORS_MAX {
                let message = format!("more than {OPERATORS_MAX} operators in a row");
                return Err(Diagnostic::new(self.at(index), message).hint("split it over several views"));
            }
        }
        Ok(())
    }
}

fn opens(token: &Token) -> bool {
    matches!(token, Token::LParen | Token::LBracket | Token::LBrace)
}

fn closes(token: &Token) -> bool {
    matches!(token, Token::RParen | Token::RBracket | Token::RBrace)
}

pub(super) fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => {
            matches!(
                word.keyword,
                K::AND
                    | K::OR
                    | K::NOT
                    | K::JOIN
                    | K::IS
                    | K::IN
                    | K::BETWEEN
                    | K::LIKE
                    | K::ILIKE
                    | K::AT
                    | K::COLLATE
            )
        }
        Token::Plus | Token::Minus | Token::Mul | Token::Div | Token::Mod | Token::StringConcat => true,
        Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => true,
        Token::DoubleColon | Token::LBracket => true,
        _ => false,
    }
}

pub(super) fn one_character(at: Location) -> Span {
    Span::new(at, Location::new(at.line, at.column + 1))
}

pub(super) fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let second_is_upper = text.chars().nth(1).is_some_and(char::is_uppercase);
    match chars.next() {
        Some(first) if !second_is_upper => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}
