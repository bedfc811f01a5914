//! What several tables need.

use http_match::{Found, HeaderList, HttpMatchRequest, MatchTable, MatchTableBuilder, Request};
use plugin_config::At;

/// Runs something that may record faults; its result, and the faults as `path: value: reason`.
pub(crate) fn with_faults<T>(run: impl FnOnce(&mut At) -> T) -> (T, Vec<String>) {
    let mut at = At::root();
    let result = run(&mut at);
    (result, at.into_faults().iter().map(ToString::to_string).collect())
}

/// Runs something that must not record a fault.
pub(crate) fn faultless<T>(run: impl FnOnce(&mut At) -> T) -> T {
    let (result, faults) = with_faults(run);
    assert_eq!(faults, [""; 0]);
    result
}

/// Match clauses from JSON: a list.
pub(crate) fn clauses(json: &str) -> Vec<HttpMatchRequest> {
    plugin_config::from_slice(json.as_bytes()).unwrap_or_else(|faults| panic!("{json}: {faults}"))
}

/// A table whose entries are lists of match clauses in JSON.
pub(crate) fn table(entries: &[&str]) -> MatchTable {
    faultless(|at| {
        let mut builder = MatchTableBuilder::new();
        entries.iter().for_each(|entry| builder.push(&clauses(entry), at));
        builder.build()
    })
}

/// The headers of a `GET` of `target`, with further ones.
pub(crate) fn headers(target: &str, more: &[(&str, &str)]) -> HeaderList {
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "shop.example"), (":path", target)];
    pseudo.iter().filter(|(name, _)| more.iter().all(|(other, _)| other != name)).chain(more).copied().collect()
}

/// What a table finds for a request without a known port.
pub(crate) fn find(table: &MatchTable, headers: &HeaderList) -> Option<Found> {
    table.find(&Request::new(headers))
}
