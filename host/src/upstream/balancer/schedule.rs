//! A weighted schedule: earliest deadline first, as Envoy schedules endpoints of unequal weight.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Endpoints in the order of their next turns. Smooth: turns of a heavy endpoint spread between those of others.
#[derive(Clone, Debug, Default)]
pub(super) struct Schedule {
    turns: BinaryHeap<Turn>,
    added: u64,
}

/// When an endpoint's next turn is due, in units of one turn of weight 1. Equal deadlines go first come, first served.
#[derive(Clone, Copy, Debug)]
struct Turn {
    deadline: f64,
    order: u64,
    endpoint: usize,
}

impl Schedule {
    /// A schedule of endpoints, started `skip` turns into it: workers that start alike would go in step.
    /// `weight_of` gives an endpoint's weight as of now, above 0.
    pub(super) fn new(endpoints: &[usize], weight_of: impl Fn(usize) -> f64, skip: u64) -> Self {
        let mut schedule = Self::default();
        for &endpoint in endpoints {
            let deadline = 1.0 / weight_of(endpoint);
            schedule.turns.push(Turn { deadline, order: schedule.added, endpoint });
            schedule.added = schedule.added.saturating_add(1);
        }
        let skip = skip.checked_rem(schedule.added.saturating_mul(2)).unwrap_or(0);
        for _ in 0..skip {
            schedule.next(&weight_of);
        }
        schedule
    }

    /// The endpoint whose turn it is. `weight_of` says how soon it comes again: its weight as of now, above 0.
    pub(super) fn next(&mut self, weight_of: impl Fn(usize) -> f64) -> Option<usize> {
        let mut turn = self.turns.peek_mut()?;
        let endpoint = turn.endpoint;
        turn.deadline += 1.0 / weight_of(endpoint);
        turn.order = self.added;
        self.added = self.added.wrapping_add(1);
        Some(endpoint)
    }
}

/// The heap has the greatest on top: the earliest deadline is the greatest.
impl Ord for Turn {
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then_with(|| other.order.cmp(&self.order))
    }
}

impl PartialOrd for Turn {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Turn {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Turn {}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(weights: &[f64], skip: u64, count: usize) -> Vec<usize> {
        let endpoints: Vec<_> = (0..weights.len()).collect();
        let mut schedule = Schedule::new(&endpoints, |endpoint| weights[endpoint], skip);
        (0..count).filter_map(|_| schedule.next(|endpoint| weights[endpoint])).collect()
    }

    #[test]
    fn a_heavy_endpoint_is_spread_between_the_others() {
        assert_eq!(turns(&[1.0, 4.0], 0, 10), [1, 1, 1, 0, 1, 1, 1, 1, 0, 1]);
        assert_eq!(turns(&[1.0, 1.0, 1.0], 0, 6), [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn shares_are_exact_from_any_start() {
        for skip in [0, 1, 5, u64::MAX] {
            let picks = turns(&[1.0, 2.0, 7.0], skip, 1000);
            for (endpoint, wanted) in [100, 200, 700].into_iter().enumerate() {
                let got = picks.iter().filter(|pick| **pick == endpoint).count();
                assert!(got.abs_diff(wanted) <= 1, "endpoint {endpoint} from {skip}: {got}");
            }
        }
    }

    #[test]
    fn starts_differ_and_nobody_is_nobody() {
        assert_ne!(turns(&[1.0, 2.0, 4.0], 0, 6), turns(&[1.0, 2.0, 4.0], 2, 6));
        assert!(turns(&[], 7, 3).is_empty());
    }

    #[test]
    fn a_weight_that_falls_delays_the_next_turn() {
        let mut schedule = Schedule::new(&[0, 1], |_| 1.0, 0);
        let picks: Vec<_> =
            (0..5).filter_map(|_| schedule.next(|endpoint| if endpoint == 0 { 0.25 } else { 1.0 })).collect();
        assert_eq!(picks, [0, 1, 1, 1, 1]);
    }
}
