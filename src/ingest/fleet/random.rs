//! Random numbers of other distributions than the even one.

use rand::Rng;

/// Of the standard normal distribution (the method of Box and Muller).
pub(super) fn normal(rng: &mut impl Rng) -> f64 {
    // The logarithm of 0 is none.
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

/// Half of the numbers are below `median`; the logarithms have the standard deviation `spread`.
pub(super) fn log_normal(rng: &mut impl Rng, median: f64, spread: f64) -> f64 {
    median * (spread * normal(rng)).exp()
}

/// A value that wanders around its mean, as the readings of one device do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wandering {
    pub mean: f64,
    /// Standard deviation over a long time.
    pub spread: f64,
    pub value: f64,
}

impl Wandering {
    /// How much of the way back to the mean is made from one reading to the next.
    const PULL: f64 = 0.1;

    /// A value that has wandered for long.
    pub fn new(mean: f64, spread: f64, rng: &mut impl Rng) -> Self {
        Wandering { mean, spread, value: mean + spread * normal(rng) }
    }

    /// The next reading.
    pub fn step(&mut self, rng: &mut impl Rng) -> f64 {
        let keep = 1.0 - Self::PULL;
        let noise = self.spread * (1.0 - keep * keep).sqrt();
        self.value = self.mean + keep * (self.value - self.mean) + noise * normal(rng);
        self.value
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_pcg::Pcg64Mcg;

    use super::*;

    fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut rng = Pcg64Mcg::seed_from_u64(1);
        let logarithms: Vec<f64> = (0..20_000).map(|_| log_normal(&mut rng, 1.5, 0.6).ln()).collect();
        let (mean, deviation) = mean_and_deviation(&logarithms);
        assert!((mean - 1.5_f64.ln()).abs() < 0.02 && (deviation - 0.6).abs() < 0.02, "{mean} {deviation}");
        let mut wandering = Wandering::new(20.0, 3.0, &mut rng);
        let values: Vec<f64> = (0..100_000).map(|_| wandering.step(&mut rng)).collect();
        let (mean, deviation) = mean_and_deviation(&values);
        assert!((mean - 20.0).abs() < 0.3 && (deviation - 3.0).abs() < 0.3, "{mean} {deviation}");
        let steps: Vec<f64> = values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(mean_and_deviation(&steps).1 < 1.5, "it wanders");
    }
}
