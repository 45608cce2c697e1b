//! Medians and percentiles of small samples.

use serde_json::{Value, json};

/// Middle value; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    percentile(values, 50.0)
}

/// Value below which `percent` of the sample lies, between neighbours linearly.
pub fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    let place = percent / 100.0 * last as f64;
    let (low, high) = (place.floor() as usize, place.ceil() as usize);
    sorted[low] + (sorted[high] - sorted[low]) * place.fract()
}

/// `{"median","min","max"}`, rounded to three digits after the point.
pub fn spread(values: &[f64]) -> Value {
    let edge = |pick: fn(f64, f64) -> f64| values.iter().copied().reduce(pick).unwrap_or(0.0);
    json!({"median": round(median(values)), "min": round(edge(f64::min)), "max": round(edge(f64::max))})
}

/// Three digits after the point.
pub fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_lies_between_its_neighbours() {
        let sample = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(median(&sample), 2.5);
        assert_eq!((percentile(&sample, 0.0), percentile(&sample, 100.0)), (1.0, 4.0));
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn a_spread_names_both_edges() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), json!({"median": 2.0, "min": 1.0, "max": 3.0}));
    }
}
