//! Ejecting endpoints that fail again and again: told of every outcome, swept by the main thread every interval.

use super::balancer::EndpointState;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// When an endpoint is ejected, and for how long (DestinationRule `outlierDetection`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierDetectionSettings {
    /// So many answers 500..=599 in a row eject; 0: off.
    pub consecutive_5xx: u32,
    /// So many answers 502, 503 or 504 in a row eject; 0: off. Of use only below `consecutive_5xx`.
    pub consecutive_gateway_errors: u32,
    /// Whether failures without an answer count apart, and not as gateway errors.
    pub split_external_local_origin_errors: bool,
    /// So many failures without an answer in a row eject; 0: off. Only with the split.
    pub consecutive_local_origin_failures: u32,
    /// From one sweep to the next.
    pub interval: Duration,
    /// How long an endpoint is out, times the number of its recent ejections.
    pub base_ejection_time: Duration,
    /// The longest it is out; at least the base.
    pub max_ejection_time: Duration,
    /// At most so many percent of the endpoints are out at once: a hard limit, 10 % of 9 endpoints is nobody.
    pub max_ejection_percent: u32,
    /// Below so many percent of healthy endpoints, ejections are ignored: the balancer's panic threshold.
    pub min_health_percent: u32,
}

impl Default for OutlierDetectionSettings {
    /// Istio's defaults: those of an `outlierDetection` block without fields.
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_errors: 0,
            split_external_local_origin_errors: false,
            consecutive_local_origin_failures: 5,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 10,
            min_health_percent: 0,
        }
    }
}

/// How an attempt at an endpoint went. Overflows and local replies are no outcome: they never reached it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The endpoint answered with this HTTP status.
    Status(u16),
    /// No answer: the connection failed or was reset, or time ran out.
    LocalOriginFailure,
    /// A connection or request came through; the status, if there is one, is reported apart.
    LocalOriginSuccess,
}

/// What outlier detection remembers of an endpoint. Lives in the endpoint, so that it survives a new detector.
#[derive(Debug, Default)]
pub(super) struct EjectionRecord {
    consecutive_5xx: AtomicU32,
    consecutive_gateway_errors: AtomicU32,
    consecutive_local_origin_failures: AtomicU32,
    /// Nanoseconds after the epoch of the last ejection. Valid once an ejection is seen.
    ejected_at: AtomicU64,
    /// Nanoseconds after the epoch, plus one, of the last return to service; 0: never ejected.
    readmitted_at: AtomicU64,
    /// How many times the base time the last ejection lasts, less what good behaviour has taken off since.
    multiplier: AtomicU32,
}

impl EjectionRecord {
    fn forget_failures(&self) {
        restart(&self.consecutive_5xx);
        restart(&self.consecutive_gateway_errors);
        restart(&self.consecutive_local_origin_failures);
    }
}

/// Sets a count back to 0. Most are 0 already: reading first keeps the cache line shared between the workers.
fn restart(count: &AtomicU32) {
    if count.load(Ordering::Relaxed) != 0 {
        count.store(0, Ordering::Relaxed);
    }
}

/// The outlier detection of one cluster, shared by all workers and the main thread.
#[derive(Debug)]
pub struct OutlierDetector {
    settings: OutlierDetectionSettings,
    endpoints: Vec<Arc<EndpointState>>,
    epoch: Instant,
    /// Held while an ejection is weighed against the limit, so that two threads cannot pass it together. Nobody waits
    /// for it: whoever finds it taken leaves the decision to the endpoint's next failure.
    deciding: AtomicBool,
}

impl OutlierDetector {
    /// A detector over the endpoints of a cluster, in the order of its balancers.
    ///
    /// `epoch` is any moment in the past, the same for every detector an endpoint is ever given to: times of
    /// ejections are kept in the endpoint, relative to it.
    pub fn new(settings: OutlierDetectionSettings, endpoints: Vec<Arc<EndpointState>>, epoch: Instant) -> Self {
        Self { settings, endpoints, epoch, deciding: AtomicBool::new(false) }
    }

    /// The settings; `interval` is the time between sweeps, `min_health_percent` the balancers' panic threshold.
    pub fn settings(&self) -> &OutlierDetectionSettings {
        &self.settings
    }

    /// How many endpoints are ejected now.
    pub fn ejected(&self) -> usize {
        self.endpoints.iter().filter(|endpoint| endpoint.is_ejected()).count()
    }

    /// Counts an outcome for the endpoint at `index`; an unknown index counts for nobody. Whether it ejected it.
    pub fn report(&self, index: usize, outcome: Outcome, now: Instant) -> bool {
        let Some(endpoint) = self.endpoints.get(index) else { return false };
        let split = self.settings.split_external_local_origin_errors;
        match outcome {
            Outcome::Status(status) => {
                if split {
                    // An answer means that the connection was fine.
                    restart(&endpoint.record.consecutive_local_origin_failures);
                }
                self.answered(endpoint, status, now)
            }
            // Without the split a failure is what the client saw: a 503 or 504.
            Outcome::LocalOriginFailure if !split => self.answered(endpoint, 503, now),
            Outcome::LocalOriginFailure => {
                let threshold = self.settings.consecutive_local_origin_failures;
                self.failed(endpoint, &endpoint.record.consecutive_local_origin_failures, threshold, now)
            }
            Outcome::LocalOriginSuccess => {
                // Without the split this says nothing: the status that follows does.
                restart(&endpoint.record.consecutive_local_origin_failures);
                false
            }
        }
    }

    /// Returns endpoints whose time is over to service, and forgives those that have behaved for an interval. To be
    /// called every interval. Gives the indices of the endpoints that returned.
    pub fn sweep(&self, now: Instant) -> Vec<usize> {
        let now = self.nanoseconds(now);
        let mut returned = Vec::new();
        for (index, endpoint) in self.endpoints.iter().enumerate() {
            if !endpoint.is_ejected() {
                self.forgive(endpoint, now);
            } else if self.is_over(endpoint, now) {
                readmit(endpoint, now);
                returned.push(index);
            }
        }
        returned
    }

    /// Returns every ejected endpoint to service, as when outlier detection is taken from a cluster.
    pub fn readmit_all(&self, now: Instant) {
        let now = self.nanoseconds(now);
        self.endpoints.iter().filter(|endpoint| endpoint.is_ejected()).for_each(|endpoint| readmit(endpoint, now));
    }

    fn answered(&self, endpoint: &EndpointState, status: u16, now: Instant) -> bool {
        let record = &endpoint.record;
        if !(500..=599).contains(&status) {
            restart(&record.consecutive_5xx);
            restart(&record.consecutive_gateway_errors);
            return false;
        }
        let by_gateway = if matches!(status, 502..=504) {
            let threshold = self.settings.consecutive_gateway_errors;
            self.failed(endpoint, &record.consecutive_gateway_errors, threshold, now)
        } else {
            restart(&record.consecutive_gateway_errors);
            false
        };
        self.failed(endpoint, &record.consecutive_5xx, self.settings.consecutive_5xx, now) || by_gateway
    }

    /// Counts one more failure in a row, and ejects at the threshold if the limit allows. When it does not, the
    /// count starts anew: the next try is a whole threshold away.
    fn failed(&self, endpoint: &EndpointState, count: &AtomicU32, threshold: u32, now: Instant) -> bool {
        if threshold == 0 {
            return false;
        }
        let reached = count.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= threshold;
        if !reached || endpoint.is_ejected() || self.deciding.swap(true, Ordering::Acquire) {
            return false;
        }
        // Asked again, for another thread may have ejected it just before.
        let ejects = !endpoint.is_ejected() && self.has_room();
        if ejects {
            self.eject(endpoint, self.nanoseconds(now));
        }
        restart(count);
        self.deciding.store(false, Ordering::Release);
        ejects
    }

    /// Whether one more may be ejected: (ejected + 1) / total × 100 <= limit.
    fn has_room(&self) -> bool {
        let limit = u64::from(self.settings.max_ejection_percent.min(100));
        let wanted = (self.ejected() as u64).saturating_add(1);
        wanted.saturating_mul(100) <= limit.saturating_mul(self.endpoints.len() as u64)
    }

    fn eject(&self, endpoint: &EndpointState, now: u64) {
        let record = &endpoint.record;
        record.ejected_at.store(now, Ordering::Relaxed);
        let multiplier = record.multiplier.load(Ordering::Relaxed);
        let base = self.settings.base_ejection_time;
        // Beyond the longest time a higher multiplier would only take longer to be forgiven.
        if base.saturating_mul(multiplier) < self.longest().saturating_add(base) {
            record.multiplier.store(multiplier.saturating_add(1), Ordering::Relaxed);
        }
        // Last, and with release: who sees the ejection sees its time.
        endpoint.set_ejected(true);
    }

    fn longest(&self) -> Duration {
        self.settings.max_ejection_time.max(self.settings.base_ejection_time)
    }

    fn is_over(&self, endpoint: &EndpointState, now: u64) -> bool {
        let multiplier = endpoint.record.multiplier.load(Ordering::Relaxed);
        let length = self.settings.base_ejection_time.saturating_mul(multiplier).min(self.longest());
        let passed = now.saturating_sub(endpoint.record.ejected_at.load(Ordering::Relaxed));
        Duration::from_nanos(passed) >= length
    }

    /// A whole interval in service lowers the multiplier by one.
    fn forgive(&self, endpoint: &EndpointState, now: u64) {
        let Some(since) = endpoint.record.readmitted_at.load(Ordering::Relaxed).checked_sub(1) else { return };
        if Duration::from_nanos(now.saturating_sub(since)) >= self.settings.interval {
            let lower = |multiplier: u32| multiplier.checked_sub(1);
            let _ = endpoint.record.multiplier.fetch_update(Ordering::Relaxed, Ordering::Relaxed, lower);
        }
    }

    fn nanoseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX)
    }
}

fn readmit(endpoint: &EndpointState, now: u64) {
    // Counts that stand close to their threshold would eject it again at once.
    endpoint.record.forget_failures();
    endpoint.record.readmitted_at.store(now.saturating_add(1), Ordering::Relaxed);
    endpoint.set_ejected(false);
}
