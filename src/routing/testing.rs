//! What several of the room's tests measure with.

/// Critical values of chi-square at a chance of 1 in 1000, by degrees of freedom from 1.
const CRITICAL: [f64; 4] = [10.828, 13.816, 16.266, 18.467];

/// Fails unless the choices are spread as the weights say, and none fell to a pool without weight.
#[expect(clippy::cast_precision_loss, reason = "counts of a test")]
pub fn assert_as_shared(weights: &[u32], choices: impl Iterator<Item = Option<usize>>) {
    let mut counts = vec![0_u64; weights.len()];
    for choice in choices {
        counts[choice.expect("some pool has weight")] += 1;
    }
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let draws: f64 = counts.iter().sum::<u64>() as f64;
    let (mut square, mut pools) = (0.0, 0);
    for (weight, count) in weights.iter().zip(&counts) {
        if *weight == 0 {
            assert_eq!(
                *count, 0,
                "a pool without weight was chosen: {counts:?} of {weights:?}"
            );
            continue;
        }
        let expected = draws * f64::from(*weight) / total;
        square += (*count as f64 - expected).powi(2) / expected;
        pools += 1;
    }
    let most = if pools > 1 {
        CRITICAL[pools - 2]
    } else {
        0.001
    };
    assert!(
        square < most,
        "chi-square {square:.3} over {most}: {counts:?} of {weights:?}"
    );
}
