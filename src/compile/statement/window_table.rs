//! Flink's way to write a window in FROM, `TABLE(TUMBLE(TABLE t, DESCRIPTOR(time), INTERVAL ...))`. The parser knows
//! neither TABLE nor DESCRIPTOR in there; they say nothing that their place does not, and are taken out.

use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan};

const WINDOWS: [&str; 4] = ["TUMBLE", "HOP", "CUMULATE", "SESSION"];

/// Takes what only Flink writes out of the windows of a file.
pub(super) fn take(tokens: &mut Vec<TokenWithSpan>) {
    let mut index = 0;
    while index + 2 < tokens.len() {
        if is_word(tokens, index, &WINDOWS) && is(tokens, index + 1, &Token::LParen) {
            let wrapped =
                index >= 2 && is_word(tokens, index - 2, &["TABLE"]) && is(tokens, index - 1, &Token::LParen);
            if let Some(end) = arguments(tokens, index + 2)
                && wrapped
                && is(tokens, end + 1, &Token::RParen)
            {
                tokens.remove(end + 1);
                tokens.drain(index - 2..index);
            }
        }
        index += 1;
    }
}

/// Takes the words out of the arguments that begin at `from`; gives the place of the bracket that ends them.
fn arguments(tokens: &mut Vec<TokenWithSpan>, from: usize) -> Option<usize> {
    let mut keys = Vec::new();
    let mut index = from;
    let mut depth = 0_usize;
    while let Some(token) = tokens.get(index) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen if depth == 0 => break,
            Token::RParen => depth -= 1,
            _ if depth > 0 => {}
            _ if is_word(tokens, index, &["TABLE"]) => {
                tokens.remove(index);
                continue;
            }
            _ if is_word(tokens, index, &["PARTITION"]) && is_word(tokens, index + 1, &["BY"]) => {
                keys = partition(tokens, index);
                continue;
            }
            _ if is_word(tokens, index, &["DESCRIPTOR"]) && is(tokens, index + 1, &Token::LParen) => {
                let close = (index + 2..tokens.len()).find(|at| is(tokens, *at, &Token::RParen))?;
                tokens.remove(close);
                tokens.drain(index..index + 2);
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    let end = index + keys.len();
    let bracket = tokens.get(index)?.span;
    for key in keys.into_iter().rev() {
        tokens.insert(index, key);
    }
    debug_assert!(tokens[end].span == bracket, "the bracket is behind the keys");
    Some(end)
}

/// Takes `PARTITION BY a, b` out at `index`; gives `, a, b`, which is how a session has its keys behind its gap.
fn partition(tokens: &mut Vec<TokenWithSpan>, index: usize) -> Vec<TokenWithSpan> {
    let mut end = index + 2;
    // The comma of the next argument has a call or a name with `=>` behind it.
    while end < tokens.len() && !is(tokens, end, &Token::RParen) {
        let comma = is(tokens, end, &Token::Comma);
        let argument = is(tokens, end + 2, &Token::LParen) || is(tokens, end + 2, &Token::RArrow);
        if comma && argument {
            break;
        }
        end += 1;
    }
    let mut taken: Vec<_> = tokens.drain(index..end).skip(1).collect();
    if let Some(by) = taken.first_mut() {
        by.token = Token::Comma;
    }
    taken
}

fn is(tokens: &[TokenWithSpan], index: usize, token: &Token) -> bool {
    tokens.get(index).is_some_and(|found| found.token == *token)
}

fn is_word(tokens: &[TokenWithSpan], index: usize, words: &[&str]) -> bool {
    match tokens.get(index).map(|token| &token.token) {
        Some(Token::Word(found)) => {
            found.quote_style.is_none() && words.iter().any(|word| found.value.eq_ignore_ascii_case(word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use datafusion_sql::sqlparser::tokenizer::Tokenizer;

    use super::*;
    use crate::compile::dialect::TidemillDialect;

    fn taken(text: &str) -> String {
        let tokens = Tokenizer::new(&TidemillDialect, text).tokenize_with_location().expect("tokens");
        let mut tokens: Vec<_> =
            tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_))).collect();
        take(&mut tokens);
        tokens.iter().map(|token| token.token.to_string()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_that_only_flink_writes_are_taken_out_of_windows() {
        let plain = "SELECT * FROM TUMBLE ( bid , t , INTERVAL '1' MINUTE )";
        assert_eq!(
            taken("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(t), INTERVAL '1' MINUTE))"),
            plain
        );
        assert_eq!(taken("SELECT * FROM TUMBLE(TABLE bid, DESCRIPTOR(t), INTERVAL '1' MINUTE)"), plain);
        let named =
            "FROM TABLE(HOP(DATA => TABLE bid, TIMECOL => DESCRIPTOR(t), SIZE => x, SLIDE => y)) AS b";
        assert_eq!(taken(named), "FROM HOP ( DATA => bid , TIMECOL => t , SIZE => x , SLIDE => y ) AS b");
    }

    #[test]
    fn the_keys_of_a_session_stand_behind_its_gap() {
        let text =
            "FROM TABLE(SESSION(TABLE bid PARTITION BY a, b, DESCRIPTOR(t), INTERVAL '5' MINUTE)) GROUP BY a";
        assert_eq!(taken(text), "FROM SESSION ( bid , t , INTERVAL '5' MINUTE , a , b ) GROUP BY a");
    }

    #[test]
    fn what_is_no_window_or_has_no_end_stays_as_it_is() {
        for text in
            ["FROM TABLE ( f ( x ) )", "FROM TUMBLE ( bid , t )", "SESSION ( TABLE", "TABLE ( HOP ( TABLE a"]
        {
            let _ = taken(text);
        }
        assert_eq!(taken("FROM TABLE(f(x))"), "FROM TABLE ( f ( x ) )");
    }
}
