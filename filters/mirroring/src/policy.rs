//! Which mirrors a request is copied to: a function of draws.

use crate::config::{Mirror, MirrorPolicy};
use plugin_config::{At, Percent};

/// Compiled mirrors of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    mirrors: Vec<(String, Percent)>,
}

impl Policy {
    /// Compiles mirrors; every fault is recorded in `at`.
    pub fn compile(written: &MirrorPolicy, at: &mut At) -> Option<Self> {
        let one = written.mirror.as_ref().map(|mirror| at.field("mirror", |at| single(mirror, written, at)));
        let many = at.field("mirrors", |at| several(&written.mirrors, at));
        match (one, many?) {
            (Some(_), many) if !many.is_empty() => {
                at.field("mirrors", |at| at.fault("both", "mirror is given too: expected one of them"))
            }
            (Some(one), _) => Some(Self { mirrors: vec![one?] }),
            (None, many) if many.is_empty() => at.fault("{}", "expected mirror or mirrors"),
            (None, mirrors) => match shared_share(written, at)? {
                None => Some(Self { mirrors }),
                Some(_) => at.field("mirrorPercentage", |at| {
                    at.fault("given", "belongs to mirror: give each of mirrors its percentage")
                }),
            },
        }
    }

    /// The clusters that get a copy. Each mirror draws for itself, by its place among them; a draw that could not matter
    /// is not taken.
    pub fn decide<E>(&self, mut draw: impl FnMut(usize) -> Result<u64, E>) -> Result<Vec<&str>, E> {
        let mut hit = Vec::new();
        for (place, (cluster, share)) in self.mirrors.iter().enumerate() {
            if share.hits_drawn(|| draw(place))? {
                hit.push(cluster.as_str());
            }
        }
        Ok(hit)
    }

    /// The shares by place, in the order in which [`Self::decide`] draws.
    pub(crate) fn shares(&self) -> impl Iterator<Item = (usize, Percent)> {
        self.mirrors.iter().map(|(_, share)| *share).enumerate()
    }
}

/// The draws of one request, by the place of the mirror: each is taken once, however often it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Draws(Vec<Option<u64>>);

impl Draws {
    pub(crate) fn take<E>(&mut self, place: usize, draw: impl FnOnce() -> Result<u64, E>) -> Result<u64, E> {
        if let Some(Some(taken)) = self.0.get(place) {
            return Ok(*taken);
        }
        let drawn = draw()?;
        self.0.resize(self.0.len().max(place.saturating_add(1)), None);
        if let Some(taken) = self.0.get_mut(place) {
            *taken = Some(drawn);
        }
        Ok(drawn)
    }
}

fn single(mirror: &Mirror, written: &MirrorPolicy, at: &mut At) -> Option<(String, Percent)> {
    if mirror.percentage.is_some() {
        return at.field("percentage", |at| at.fault("given", "the share of mirror is mirrorPercentage, beside it"));
    }
    let cluster = cluster(mirror, at);
    let share = shared_share(written, at)?;
    Some((cluster?, share.unwrap_or(Percent::ALL)))
}

fn several(mirrors: &[Mirror], at: &mut At) -> Option<Vec<(String, Percent)>> {
    let mut compiled = Vec::with_capacity(mirrors.len());
    for (i, mirror) in mirrors.iter().enumerate() {
        let cluster = at.index(i, |at| cluster(mirror, at));
        compiled.extend(cluster.map(|cluster| (cluster, mirror.percentage.unwrap_or(Percent::ALL))));
    }
    (compiled.len() == mirrors.len()).then_some(compiled)
}

fn cluster(mirror: &Mirror, at: &mut At) -> Option<String> {
    if mirror.cluster.is_empty() {
        return at.field("cluster", |at| at.fault("\"\"", "expected the name of a cluster"));
    }
    Some(mirror.cluster.clone())
}

/// `Some(None)`: not given, which means every request, unlike for faults.
fn shared_share(written: &MirrorPolicy, at: &mut At) -> Option<Option<Percent>> {
    match (written.mirror_percentage, written.mirror_percent) {
        (Some(share), _) => Some(Some(share)),
        (None, None) => Some(None),
        (None, Some(percent)) => match percent.checked_mul(10_000).and_then(Percent::from_per_million) {
            Some(share) => Some(Some(share)),
            None => at.fault(percent, "mirrorPercent: expected 0 to 100"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use filter_api::Reach;

    fn compile(json: &str) -> Result<Policy, Vec<String>> {
        let mut at = At::root();
        let written = plugin_config::from_slice(json.as_bytes()).map_err(|_| vec!["unreadable".to_owned()])?;
        let policy = Policy::compile(&written, &mut at);
        let faults: Vec<String> = at.into_faults().iter().map(|fault| fault.path.clone()).collect();
        policy.filter(|_| faults.is_empty()).ok_or(faults)
    }

    fn decide(json: &str, draws: &[u64]) -> Vec<String> {
        let mut draws = draws.iter();
        let policy = compile(json).unwrap();
        let clusters = policy.decide(|_| draws.next().copied().ok_or("too many draws")).unwrap();
        clusters.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn a_missing_percentage_is_always() {
        assert_eq!(decide(r#"{"mirror": {"cluster": "m"}}"#, &[]), ["m"]);
        assert_eq!(decide(r#"{"mirrors": [{"cluster": "m"}]}"#, &[]), ["m"]);
    }

    #[test]
    fn each_mirror_draws_for_itself() {
        let json = r#"{"mirrors": [{"cluster": "a", "percentage": {"value": 50}}, {"cluster": "b", "percentage": {"value": 50}},
                       {"cluster": "c", "percentage": {"value": 0}}]}"#;
        assert_eq!(decide(json, &[0, u64::MAX]), ["a"]);
        assert_eq!(decide(json, &[u64::MAX, 0]), ["b"]);
        assert_eq!(decide(json, &[0, 0]), ["a", "b"]);
    }

    #[test]
    fn zero_is_off() {
        let policy = compile(r#"{"mirror": {"cluster": "m"}, "mirrorPercentage": {"value": 0}}"#).unwrap();
        assert_eq!(Reach::of([policy.shares()].into_iter()).may_hit(|_| Err("a draw")), Ok(false));
        assert_eq!(
            decide(r#"{"mirror": {"cluster": "m"}, "mirrorPercent": 100, "mirrorPercentage": {"value": 0}}"#, &[]),
            [""; 0]
        );
    }

    #[test]
    fn what_no_policy_reaches_is_copied_by_none() {
        let mirrors = |shares: &[u32]| {
            let mirror = |share| format!(r#"{{"cluster": "m", "percentage": {{"value": {share}}}}}"#);
            let mirrors: Vec<String> = shares.iter().map(mirror).collect();
            compile(&format!(r#"{{"mirrors": [{}]}}"#, mirrors.join(","))).unwrap()
        };
        let policies = [mirrors(&[10, 0, 30]), mirrors(&[20, 5])];
        let reach = Reach::of(policies.iter().map(Policy::shares));
        let draw = |percent: u64| u64::MAX / 100 * percent;
        for a in (0..100).step_by(7) {
            for b in (0..100).step_by(3) {
                for c in (0..100).step_by(9) {
                    let mut draws = Draws::default();
                    let mut drawn = 0;
                    let mut draw = |place: usize| {
                        draws.take(place, || {
                            drawn += 1;
                            [a, b, c].get(place).map(|percent| draw(*percent)).ok_or("a draw too many")
                        })
                    };
                    let reached = reach.may_hit(&mut draw).unwrap();
                    let copied = policies.iter().any(|policy| !policy.decide(&mut draw).unwrap().is_empty());
                    assert_eq!(reached, copied, "{a} {b} {c}");
                    assert!(drawn <= 3, "a draw is taken once");
                }
            }
        }
    }

    #[test]
    fn bad_policies_are_refused() {
        let cases: [(&str, &[&str]); 6] = [
            ("{}", &["$"]),
            (r#"{"mirror": {"cluster": "m"}, "mirrors": [{"cluster": "n"}]}"#, &["mirrors"]),
            (r#"{"mirror": {"cluster": ""}}"#, &["mirror.cluster"]),
            (r#"{"mirror": {"cluster": "m", "percentage": {"value": 1}}}"#, &["mirror.percentage"]),
            (r#"{"mirror": {"cluster": "m"}, "mirrorPercent": 101}"#, &["mirror"]),
            (r#"{"mirrors": [{"cluster": "m"}], "mirrorPercent": 5}"#, &["mirrorPercentage"]),
        ];
        for (json, paths) in cases {
            assert_eq!(compile(json).unwrap_err(), paths, "{json}");
        }
    }
}
