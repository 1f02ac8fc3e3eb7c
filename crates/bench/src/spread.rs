//! Samples, and what is shown of them: the median, and how far they lie apart.

use std::time::Duration;

/// Values of one measurement.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spread(Vec<f64>);

impl Spread {
    /// Adds a sample.
    pub(crate) fn add(&mut self, value: f64) {
        self.0.push(value);
        self.0.sort_by(f64::total_cmp);
    }

    /// The value below or at which a share of the samples lies (nearest rank); 0 without samples.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.clamp(1, self.0.len().max(1)) - 1)
            .copied()
            .unwrap_or_default()
    }

    /// The middle value; the mean of the two in the middle where there are two.
    pub(crate) fn median(&self) -> f64 {
        f64::midpoint(self.quantile(0.5), *self.0.get(self.0.len() / 2).unwrap_or(&0.0))
    }

    /// The least and the greatest.
    pub(crate) fn ends(&self) -> (f64, f64) {
        (self.quantile(0.0), self.quantile(1.0))
    }

    /// All of them as multiples of something.
    pub(crate) fn divided_by(&self, unit: f64) -> Spread {
        Spread(self.0.iter().map(|value| value / unit).collect())
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<Duration> for Spread {
    fn from_iter<I: IntoIterator<Item = Duration>>(times: I) -> Self {
        let mut spread = Spread(times.into_iter().map(|time| time.as_secs_f64()).collect());
        spread.0.sort_by(f64::total_cmp);
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles_are_those_of_the_textbook() {
        let spread: Spread = [4, 1, 3, 2].map(Duration::from_secs).into_iter().collect();
        assert_eq!(
            (spread.median(), spread.ends(), spread.len()),
            (2.5, (1.0, 4.0), 4)
        );
        assert_eq!((spread.quantile(0.99), spread.quantile(0.25)), (4.0, 1.0));
        let odd: Spread = [5, 9, 7].map(Duration::from_secs).into_iter().collect();
        assert_eq!((odd.median(), odd.ends(), odd.len()), (7.0, (5.0, 9.0), 3));
        assert_eq!((Spread::default().median(), Spread::default().len()), (0.0, 0));
    }
}
