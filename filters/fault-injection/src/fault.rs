//! What happens to a request: a function of two draws.

use crate::config::{Abort, Delay, FaultPolicy};
use plugin_config::{At, Percent, Quoted};
use std::time::Duration;

/// The answer an abort gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// An HTTP status; for a gRPC request the proxy maps it.
    Http(u16),
    /// A canonical gRPC code; a request that is not gRPC gets HTTP 200 and the text.
    Grpc(u8),
}

/// A compiled fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    delay: Option<(Duration, Percent)>,
    abort: Option<(Answer, Percent)>,
}

/// What one request gets: held first, then answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// How long it is held.
    pub delay: Option<Duration>,
    /// How it is answered.
    pub abort: Option<Answer>,
}

impl Fault {
    /// Compiles a policy; every fault of it is recorded in `at`.
    pub fn compile(policy: &FaultPolicy, at: &mut At) -> Option<Self> {
        if policy.delay.is_none() && policy.abort.is_none() {
            return at.fault("{}", "expected delay, abort, or both");
        }
        let delay = policy.delay.as_ref().map(|delay| at.field("delay", |at| compile_delay(delay, at)));
        let abort = policy.abort.as_ref().map(|abort| at.field("abort", |at| compile_abort(abort, at)));
        Some(Self { delay: flatten(delay)?, abort: flatten(abort)?.flatten() })
    }

    /// Decides. The two draws are independent; one that could not matter is not taken.
    pub fn decide<E>(&self, mut draw: impl FnMut(Draw) -> Result<u64, E>) -> Result<Faults, E> {
        let mut faults = Faults::default();
        if let Some((delay, share)) = self.delay
            && share.hits_drawn(|| draw(Draw::Delay))?
        {
            faults.delay = Some(delay);
        }
        if let Some((answer, share)) = self.abort
            && share.hits_drawn(|| draw(Draw::Abort))?
        {
            faults.abort = Some(answer);
        }
        Ok(faults)
    }

    /// The shares, by their draws, in the order in which [`Self::decide`] takes these.
    pub(crate) fn shares(&self) -> [(Draw, Percent); 2] {
        let delay = self.delay.map_or(Percent::NONE, |(_, share)| share);
        let abort = self.abort.map_or(Percent::NONE, |(_, share)| share);
        [(Draw::Delay, delay), (Draw::Abort, abort)]
    }
}

/// Which draw is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Draw {
    /// Whether to hold.
    Delay,
    /// Whether to answer.
    Abort,
}

/// `None`: a fault. `Some(None)`: not configured.
fn flatten<T>(compiled: Option<Option<T>>) -> Option<Option<T>> {
    match compiled {
        None => Some(None),
        Some(compiled) => compiled.map(Some),
    }
}

fn compile_delay(delay: &Delay, at: &mut At) -> Option<(Duration, Percent)> {
    let share = share(delay.percentage, delay.percent, at);
    let time = delay.fixed_delay;
    if time.whole_millis().is_none_or(|millis| millis == 0) {
        return at.field("fixedDelay", |at| at.fault(time, "expected at least 1ms, in whole milliseconds"));
    }
    Some((time.0, share?))
}

/// `Some(None)`: an abort without a status, which Istio accepts and which does nothing.
fn compile_abort(abort: &Abort, at: &mut At) -> Option<Option<(Answer, Percent)>> {
    let share = share(abort.percentage, abort.percent, at);
    let answer = match (abort.http_status, &abort.grpc_status) {
        (Some(_), Some(name)) => {
            at.field("grpcStatus", |at| at.fault(Quoted(name), "httpStatus is given too: expected one of them"))
        }
        (Some(status @ 200..=599), None) => Some(Some(Answer::Http(status))),
        (Some(status), None) => at.field("httpStatus", |at| at.fault(status, "expected 200 to 599")),
        (None, Some(name)) => at.field("grpcStatus", |at| grpc_code(name, at)).map(|code| Some(Answer::Grpc(code))),
        (None, None) => {
            log::warn!("an abort without httpStatus or grpcStatus has no effect");
            Some(None)
        }
    };
    let share = share?;
    answer.map(|answer| answer.map(|answer| (answer, share)))
}

/// Absent means never, unlike for mirroring.
fn share(percentage: Option<Percent>, percent: Option<u32>, at: &mut At) -> Option<Percent> {
    match (percentage, percent) {
        (Some(share), _) => Some(share),
        (None, Some(percent)) => percent
            .checked_mul(10_000)
            .and_then(Percent::from_per_million)
            .or_else(|| at.field("percent", |at| at.fault(percent, "expected 0 to 100"))),
        (None, None) => Some(Percent::NONE),
    }
}

/// The canonical codes, in the order of their numbers.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

fn grpc_code(name: &str, at: &mut At) -> Option<u8> {
    let position = GRPC_CODES.iter().position(|code| *code == name);
    position
        .and_then(|code| u8::try_from(code).ok())
        .or_else(|| at.fault(Quoted(name), "expected a canonical gRPC code in capitals, such as UNAVAILABLE"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use filter_api::Reach;

    fn compile(json: &str) -> Result<Fault, Vec<String>> {
        let mut at = At::root();
        let policy = plugin_config::from_slice::<FaultPolicy>(json.as_bytes());
        let policy = policy.map_err(|faults| faults.iter().map(|fault| fault.path.clone()).collect::<Vec<_>>())?;
        let fault = Fault::compile(&policy, &mut at);
        let faults: Vec<String> = at.into_faults().iter().map(|fault| fault.path.clone()).collect();
        fault.filter(|_| faults.is_empty()).ok_or(faults)
    }

    fn decide(json: &str, delay: u64, abort: u64) -> Faults {
        let fault = compile(json).unwrap();
        fault.decide(|which| Ok::<_, ()>(if which == Draw::Delay { delay } else { abort })).unwrap()
    }

    #[test]
    fn draws_are_independent() {
        let json = r#"{"delay": {"fixedDelay": "5s", "percentage": {"value": 50}},
                       "abort": {"httpStatus": 500, "percentage": {"value": 50}}}"#;
        let (hit, miss) = (0, u64::MAX);
        let (delay, abort) = (Some(Duration::from_secs(5)), Some(Answer::Http(500)));
        assert_eq!(decide(json, hit, hit), Faults { delay, abort });
        assert_eq!(decide(json, hit, miss), Faults { delay, abort: None });
        assert_eq!(decide(json, miss, hit), Faults { delay: None, abort });
        assert_eq!(decide(json, miss, miss), Faults::default());
    }

    #[test]
    fn a_missing_percentage_is_never() {
        for json in [r#"{"abort": {"httpStatus": 500}}"#, r#"{"delay": {"fixedDelay": "1s"}}"#] {
            let fault = compile(json).unwrap();
            assert_eq!(fault.decide(|_| Err("a draw was taken")), Ok(Faults::default()));
            assert_eq!(Reach::of([fault.shares()].into_iter()).may_hit(|_| Err("a draw was taken")), Ok(false));
        }
    }

    #[test]
    fn what_no_fault_reaches_hits_none() {
        let share = |delay: u32, abort: u32| {
            compile(&format!(
                r#"{{"delay": {{"fixedDelay": "1s", "percentage": {{"value": {delay}}}}},
                    "abort": {{"httpStatus": 500, "percentage": {{"value": {abort}}}}}}}"#
            ))
        };
        let faults = [share(10, 0).unwrap(), share(5, 30).unwrap(), share(0, 20).unwrap()];
        let reach = Reach::of(faults.iter().map(Fault::shares));
        for delay in 0..100 {
            for abort in 0..100 {
                let percent = u64::MAX / 100;
                let mut draw = |which| Ok::<_, ()>(percent * if which == Draw::Delay { delay } else { abort });
                let hit = faults.iter().any(|fault| fault.decide(&mut draw) != Ok(Faults::default()));
                assert_eq!(reach.may_hit(&mut draw), Ok(hit), "{delay} {abort}");
            }
        }
    }

    #[test]
    fn the_deprecated_percent_counts_when_alone() {
        assert_eq!(
            decide(r#"{"abort": {"httpStatus": 500, "percent": 100}}"#, 0, u64::MAX).abort,
            Some(Answer::Http(500))
        );
        let both = r#"{"abort": {"httpStatus": 500, "percent": 100, "percentage": {"value": 0}}}"#;
        assert_eq!(decide(both, 0, 0).abort, None);
    }

    #[test]
    fn bad_policies_are_refused_with_every_fault() {
        let cases: [(&str, &[&str]); 9] = [
            (r#"{"abort": {"httpStatus": 199, "percent": 101}}"#, &["abort.percent", "abort.httpStatus"]),
            (r#"{"abort": {"httpStatus": 600}}"#, &["abort.httpStatus"]),
            (r#"{"abort": {"grpcStatus": "unavailable"}}"#, &["abort.grpcStatus"]),
            (r#"{"abort": {"grpcStatus": "UNAVAILABLE", "httpStatus": 503}}"#, &["abort.grpcStatus"]),
            (r#"{"abort": {"http2Error": "x"}}"#, &["abort.http2Error"]),
            (r#"{"delay": {"fixedDelay": "0s"}}"#, &["delay.fixedDelay"]),
            (r#"{"delay": {"fixedDelay": "1.5ms"}}"#, &["delay.fixedDelay"]),
            (r#"{"delay": {"exponentialDelay": "1s"}}"#, &["delay.exponentialDelay", "delay.fixedDelay"]),
            ("{}", &["$"]),
        ];
        for (json, paths) in cases {
            assert_eq!(compile(json).unwrap_err(), paths, "{json}");
        }
    }

    #[test]
    fn grpc_codes_have_their_numbers() {
        for (name, code) in [("OK", 0), ("PERMISSION_DENIED", 7), ("UNAVAILABLE", 14), ("UNAUTHENTICATED", 16)] {
            let json = format!(r#"{{"abort": {{"grpcStatus": "{name}", "percentage": {{"value": 100}}}}}}"#);
            assert_eq!(decide(&json, 0, 0).abort, Some(Answer::Grpc(code)));
        }
    }
}
