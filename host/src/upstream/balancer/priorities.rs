//! How the load spreads over priorities by their health, and when ejections are ignored (Envoy's rules).

/// A priority keeps this percentage of its healthy share: with 72 % healthy it still takes everything.
const OVERPROVISIONING_PERCENT: u64 = 140;

/// The endpoints of one priority: how many there are, and how many of them are healthy.
#[derive(Clone, Copy, Debug)]
pub(super) struct LevelHealth {
    pub(super) healthy: u64,
    pub(super) total: u64,
}

/// What one priority gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LevelLoad {
    /// Its share of all picks, in percent.
    pub(super) percent: u64,
    /// Whether its ejections are ignored: too few healthy endpoints are left.
    pub(super) panic: bool,
}

/// Distributes the load over priorities, the most wanted first. The shares add up to 100 unless there is no endpoint.
///
/// A priority panics when its healthy share is below `panic_threshold_percent`, but only while all priorities
/// together cannot take the whole load. When every priority panics, health is ignored and load goes by size.
pub(super) fn distribute(levels: &[LevelHealth], panic_threshold_percent: u32) -> Vec<LevelLoad> {
    let threshold = u64::from(panic_threshold_percent.min(100));
    let health: Vec<u64> = levels.iter().map(|level| overprovisioned(*level)).collect();
    let available = health.iter().sum::<u64>().min(100);
    let panics = levels.iter().map(|level| available < 100 && in_panic(*level, threshold));
    let mut loads: Vec<LevelLoad> = panics.map(|panic| LevelLoad { percent: 0, panic }).collect();
    if loads.iter().all(|load| load.panic) {
        by_size(levels, &mut loads);
    } else {
        by_health(&health, available, &mut loads);
    }
    loads
}

fn overprovisioned(level: LevelHealth) -> u64 {
    level.healthy.saturating_mul(OVERPROVISIONING_PERCENT).checked_div(level.total).unwrap_or(0).min(100)
}

/// In whole numbers: healthy / total × 100 < threshold. No endpoint at all counts as 0 % healthy.
fn in_panic(level: LevelHealth, threshold: u64) -> bool {
    if level.total == 0 {
        return threshold > 0;
    }
    level.healthy.saturating_mul(100) < threshold.saturating_mul(level.total)
}

fn by_health(health: &[u64], available: u64, loads: &mut [LevelLoad]) {
    let mut left: u64 = 100;
    for (load, health) in loads.iter_mut().zip(health) {
        load.percent = health.saturating_mul(100).checked_div(available).unwrap_or(0).min(left);
        left = left.saturating_sub(load.percent);
    }
    // What rounding left over; or everything, when nothing is healthy and nobody will be found.
    give_rest(left, loads, health.iter().map(|health| *health > 0));
}

fn by_size(levels: &[LevelHealth], loads: &mut [LevelLoad]) {
    let total: u64 = levels.iter().map(|level| level.total).sum();
    let mut left: u64 = 100;
    for (load, level) in loads.iter_mut().zip(levels) {
        load.percent = level.total.saturating_mul(100).checked_div(total).unwrap_or(0);
        left = left.saturating_sub(load.percent);
    }
    give_rest(left, loads, levels.iter().map(|level| level.total > 0));
}

fn give_rest(left: u64, loads: &mut [LevelLoad], mut may_take: impl Iterator<Item = bool>) {
    let first = may_take.position(|may| may).unwrap_or(0);
    if let Some(load) = loads.get_mut(first) {
        load.percent = load.percent.saturating_add(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Levels as (healthy, total), threshold, and the wanted (percent, panic).
    type Case = (&'static [(u64, u64)], u32, &'static [(u64, bool)]);

    const CASES: &[Case] = &[
        (&[(3, 3)], 0, &[(100, false)]),
        (&[(2, 2), (2, 2)], 0, &[(100, false), (0, false)]),
        // Half of the first priority ejected: 50 % × 1.4.
        (&[(1, 2), (2, 2)], 0, &[(70, false), (30, false)]),
        (&[(0, 2), (2, 2)], 0, &[(0, false), (100, false)]),
        // 72 % healthy is enough for all, 71 % is not.
        (&[(72, 100), (1, 1)], 0, &[(100, false), (0, false)]),
        (&[(71, 100), (1, 1)], 0, &[(99, false), (1, false)]),
        (&[(1, 4), (1, 4), (4, 4)], 0, &[(35, false), (35, false), (30, false)]),
        // Not enough anywhere: scaled up to 100, the rest of the rounding to the first healthy.
        (&[(1, 4), (1, 4)], 0, &[(50, false), (50, false)]),
        (&[(1, 10), (1, 5), (1, 10)], 0, &[(25, false), (50, false), (25, false)]),
        (&[(0, 10), (1, 7), (1, 11)], 0, &[(0, false), (63, false), (37, false)]),
        // Threshold 0 never panics: nothing healthy finds nobody.
        (&[(0, 3)], 0, &[(100, false)]),
        (&[(0, 3), (0, 3)], 0, &[(100, false), (0, false)]),
        // Below the threshold; at the threshold; below, but the rest still takes the whole load.
        (&[(1, 3)], 50, &[(100, true)]),
        (&[(2, 4)], 50, &[(100, false)]),
        (&[(3, 4)], 80, &[(100, false)]),
        (&[(0, 3)], 1, &[(100, true)]),
        (&[(1, 3)], 1000, &[(100, true)]),
        // One of two panics and keeps its share; when both do, size decides.
        (&[(1, 4), (2, 5)], 30, &[(39, true), (61, false)]),
        (&[(1, 4), (1, 12)], 50, &[(25, true), (75, true)]),
        (&[(0, 1), (0, 2)], 50, &[(34, true), (66, true)]),
        (&[(1, 4), (4, 4)], 50, &[(35, false), (65, false)]),
        (&[(0, 0), (0, 2)], 50, &[(0, true), (100, true)]),
    ];

    #[test]
    fn load_follows_health() {
        for (levels, threshold, wanted) in CASES {
            let health: Vec<_> =
                levels.iter().map(|(healthy, total)| LevelHealth { healthy: *healthy, total: *total }).collect();
            let loads: Vec<_> = distribute(&health, *threshold).iter().map(|load| (load.percent, load.panic)).collect();
            assert_eq!(&loads, wanted, "levels {levels:?}, threshold {threshold}");
            assert_eq!(loads.iter().map(|(percent, _)| percent).sum::<u64>(), 100, "levels {levels:?}");
        }
    }

    #[test]
    fn no_level_gets_no_load() {
        assert!(distribute(&[], 50).is_empty());
    }
}
