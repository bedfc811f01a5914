//! Whole balancers: shares, keys, priorities, panic and retries, with seeded draws.

use super::super::draws::SplitMix64;
use super::LoadBalancingPolicy as Policy;
use super::*;

/// Endpoints of (weight, priority), at ports 1, 2, 3, …
fn endpoints(of: &[(u32, u32)]) -> Vec<Arc<EndpointState>> {
    let endpoint = |(port, (weight, priority)): (u16, &(u32, u32))| {
        Arc::new(EndpointState::new(([10, 0, 0, 1], port).into(), *weight, *priority))
    };
    (1..).zip(of).map(endpoint).collect()
}

fn balancer(policy: Policy, of: &[(u32, u32)], panic_threshold_percent: u32) -> Balancer {
    Balancer::new(policy, endpoints(of), panic_threshold_percent, 1)
}

/// How often each endpoint was picked out of `picks`; the last is for nobody.
fn counts(balancer: &mut Balancer, picks: u32) -> Vec<u32> {
    let mut draws = SplitMix64(5);
    let mut counts = vec![0; balancer.endpoints().len() + 1];
    for _ in 0..picks {
        let hash = draws.draw();
        let picked = balancer.pick(Some(hash), &[], &mut || draws.draw());
        let nobody = balancer.endpoints().len();
        counts[picked.unwrap_or(nobody)] += 1;
    }
    counts
}

/// Four standard deviations of a binomial count around its mean.
fn assert_share(count: u32, picks: u32, share: f64, what: &str) {
    let mean = f64::from(picks) * share;
    let bound = 4.0 * (mean * (1.0 - share)).sqrt() + 1.0;
    assert!((f64::from(count) - mean).abs() <= bound, "{what}: {count} of {picks}, wanted {mean} ± {bound}");
}

fn every_policy() -> [Policy; 5] {
    let ring = Policy::RingHash { minimum_ring_size: 1024 };
    [Policy::LeastRequest, Policy::RoundRobin, Policy::Random, ring, Policy::Maglev { table_size: 1009 }]
}

#[test]
fn least_request_is_uniform_when_idle() {
    let counts = counts(&mut balancer(Policy::LeastRequest, &[(1, 0); 3], 0), 3000);
    for count in &counts[..3] {
        assert_share(*count, 3000, 1.0 / 3.0, "least request");
    }
}

#[test]
fn least_request_takes_the_less_busy_of_two() {
    let mut balancer = balancer(Policy::LeastRequest, &[(1, 0); 3], 0);
    let busy: Vec<_> = (0..10).map(|_| balancer.endpoints()[0].begin_request()).collect();
    let counts_busy = counts(&mut balancer, 9000);
    // The busy one is taken only when both draws are of it.
    assert_share(counts_busy[0], 9000, 1.0 / 9.0, "the busy one");
    drop(busy);
    assert_share(counts(&mut balancer, 9000)[0], 9000, 1.0 / 3.0, "no longer busy");
}

#[test]
fn least_request_with_weights_counts_active_requests() {
    let mut balancer = balancer(Policy::LeastRequest, &[(1, 0), (3, 0)], 0);
    let idle = counts(&mut balancer, 4000);
    assert!(idle[0].abs_diff(1000) <= 1, "{idle:?}");
    // Weight 3 with two requests on their way is as good as weight 1 with none.
    let busy: Vec<_> = (0..2).map(|_| balancer.endpoints()[1].begin_request()).collect();
    let loaded = counts(&mut balancer, 4000);
    assert!(loaded[0].abs_diff(2000) <= 2, "{loaded:?} with {}", busy.len());
}

#[test]
fn round_robin_is_exact() {
    let even = counts(&mut balancer(Policy::RoundRobin, &[(1, 0); 3], 0), 300);
    assert_eq!(even, [100, 100, 100, 0]);
    let weighted = counts(&mut balancer(Policy::RoundRobin, &[(1, 0), (2, 0), (7, 0)], 0), 1000);
    for (count, wanted) in weighted.iter().zip([100, 200, 700, 0]) {
        assert!(count.abs_diff(wanted) <= 1, "{weighted:?}");
    }
}

#[test]
fn round_robin_starts_by_the_draw_of_each_worker() {
    let first = balancer(Policy::RoundRobin, &[(1, 0); 4], 0);
    let mut no_draw = || unreachable!("round robin draws nothing");
    for draw in 0..8 {
        let mut worker = first.for_worker(draw);
        let picks: Vec<_> = (0..4).filter_map(|_| worker.pick(None, &[], &mut no_draw)).collect();
        let start = usize::try_from(draw % 4).unwrap();
        assert_eq!(picks, [start, (start + 1) % 4, (start + 2) % 4, (start + 3) % 4]);
    }
}

#[test]
fn random_is_uniform_whatever_the_weights() {
    let counts = counts(&mut balancer(Policy::Random, &[(1, 0), (5, 0), (9, 0)], 0), 3000);
    for count in &counts[..3] {
        assert_share(*count, 3000, 1.0 / 3.0, "random");
    }
}

#[test]
fn keys_stick_and_spread_by_weight() {
    for policy in [Policy::RingHash { minimum_ring_size: 4096 }, Policy::Maglev { table_size: 65_537 }] {
        let mut balancer = balancer(policy.clone(), &[(1, 0), (1, 0), (2, 0)], 0);
        let owner = balancer.pick(Some(hash_key(b"jason")), &[], &mut || 0);
        assert!((0..100).all(|draw| balancer.pick(Some(hash_key(b"jason")), &[], &mut || draw) == owner));
        let counts = counts(&mut balancer, 10_000);
        for (count, share) in counts.iter().zip([0.25, 0.25, 0.5]) {
            let got = f64::from(*count) / 10_000.0;
            assert!((got - share).abs() < 0.05, "{policy:?}: {counts:?}");
        }
    }
}

#[test]
fn no_key_goes_by_chance() {
    for policy in &every_policy()[3..] {
        let mut balancer = balancer(policy.clone(), &[(1, 0); 3], 0);
        let mut draws = SplitMix64(9);
        let picks: Vec<_> = (0..300).filter_map(|_| balancer.pick(None, &[], &mut || draws.draw())).collect();
        for endpoint in 0..3 {
            let share = picks.iter().filter(|pick| **pick == endpoint).count();
            assert!((60..=140).contains(&share), "{policy:?}: endpoint {endpoint} {share} times of 300");
        }
    }
}

#[test]
fn the_hash_of_a_key_is_xxhash64() {
    // From the algorithm's published test vectors, seed 0.
    assert_eq!(hash_key(b""), 0xef46_db37_51d8_e999);
    assert_eq!(hash_key(b"abc"), 0x44bc_2cf5_ad77_0999);
}

#[test]
fn an_ejection_is_seen_by_every_policy_and_moves_no_other_key() {
    for policy in every_policy() {
        let mut balancer = balancer(policy.clone(), &[(1, 0); 5], 0);
        let mut draws = SplitMix64(21);
        let hashes: Vec<_> = (0..1000).map(|_| draws.draw()).collect();
        let mut owners = |balancer: &mut Balancer| -> Vec<_> {
            hashes.iter().map(|hash| balancer.pick(Some(*hash), &[], &mut || draws.draw())).collect()
        };
        let before = owners(&mut balancer);
        balancer.endpoints()[2].set_ejected(true);
        let during = owners(&mut balancer);
        assert!(!during.contains(&Some(2)) && !during.contains(&None), "{policy:?}");
        balancer.endpoints()[2].set_ejected(false);
        let after = owners(&mut balancer);
        assert!(after.contains(&Some(2)), "{policy:?}");
        if matches!(policy, Policy::RingHash { .. } | Policy::Maglev { .. }) {
            assert_eq!(before, after);
            assert!(before.iter().zip(&during).all(|(before, during)| *before == Some(2) || before == during));
        }
    }
}

#[test]
fn the_share_of_the_ejected_spreads_over_the_rest() {
    for policy in every_policy() {
        let mut balancer = balancer(policy.clone(), &[(1, 0); 4], 0);
        balancer.endpoints()[0].set_ejected(true);
        let counts = counts(&mut balancer, 6000);
        for endpoint in 1..4 {
            let share = f64::from(counts[endpoint]) / 6000.0;
            assert!((share - 1.0 / 3.0).abs() < 0.1, "{policy:?}: {counts:?}");
        }
    }
}

#[test]
fn nobody_healthy_is_nobody_unless_health_is_to_be_ignored() {
    for policy in every_policy() {
        let mut empty = balancer(policy.clone(), &[], 50);
        assert_eq!(empty.pick(Some(1), &[], &mut || 1), None);
        for (threshold, found) in [(0, false), (1, true)] {
            let mut balancer = balancer(policy.clone(), &[(1, 0), (2, 0)], threshold);
            balancer.endpoints().iter().for_each(|endpoint| endpoint.set_ejected(true));
            assert_eq!(balancer.pick(Some(1), &[], &mut || 1).is_some(), found, "{policy:?}, threshold {threshold}");
        }
    }
}

#[test]
fn below_the_panic_threshold_traffic_is_even_over_all() {
    let mut balancer = balancer(Policy::RoundRobin, &[(1, 0); 3], 50);
    let all = balancer.endpoints().to_vec();
    all[0].set_ejected(true);
    assert_eq!(counts(&mut balancer, 300), [0, 150, 150, 0], "two of three are enough");
    all[1].set_ejected(true);
    assert_eq!(counts(&mut balancer, 300), [100, 100, 100, 0], "one of three is not");
    all[1].set_ejected(false);
    assert_eq!(counts(&mut balancer, 300), [0, 150, 150, 0]);
}

#[test]
fn load_spills_over_to_the_next_priority() {
    for policy in every_policy() {
        let mut balancer = balancer(policy.clone(), &[(1, 0), (1, 0), (1, 1), (1, 1)], 0);
        let all = balancer.endpoints().to_vec();
        let share = |balancer: &mut Balancer| -> u32 { counts(balancer, 5000)[..2].iter().sum() };
        assert_eq!(share(&mut balancer), 5000, "{policy:?}");
        all[0].set_ejected(true);
        assert_share(share(&mut balancer), 5000, 0.7, "half ejected × 1.4");
        all[1].set_ejected(true);
        assert_eq!(share(&mut balancer), 0, "{policy:?}");
        all[0].set_ejected(false);
        assert_share(share(&mut balancer), 5000, 0.7, "one is back");
    }
}

#[test]
fn priorities_may_have_gaps_and_any_order() {
    let mut balancer = balancer(Policy::RoundRobin, &[(1, 7), (1, 3), (1, 7)], 0);
    assert_eq!(counts(&mut balancer, 10), [0, 10, 0, 0]);
    balancer.endpoints()[1].set_ejected(true);
    assert_eq!(counts(&mut balancer, 10), [5, 0, 5, 0]);
}

#[test]
fn a_retry_looks_for_another_endpoint() {
    for policy in every_policy() {
        let mut balancer = balancer(policy.clone(), &[(1, 0); 4], 0);
        let mut draws = SplitMix64(33);
        let mut again = 0;
        for _ in 0..1000 {
            let hash = draws.draw();
            let first = balancer.pick(Some(hash), &[], &mut || draws.draw()).unwrap();
            let second = balancer.pick(Some(hash), &[first], &mut || draws.draw()).unwrap();
            again += u32::from(first == second);
        }
        // Six picks by chance: 1/4^6 of 1000; keys step over neighbouring points of one owner.
        assert!(again <= 10, "{policy:?}: the same endpoint {again} times");
    }
}

#[test]
fn a_retry_with_nobody_else_takes_the_same_after_five_more_picks() {
    let mut balancer = balancer(Policy::Random, &[(1, 0); 2], 0);
    let mut drawn = 0;
    let mut zeros = || {
        drawn += 1;
        0
    };
    assert_eq!(balancer.pick(None, &[0, 1], &mut zeros), Some(0));
    assert_eq!(drawn, 6);
}

#[test]
fn workers_share_health_and_load() {
    let mut first = balancer(Policy::Maglev { table_size: 101 }, &[(1, 0); 3], 0);
    let mut second = first.for_worker(99);
    assert!((0..100).all(|hash| first.pick(Some(hash), &[], &mut || 0) == second.pick(Some(hash), &[], &mut || 1)));
    second.endpoints()[1].set_ejected(true);
    assert!((0..200).all(|hash| first.pick(Some(hash), &[], &mut || 0) != Some(1)));
}

#[test]
fn picks_and_ejections_on_many_threads_agree_in_the_end() {
    let first = balancer(Policy::LeastRequest, &[(1, 0); 3], 0);
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let mut worker = first.for_worker(seed);
            scope.spawn(move || {
                let mut draws = SplitMix64(seed);
                for _ in 0..2000 {
                    let index = worker.pick(None, &[], &mut || draws.draw()).unwrap();
                    let _active = worker.endpoints()[index].begin_request();
                }
                while !worker.endpoints()[0].is_ejected() {
                    std::thread::yield_now();
                }
                assert!((0..200).all(|_| worker.pick(None, &[], &mut || draws.draw()) != Some(0)));
            });
        }
        first.endpoints()[0].set_ejected(true);
    });
    assert!(first.endpoints().iter().all(|endpoint| endpoint.active_requests() == 0));
}

#[test]
fn health_that_changes_elsewhere_leaves_the_turns_alone() {
    let mut balancer = balancer(Policy::RoundRobin, &[(1, 0), (1, 0), (2, 0)], 0);
    let elsewhere = endpoints(&[(1, 0)]);
    let mut picks = Vec::new();
    for turn in 0..40 {
        elsewhere[0].set_ejected(turn % 2 == 0);
        picks.extend(balancer.pick(None, &[], &mut || 0));
    }
    for (endpoint, wanted) in [10usize, 10, 20].into_iter().enumerate() {
        assert!(picks.iter().filter(|pick| **pick == endpoint).count().abs_diff(wanted) <= 1, "{picks:?}");
    }
}

#[test]
fn a_hash_does_not_bind_a_policy_without_keys() {
    let mut balancer = balancer(Policy::Random, &[(1, 0), (1, 0), (1, 1)], 0);
    balancer.endpoints()[0].set_ejected(true);
    let mut draws = SplitMix64(41);
    let picks: Vec<_> = (0..500).filter_map(|_| balancer.pick(Some(7), &[], &mut || draws.draw())).collect();
    assert!(picks.contains(&1) && picks.contains(&2), "both priorities");
}
