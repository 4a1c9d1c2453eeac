//! Estimators for measurements that other programs on the machine only ever increase.

/// Returns the mean of the least tenth of the samples, of one sample at least. `NaN` if there are no samples.
pub(crate) fn least_tenth(samples: &[f64]) -> f64 {
    let sorted = sorted(samples);
    let least = &sorted[..(sorted.len() / 10).max(1).min(sorted.len())];
    least.iter().sum::<f64>() / least.len() as f64
}

/// Returns the sample below which a `share` of all samples lies, e.g. 0.99. `NaN` if there are no samples.
pub(crate) fn quantile(samples: &[f64], share: f64) -> f64 {
    let sorted = sorted(samples);
    let index = (sorted.len() as f64 * share) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// Returns the median of the ratios of samples that were taken in the same round.
pub(crate) fn median_ratio(samples: &[f64], reference: &[f64]) -> f64 {
    let ratios: Vec<f64> = samples.iter().zip(reference).map(|(sample, reference)| sample / reference).collect();
    quantile(&ratios, 0.5)
}

fn sorted(samples: &[f64]) -> Vec<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use super::{least_tenth, median_ratio, quantile};

    #[test]
    fn least_tenth_ignores_disturbed_rounds() {
        let mut samples: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(least_tenth(&samples), 1.5);
        samples[0] = 1e9;
        assert_eq!(least_tenth(&samples), 1.5);
        assert_eq!(least_tenth(&[3.0, 2.0]), 2.0);
        assert!(least_tenth(&[]).is_nan());
    }

    #[test]
    fn quantile_is_a_sample() {
        let samples: Vec<f64> = (0..100).rev().map(f64::from).collect();
        assert_eq!(quantile(&samples, 0.25), 25.0);
        assert_eq!(quantile(&samples, 0.99), 99.0);
        assert_eq!(quantile(&samples, 1.0), 99.0);
        assert!(quantile(&[], 0.5).is_nan());
    }

    #[test]
    fn ratios_are_taken_within_a_round() {
        // The machine was ten times slower in the second round.
        assert_eq!(median_ratio(&[2.0, 20.0, 2.0], &[1.0, 10.0, 1.0]), 2.0);
    }
}
