use super::*;

fn side(clusters: &[(f64, f64)], rate: bool) -> Side {
    let (n, sum) = clusters
        .iter()
        .fold((0.0, 0.0), |(n, sum), of| (n + of.0, sum + of.1));
    Side {
        value: Figure::Known(sum / n),
        summary: ArmSummary::from_clusters(clusters.iter().copied()).map_err(|reason| reason.to_string()),
        rate,
    }
}

/// Twenty blocks of ten requests with means around `mean`.
fn blocks(mean: f64) -> Side {
    let spread = |block: i32| f64::from(block % 5 - 2);
    let clusters: Vec<_> = (0..20)
        .map(|block| (10.0, 10.0 * (mean + spread(block))))
        .collect();
    side(&clusters, false)
}

fn judged(before: &Side, now: &Side) -> Trend {
    let mut trend = Trend::of(now, Some(before));
    correct(vec![&mut trend]);
    trend
}

#[test]
fn a_trend_is_the_test_of_the_blocks() {
    // Block means have variance 2·20/19, so each mean has 2/19 and the difference √(4/19) with 38 degrees of freedom:
    // t = 3 / 0.458831 = 6.5383.
    let trend = judged(&blocks(100.0), &blocks(103.0));
    assert_eq!(
        (trend.previous.clone(), trend.change.clone()),
        (Figure::Known(100.0), Figure::Known(3.0))
    );
    assert!((trend.relative.known().unwrap() - 0.03).abs() < 1e-12);
    let (low, high) = *trend.ci.known().unwrap();
    // t(0.975, 38) = 2.024394.
    assert!((low - (3.0 - 2.024_394 * 0.458_831)).abs() < 1e-5, "{low}");
    assert!((high - (3.0 + 2.024_394 * 0.458_831)).abs() < 1e-5, "{high}");
    assert!(*trend.p.known().unwrap() < 1e-6);
    assert_eq!(trend.direction, Direction::Rising);
    assert_eq!(
        judged(&blocks(103.0), &blocks(100.0)).direction,
        Direction::Falling
    );
}

#[test]
fn standing_still_has_to_be_shown() {
    // ± 0.93 is within 10 of 100, but not within 0.5 of 5.
    assert_eq!(
        judged(&blocks(100.0), &blocks(100.5)).direction,
        Direction::Steady
    );
    assert_eq!(judged(&blocks(5.0), &blocks(5.5)).direction, Direction::Unknown);
}

#[test]
fn many_trends_have_one_chance_of_a_fluke() {
    // Alone p is 0.036; among twenty of which the others say nothing it is 0.72.
    let mut found = Trend::of(&blocks(6.0), Some(&blocks(5.0)));
    let p = *found.p.known().unwrap();
    assert!(p > 0.03 && p < 0.05, "{p}");
    correct(vec![&mut found]);
    assert_eq!(found.direction, Direction::Rising);
    let mut others = vec![Trend::of(&blocks(5.0), Some(&blocks(5.0))); 19];
    correct(others.iter_mut().chain([&mut found]).collect());
    assert!((found.p_adjusted.known().unwrap() - 20.0 * p).abs() < 1e-12);
    assert_eq!(found.direction, Direction::Unknown);
}

#[test]
fn too_little_is_unknown_with_the_reason() {
    let few: Vec<_> = (0..9).map(|block| (1.0, f64::from(block))).collect();
    let reason = |trend: Trend| match trend.p {
        Figure::Undefined(reason) => reason,
        Figure::Known(p) => panic!("{p}"),
    };
    let trend = judged(&side(&few, false), &blocks(5.0));
    assert_eq!(trend.change, Figure::Known(1.0));
    assert_eq!(
        reason(trend),
        "still collecting: 9 effective blocks of time in one of the windows, shown from 10"
    );
    let rare: Vec<_> = (0..40)
        .map(|block| (10.0, f64::from(u8::from(block < 3))))
        .collect();
    assert_eq!(
        reason(judged(&side(&rare, true), &side(&rare, true))),
        "still collecting: 3 blocks of time with an event in one of the windows, shown from 10"
    );
    assert_eq!(reason(Trend::of(&blocks(1.0), None)), NOT_KEPT);
    let none = Trend::of(&blocks(1.0), Some(&Side::empty("nothing")));
    assert_eq!(
        none.change,
        Figure::undefined("nothing was reported in the window before")
    );
    let zero = side(&[(1.0, -1.0), (1.0, 1.0)], false);
    assert!(matches!(
        Trend::of(&blocks(1.0), Some(&zero)).relative,
        Figure::Undefined(_)
    ));
}

#[test]
fn without_a_change_few_are_called_one() {
    // Fifteen blocks, as in a quarter of an hour, whose rates vary by more than chance: at 5 % at most 5 % of 2,000
    // comparisons should be found, and by chance up to 6.5 %.
    let mut state = 11_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);

        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut window = || {
        let clusters: Vec<(f64, f64)> = (0..15)
            .map(|_| {
                let (n, rate) = (5 + (uniform() * 60.0) as u32, 0.1 + 0.3 * uniform());
                (
                    f64::from(n),
                    (0..n).map(|_| f64::from(u8::from(uniform() < rate))).sum(),
                )
            })
            .collect();
        side(&clusters, true)
    };
    let (mut tested, mut found) = (0, 0);
    for _ in 0..2_000 {
        let trend = judged(&window(), &window());
        if let Figure::Known(p) = trend.p {
            tested += 1;
            found += u32::from(p < ALPHA);
        }
    }
    assert!(tested > 1_000, "{tested}");
    assert!(
        f64::from(found) < 0.065 * f64::from(tested),
        "{found} of {tested}"
    );
}
