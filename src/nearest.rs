//! "Did you mean": the known name that a mistyped one is most like.

/// The candidate that `word` is most probably a misspelling of.
///
/// Case is ignored; up to a third of the letters may differ; and where one contains the other, dots and
/// underscores apart, they count as near: `startup_mode` and `scan.startup.mode`.
pub fn nearest<'a, S: AsRef<str>>(word: &str, candidates: &'a [S]) -> Option<&'a str> {
    let plain = |s: &str| s.chars().filter(|c| c.is_alphanumeric()).collect::<String>().to_lowercase();
    let wanted = plain(word);
    let allowed = (wanted.chars().count() / 3).max(1);
    let near = candidates
        .iter()
        .map(AsRef::as_ref)
        .map(|candidate| (strsim::damerau_levenshtein(&wanted, &plain(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= allowed && *distance < plain(candidate).len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    near.or_else(|| {
        let one_contains_the_other = |candidate: &&str| {
            let candidate = plain(candidate);
            candidate.len().min(wanted.len()) >= 4
                && (candidate.contains(&wanted) || wanted.contains(&candidate))
        };
        candidates.iter().map(AsRef::as_ref).find(one_contains_the_other)
    })
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn misspellings_and_parts_are_found_but_nothing_far() {
        let known = ["topic", "scan.startup.mode", "collection", "eventTime", "state_dir"];
        assert_eq!(nearest("topics", &known), Some("topic"));
        assert_eq!(nearest("colection", &known), Some("collection"));
        assert_eq!(nearest("startup_mode", &known), Some("scan.startup.mode"));
        assert_eq!(nearest("EVENTTIME", &known), Some("eventTime"));
        assert_eq!(nearest("statedir", &known), Some("state_dir"));
        assert_eq!(nearest("xyz", &known), None);
        assert_eq!(nearest("a", &["b"]), None);
    }
}
