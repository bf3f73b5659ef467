//! The console's `/metrics`, as far as tests ask for it.

/// The sum of all samples of `name` whose labels contain every one of `labels` (`key="value"`);
/// nothing when there is no such sample.
pub(super) fn sum(exposition: &str, name: &str, labels: &[&str]) -> Option<i64> {
    let samples = exposition.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (family, set) = series.split_once('{').unwrap_or((series, ""));
        let matches = family == name && labels.iter().all(|label| set.contains(label));
        matches
            .then(|| value.trim_end_matches(".0").parse::<i64>().ok())
            .flatten()
    });
    samples.fold(None, |sum, value| Some(sum.unwrap_or(0) + value))
}
