//! "Did you mean": the known name that a mistyped one is most like.

/// The candidate nearest to `name`, if one is near enough to have been meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len().max(name.len()) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_what_is_near_is_offered() {
        let known = ["state_dir", "epoch_interval", "http.listen"];
        assert_eq!(nearest("statedir", known), Some("state_dir"));
        assert_eq!(nearest("EPOCH_INTERVALL", known), Some("epoch_interval"));
        assert_eq!(nearest("password", known), None);
    }
}
