//! What every engine reports about a request, so that one check serves all.

use std::collections::BTreeMap;
use std::time::Duration;

/// A request that reached an upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Arrived {
    /// The cluster it was sent to.
    pub cluster: String,
    /// Method.
    pub method: String,
    /// Path, with query.
    pub path: String,
    /// Authority.
    pub authority: String,
    /// Headers, in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Body.
    pub body: Vec<u8>,
    /// Whether a plugin sent it by itself.
    pub by_plugin: bool,
}

/// What became of one request.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The client's status.
    pub status: u16,
    /// Response headers.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Response body.
    pub body: Vec<u8>,
    /// Everything that reached an upstream.
    pub arrived: Vec<Arrived>,
    /// How long it was held, or took.
    pub held: Duration,
}

/// What became of a request of a case, sent so often.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Each time it was sent.
    pub each: Vec<Observed>,
    /// Changes of the metrics that the case asks for.
    pub metrics: BTreeMap<String, i64>,
    /// Log lines of the plugins.
    pub log: Vec<String>,
    /// How late a held request may be: nothing where time is chosen.
    pub lateness: Duration,
}
