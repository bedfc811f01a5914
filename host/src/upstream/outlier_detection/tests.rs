//! Thresholds, times and limits of ejections, with a clock that the tests move.

use super::Outcome::{LocalOriginFailure, LocalOriginSuccess, Status};
use super::*;

fn endpoints(count: u16) -> Vec<Arc<EndpointState>> {
    let endpoint = |port| Arc::new(EndpointState::new(([127, 0, 0, 1], port).into(), 1, 0));
    (1..=count).map(endpoint).collect()
}

/// Detection that may eject everybody.
fn settings() -> OutlierDetectionSettings {
    OutlierDetectionSettings { max_ejection_percent: 100, ..Default::default() }
}

fn fail(detector: &OutlierDetector, index: usize, now: Instant) -> bool {
    (0..detector.settings().consecutive_5xx).any(|_| detector.report(index, Status(500), now))
}

#[test]
fn what_counts_towards_which_threshold() {
    // 5xx threshold, gateway threshold, split, local threshold, outcomes, how many of them eject (0: none).
    type Case = (u32, u32, bool, u32, &'static [Outcome], usize);
    const CASES: &[Case] = &[
        (3, 0, false, 5, &[Status(500), Status(503), Status(599)], 3),
        (3, 0, false, 5, &[Status(500), Status(500), Status(200), Status(500), Status(500)], 0),
        (3, 0, false, 5, &[Status(500), Status(500), Status(499), Status(500), Status(600)], 0),
        (3, 0, false, 5, &[LocalOriginFailure, Status(500), LocalOriginFailure], 3),
        // A connection alone proves nothing about the answers.
        (3, 0, false, 5, &[LocalOriginFailure, LocalOriginSuccess, LocalOriginFailure, LocalOriginFailure], 4),
        // Gateway errors: 500 and 501 break the row, and count as 5xx all the same.
        (0, 2, false, 5, &[Status(502), Status(504)], 2),
        (0, 2, false, 5, &[Status(503), Status(500), Status(503), Status(501), Status(502), LocalOriginFailure], 6),
        (0, 2, false, 5, &[Status(503), Status(200), Status(503)], 0),
        (5, 2, false, 5, &[Status(500), Status(500), Status(500), Status(500), Status(500)], 5),
        (3, 9, false, 5, &[Status(503), Status(503), Status(503)], 3),
        (0, 0, false, 1, &[Status(500), LocalOriginFailure, Status(503), Status(502)], 0),
        // The split: failures without an answer count apart.
        (2, 2, true, 3, &[LocalOriginFailure, LocalOriginFailure, LocalOriginFailure], 3),
        (2, 2, true, 3, &[LocalOriginFailure, LocalOriginFailure, LocalOriginSuccess, LocalOriginFailure], 0),
        (2, 2, true, 3, &[LocalOriginFailure, LocalOriginFailure, Status(404), LocalOriginFailure], 0),
        (2, 0, true, 3, &[Status(500), LocalOriginFailure, Status(500)], 3),
        (2, 0, true, 3, &[Status(500), LocalOriginSuccess, Status(500)], 3),
        (2, 0, true, 0, &[LocalOriginFailure, LocalOriginFailure, LocalOriginFailure], 0),
    ];
    for (consecutive_5xx, consecutive_gateway_errors, split, consecutive_local_origin_failures, outcomes, wanted) in
        CASES
    {
        let settings = OutlierDetectionSettings {
            consecutive_5xx: *consecutive_5xx,
            consecutive_gateway_errors: *consecutive_gateway_errors,
            split_external_local_origin_errors: *split,
            consecutive_local_origin_failures: *consecutive_local_origin_failures,
            ..settings()
        };
        let now = Instant::now();
        let detector = OutlierDetector::new(settings, endpoints(1), now);
        let ejecting = outcomes.iter().position(|outcome| detector.report(0, *outcome, now));
        assert_eq!(ejecting.map_or(0, |position| position + 1), *wanted, "{outcomes:?}");
        assert_eq!(detector.ejected(), usize::from(*wanted > 0), "{outcomes:?}");
    }
}

#[test]
fn endpoints_count_apart() {
    let now = Instant::now();
    let detector = OutlierDetector::new(settings(), endpoints(2), now);
    for _ in 0..4 {
        assert!(!detector.report(0, Status(500), now) && !detector.report(1, Status(500), now));
    }
    assert!(detector.report(1, Status(500), now));
    assert!(!detector.report(2, Status(500), now), "an unknown endpoint");
    assert_eq!(detector.endpoints.iter().map(|endpoint| endpoint.is_ejected()).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn the_limit_on_ejections_is_hard() {
    // Limit in percent, endpoints, how many can be out at once.
    const CASES: &[(u32, u16, usize)] = &[
        (10, 1, 0),
        (10, 3, 0),
        (10, 9, 0),
        (10, 10, 1),
        (10, 19, 1),
        (10, 20, 2),
        (33, 3, 0),
        (34, 3, 1),
        (50, 3, 1),
        (67, 3, 2),
        (99, 1, 0),
        (100, 1, 1),
        (100, 3, 3),
        (0, 100, 0),
        (250, 2, 2),
    ];
    for (max_ejection_percent, count, wanted) in CASES {
        let settings = OutlierDetectionSettings { max_ejection_percent: *max_ejection_percent, ..Default::default() };
        let now = Instant::now();
        let detector = OutlierDetector::new(settings, endpoints(*count), now);
        let ejected = (0..usize::from(*count)).filter(|index| fail(&detector, *index, now)).count();
        assert_eq!((ejected, detector.ejected()), (*wanted, *wanted), "{max_ejection_percent} % of {count}");
    }
}

#[test]
fn a_refused_ejection_is_tried_again_after_another_row() {
    let now = Instant::now();
    let settings =
        OutlierDetectionSettings { max_ejection_percent: 50, base_ejection_time: Duration::ZERO, ..settings() };
    let detector = OutlierDetector::new(settings, endpoints(2), now);
    assert!(fail(&detector, 0, now) && !fail(&detector, 1, now));
    assert_eq!(detector.sweep(now), [0]);
    for _ in 0..4 {
        assert!(!detector.report(1, Status(500), now));
    }
    assert!(detector.report(1, Status(500), now));
}

/// Sweeps at every `interval` after `from` until the endpoint is back, and tells how long that took.
fn time_out(detector: &OutlierDetector, from: Instant, sweeps: &mut Instant) -> Duration {
    while detector.ejected() > 0 {
        *sweeps += detector.settings().interval;
        detector.sweep(*sweeps);
    }
    *sweeps - from
}

#[test]
fn ejections_last_longer_each_time_and_end_at_a_sweep() {
    // As measured on Envoy: base 2 s, sweeps each second, and failures half a second after a sweep.
    let start = Instant::now();
    let (interval, base_ejection_time) = (Duration::from_secs(1), Duration::from_secs(2));
    let detector = OutlierDetector::new(
        OutlierDetectionSettings { interval, base_ejection_time, ..settings() },
        endpoints(1),
        start,
    );
    let mut sweeps = start;
    for wanted in [2500, 4500, 6500] {
        let failed_at = sweeps + Duration::from_millis(500);
        assert!(fail(&detector, 0, failed_at));
        assert_eq!(time_out(&detector, failed_at, &mut sweeps), Duration::from_millis(wanted));
    }
    // One interval in service forgives one ejection: the fourth is as long as the third.
    sweeps += interval;
    detector.sweep(sweeps);
    let failed_at = sweeps + Duration::from_millis(500);
    assert!(fail(&detector, 0, failed_at));
    assert_eq!(time_out(&detector, failed_at, &mut sweeps), Duration::from_millis(6500));
    // Many forgive all.
    for _ in 0..10 {
        sweeps += interval;
        detector.sweep(sweeps);
    }
    assert!(fail(&detector, 0, sweeps));
    assert_eq!(time_out(&detector, sweeps, &mut sweeps.clone()), Duration::from_secs(2));
}

#[test]
fn no_ejection_is_longer_than_the_longest() {
    let start = Instant::now();
    let seconds = Duration::from_secs;
    // Base, most, the lengths of ejections in a row.
    let cases: &[(u64, u64, &[u64])] = &[
        (30, 300, &[30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]),
        (400, 300, &[400, 400, 400]),
        (20, 30, &[20, 30, 30]),
    ];
    for (base, most, lengths) in cases {
        let settings = OutlierDetectionSettings {
            base_ejection_time: seconds(*base),
            max_ejection_time: seconds(*most),
            interval: seconds(10),
            ..settings()
        };
        let detector = OutlierDetector::new(settings, endpoints(1), start);
        let mut now = start;
        for length in *lengths {
            assert!(fail(&detector, 0, now));
            let from = now;
            assert_eq!(time_out(&detector, from, &mut now), seconds(*length), "base {base}, most {most}");
        }
    }
}

#[test]
fn a_returned_endpoint_starts_without_failures() {
    let now = Instant::now();
    let detector = OutlierDetector::new(settings(), endpoints(1), now);
    assert!(fail(&detector, 0, now));
    // Requests that were on their way still fail, and change nothing.
    for _ in 0..9 {
        assert!(!detector.report(0, Status(503), now));
    }
    assert!(detector.sweep(now + Duration::from_secs(29)).is_empty());
    assert_eq!(detector.sweep(now + Duration::from_secs(30)), [0]);
    for _ in 0..4 {
        assert!(!detector.report(0, Status(503), now));
    }
    assert!(detector.report(0, Status(503), now));
    detector.readmit_all(now);
    assert_eq!(detector.ejected(), 0);
}

#[test]
fn ejections_outlive_a_new_detector() {
    let epoch = Instant::now();
    let all = endpoints(3);
    let seconds = |seconds| epoch + Duration::from_secs(seconds);
    let old = OutlierDetector::new(settings(), all.clone(), epoch);
    assert!(fail(&old, 2, seconds(100)));
    let kept = vec![all[2].clone(), all[0].clone()];
    let new = OutlierDetector::new(OutlierDetectionSettings { max_ejection_percent: 50, ..settings() }, kept, epoch);
    assert!(new.ejected() == 1 && !fail(&new, 1, seconds(101)), "the limit knows of it");
    assert!(new.sweep(seconds(129)).is_empty());
    assert_eq!(new.sweep(seconds(130)), [0]);
    assert!(fail(&new, 0, seconds(131)) && new.sweep(seconds(190)).is_empty(), "the second time is twice as long");
    assert_eq!(new.sweep(seconds(191)), [0]);
}

#[test]
fn threads_never_eject_more_than_the_limit() {
    let now = Instant::now();
    for _ in 0..50 {
        let settings = OutlierDetectionSettings { consecutive_5xx: 1, max_ejection_percent: 50, ..Default::default() };
        let detector = OutlierDetector::new(settings, endpoints(8), now);
        let ejections = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (detector, ejections) = (&detector, &ejections);
                scope.spawn(move || {
                    for index in (0..8).map(|step| (step + 2 * thread) % 8).cycle().take(80) {
                        let ejected = detector.report(index, Status(503), now);
                        ejections.fetch_add(u32::from(ejected), Ordering::Relaxed);
                        assert!(detector.ejected() <= 4);
                    }
                });
            }
        });
        assert_eq!((ejections.load(Ordering::Relaxed), detector.ejected()), (4, 4));
    }
}

#[test]
fn time_that_runs_backwards_ejects_nobody_for_longer() {
    let now = Instant::now();
    let detector = OutlierDetector::new(settings(), endpoints(1), now + Duration::from_secs(60));
    assert!(fail(&detector, 0, now));
    assert!(detector.sweep(now).is_empty());
    assert_eq!(detector.sweep(now + Duration::from_secs(90)), [0]);
}
