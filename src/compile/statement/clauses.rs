//! Where the clauses of a column begin: `name TYPE NOT NULL DEFAULT 1 CHECK (...)`.

use datafusion_sql::sqlparser::tokenizer::Token;

use super::tokens::{Tokens, is_operator};

/// Words with which clauses of a column begin, beside NOT NULL and NULL.
const CLAUSES: [&str; 12] = [
    "DEFAULT",
    "PATH",
    "METADATA",
    "CHECK",
    "PRIMARY",
    "UNIQUE",
    "REFERENCES",
    "CONSTRAINT",
    "GENERATED",
    "AS",
    "COLLATE",
    "COMMENT",
];

/// Where the clauses behind the type start.
pub(super) fn starts(item: Tokens<'_>) -> Vec<usize> {
    let is_start = |index: usize| {
        let before = |word: &str| index > 1 && item.is(index - 1, word);
        if item.is(index, "NOT") {
            return item.is(index + 1, "NULL") && !before("IS");
        }
        if item.is(index, "NULL") {
            return !before("NOT") && !before("IS") && !before("DEFAULT");
        }
        let of_generated = (item.is(index, "AS") && (before("ALWAYS") || before("DEFAULT")))
            || (item.is(index, "DEFAULT") && before("BY"));
        !of_generated && CLAUSES.iter().any(|word| item.is(index, word))
    };
    let mut starts: Vec<usize> = Vec::new();
    // Inside of CASE, and where an operand has to come, the words belong to an expression.
    let mut cases = 0_usize;
    for (index, _, _) in item.depths().filter(|(index, depth, _)| *depth == 0 && *index > 0) {
        let computed = starts.last().is_some_and(|start| item.is(*start, "AS") || item.is(*start, "DEFAULT"));
        if computed && item.is(index, "CASE") {
            cases += 1;
        } else if cases > 0 {
            cases -= usize::from(item.is(index, "END"));
        } else if is_start(index) && !(computed && is_operand(item, index)) {
            starts.push(index);
        }
    }
    starts
}

/// Whether the word at `index` is an operand of an expression, though it could begin a clause: a column of that name,
/// or NULL, behind an operator.
fn is_operand(item: Tokens<'_>, index: usize) -> bool {
    let column = ["PATH", "COMMENT", "METADATA"].iter().any(|word| item.is(index, word))
        && !matches!(item.get(index + 1), Some(Token::SingleQuotedString(_)))
        && !item.is(index + 1, "FROM");
    let behind_operator = item.get(index - 1).is_some_and(is_operator) || item.is(index - 1, "FROM");
    match column {
        true => behind_operator || item.is(index - 1, "AS"),
        false => behind_operator && item.is(index, "NULL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::statement::tokens::SourceText;

    /// A column cut at its clauses.
    fn clauses(column: &str) -> Vec<String> {
        let source = SourceText::new(column);
        let (list, _) = source.tokenize();
        let item = Tokens::new(&list, None, &source);
        let cuts: Vec<usize> = [0].into_iter().chain(starts(item)).chain([item.len()]).collect();
        cuts.windows(2).map(|pair| item.range(pair[0], pair[1]).text().to_owned()).collect()
    }

    #[test]
    fn clauses_begin_behind_whole_expressions() {
        assert_eq!(
            clauses("a TEXT NOT NULL PATH 'x' CHECK (a <> '')"),
            ["a TEXT", "NOT NULL", "PATH 'x'", "CHECK (a <> '')"]
        );
        assert_eq!(
            clauses("a TEXT AS CASE WHEN b IS NOT NULL THEN NULL ELSE path END NOT NULL COMMENT 'x'"),
            ["a TEXT", "AS CASE WHEN b IS NOT NULL THEN NULL ELSE path END", "NOT NULL", "COMMENT 'x'"]
        );
        let nested = "AS CASE WHEN b THEN CASE c WHEN 1 THEN 'x' ELSE NULL END ELSE NULL END";
        assert_eq!(clauses(&format!("a TEXT {nested} NOT NULL"))[1..], [nested, "NOT NULL"]);
        assert_eq!(
            clauses("a TEXT AS path || comment PATH 'x'"),
            ["a TEXT", "AS path || comment", "PATH 'x'"]
        );
        assert_eq!(
            clauses("a BOOLEAN AS b IS DISTINCT FROM NULL"),
            ["a BOOLEAN", "AS b IS DISTINCT FROM NULL"]
        );
        assert_eq!(clauses("a INT DEFAULT NULL NULL"), ["a INT", "DEFAULT NULL", "NULL"]);
        assert_eq!(
            clauses("a INT GENERATED ALWAYS AS (b + 1) NOT NULL"),
            ["a INT", "GENERATED ALWAYS AS (b + 1)", "NOT NULL"]
        );
        assert_eq!(clauses("a TEXT AS CHECK (b)"), ["a TEXT", "AS", "CHECK (b)"]);
    }
}
