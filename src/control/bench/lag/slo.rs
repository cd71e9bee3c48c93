//! Goals: `lag_p99<5s,loss=0,backfill>50MB/s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What a run has to reach.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// A percentile of the latency, at every target.
    Lag { percentile: f64, below: Duration },
    /// Events that did not arrive.
    Loss { at_most: u64 },
    /// Megabytes per second of a backlog.
    Backfill { above: f64 },
}

/// Several goals, each as it was written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slo(pub Vec<(String, Goal)>);

/// What was measured.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Latency by percentile, of the slowest target.
    pub percentiles: Vec<(f64, Duration)>,
    /// `None`: nothing was measured.
    pub lost: Option<u64>,
    pub backfill_mb_per_s: Option<f64>,
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let goals = text.split(',').map(|goal| Ok((goal.trim().to_owned(), goal.trim().parse()?)));
        goals.collect::<Result<_, String>>().map(Slo)
    }
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.find(['<', '>', '=']).ok_or(format!("'{text}' compares nothing: lag_p99<5s"))?;
        let (name, rest) = text.split_at(place);
        let (relation, value) = rest.split_at(1);
        match (name.trim(), relation, value.trim()) {
            (lag, "<", value) if lag.starts_with("lag_p") => {
                let percentile = lag["lag_p".len()..].parse().ok().filter(|p| (0.0..=100.0).contains(p));
                Ok(Goal::Lag {
                    percentile: percentile.ok_or(format!("'{lag}' is no percentile: lag_p99, lag_p99.9"))?,
                    below: humantime::parse_duration(value).map_err(|error| format!("'{value}': {error}"))?,
                })
            }
            ("loss", "=", value) => {
                let at_most = value.parse().map_err(|_| format!("'{value}' is no number of events"))?;
                Ok(Goal::Loss { at_most })
            }
            ("backfill", ">", value) => {
                let above = value.strip_suffix("MB/s").and_then(|number| number.trim().parse().ok());
                Ok(Goal::Backfill { above: above.ok_or(format!("'{value}' is no rate: 50MB/s"))? })
            }
            _ => Err(format!("'{text}' is no goal: lag_p99<5s, loss=0, backfill>50MB/s")),
        }
    }
}

impl Slo {
    /// Whether the backlog has to be measured, too.
    pub fn wants_backfill(&self) -> bool {
        self.0.iter().any(|(_, goal)| matches!(goal, Goal::Backfill { .. }))
    }

    /// Percentiles that are asked for.
    pub fn percentiles(&self) -> impl Iterator<Item = f64> {
        self.0.iter().filter_map(|(_, goal)| match goal {
            Goal::Lag { percentile, .. } => Some(*percentile),
            _ => None,
        })
    }

    /// A verdict for each goal.
    pub fn verdicts(&self, facts: &Facts) -> Vec<Verdict> {
        self.0.iter().map(|(text, goal)| goal.verdict(text, facts)).collect()
    }
}

/// Whether a goal was reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub goal: String,
    pub reached: bool,
    pub found: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", if self.reached { "reached" } else { "MISSED " }, self.goal, self.found)
    }
}

impl Goal {
    fn verdict(&self, goal: &str, facts: &Facts) -> Verdict {
        let (reached, found) = match self {
            Goal::Lag { percentile, below } => {
                let found = facts.percentiles.iter().find(|(known, _)| known == percentile);
                match found {
                    Some((_, latency)) => (latency < below, format!("{latency:?}")),
                    None => (false, "nothing was measured".to_owned()),
                }
            }
            Goal::Loss { at_most } => match facts.lost {
                Some(lost) => (lost <= *at_most, format!("{lost} events")),
                None => (false, "nothing was measured".to_owned()),
            },
            Goal::Backfill { above } => match facts.backfill_mb_per_s {
                Some(rate) => (rate > *above, format!("{rate:.1} MB/s")),
                None => (false, "nothing was measured".to_owned()),
            },
        };
        Verdict { goal: goal.to_owned(), reached, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_read_and_judged() {
        let slo: Slo = "lag_p99<5s, loss=0,backfill>50MB/s".parse().expect("goals");
        assert!(slo.wants_backfill());
        assert_eq!(slo.percentiles().collect::<Vec<_>>(), [99.0]);
        let facts = Facts {
            percentiles: vec![(99.0, Duration::from_millis(80))],
            lost: Some(1),
            backfill_mb_per_s: Some(61.25),
        };
        let lines: Vec<_> = slo.verdicts(&facts).iter().map(Verdict::to_string).collect();
        let expected =
            ["reached lag_p99<5s: 80ms", "MISSED  loss=0: 1 events", "reached backfill>50MB/s: 61.2 MB/s"];
        assert_eq!(lines, expected);
        assert!(slo.verdicts(&Facts::default()).iter().all(|verdict| !verdict.reached));
    }

    #[test]
    fn what_is_no_goal_is_told() {
        for (text, expected) in [
            ("", "compares nothing"),
            ("lag_p99<5", "'5'"),
            ("lag_p101<5s", "no percentile"),
            ("loss<1", "is no goal"),
            ("backfill>50", "no rate"),
            ("lag_p99<5s,", "compares nothing"),
        ] {
            let error = text.parse::<Slo>().expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
