//! Compares what was observed with what a case expects.

use crate::case_file::{Expect, Headers, Nothing, Of, Reached, Upstream};
use crate::engine::{Arrived, Observed, Outcome};

/// Everything that is not as expected; empty when all is.
pub fn outcome(expect: &Expect, outcome: &Outcome) -> Vec<String> {
    let mut wrong: Vec<String> = Vec::new();
    for (i, observed) in outcome.each.iter().enumerate() {
        let faults = single(expect, observed, outcome);
        wrong.extend(faults.into_iter().map(|fault| format!("request {i}: {fault}")));
        if wrong.len() > 5 {
            break;
        }
    }
    for share in &expect.shares {
        wrong.extend(shares(&share.of, share.share, &outcome.each));
    }
    for (name, expected) in &expect.metrics {
        let found = outcome.metrics.get(name).copied().unwrap_or(0);
        if found != *expected {
            wrong.push(format!("metric {name} changed by {found}, not by {expected}"));
        }
    }
    for text in &expect.log {
        if !outcome.log.iter().any(|line| line.contains(text)) {
            wrong.push(format!("no log line has {text:?}; there are {:#?}", outcome.log));
        }
    }
    if expect.status.is_none() && expect.shares.is_empty() {
        wrong.push("the case expects neither a status nor shares: it cannot fail".into());
    }
    wrong
}

fn single(expect: &Expect, observed: &Observed, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    if let Some(status) = expect.status
        && status != observed.status
    {
        let body = String::from_utf8_lossy(&observed.body);
        wrong.push(format!("status {} ({body}), not {status}", observed.status));
    }
    wrong.extend(headers("response", &expect.headers, &observed.headers));
    if let Some(body) = &expect.body
        && body.as_bytes() != observed.body
    {
        wrong.push(format!("response body {:?}, not {body:?}", String::from_utf8_lossy(&observed.body)));
    }
    wrong.extend(expect.upstream.as_ref().and_then(|expected| upstream(expected, observed)));
    if let Some(expected) = &expect.mirrors {
        wrong.extend(mirrors(expected, observed));
    }
    if let Some(delay) = expect.delay
        && !(delay.0..=delay.0 + outcome.lateness).contains(&observed.held)
    {
        wrong.push(format!("held for {:?}, not for {:?}", observed.held, delay.0));
    }
    wrong
}

fn upstream(expected: &Upstream, observed: &Observed) -> Option<String> {
    let primary = observed.arrived.iter().find(|arrived| !arrived.by_plugin);
    match (expected, primary) {
        (Upstream::None(Nothing::None), None) => None,
        (Upstream::None(Nothing::None), Some(arrived)) => Some(format!("{} reached an upstream", arrived.path)),
        (Upstream::Reached(_), None) => Some("nothing reached an upstream".into()),
        (Upstream::Reached(expected), Some(arrived)) => {
            let wrong = reached(expected, arrived);
            (!wrong.is_empty()).then(|| format!("at the upstream: {}", wrong.join("; ")))
        }
    }
}

/// Every expected copy must be there, and no other; their order does not count.
fn mirrors(expected: &[Reached], observed: &Observed) -> Vec<String> {
    let mut found: Vec<&Arrived> = observed.arrived.iter().filter(|arrived| arrived.by_plugin).collect();
    let mut wrong = Vec::new();
    for copy in expected {
        match found.iter().position(|arrived| reached(copy, arrived).is_empty()) {
            Some(place) => drop(found.remove(place)),
            None => {
                let closest = found.iter().map(|arrived| reached(copy, arrived).join("; "));
                wrong.push(format!("a copy is missing: {copy:?}; there are: {:?}", closest.collect::<Vec<_>>()));
            }
        }
    }
    wrong.extend(found.iter().map(|arrived| format!("an unexpected copy to {}: {}", arrived.cluster, arrived.path)));
    wrong
}

fn reached(expected: &Reached, arrived: &Arrived) -> Vec<String> {
    let texts = [
        ("cluster", &expected.cluster, &arrived.cluster),
        ("method", &expected.method, &arrived.method),
        ("path", &expected.path, &arrived.path),
        ("authority", &expected.authority, &arrived.authority),
    ];
    let mut wrong: Vec<String> = texts
        .into_iter()
        .filter_map(|(what, expected, found)| {
            expected
                .as_ref()
                .filter(|expected| *expected != found)
                .map(|expected| format!("{what} {found}, not {expected}"))
        })
        .collect();
    wrong.extend(headers("request", &expected.headers, &arrived.headers));
    if let Some(body) = &expected.body
        && body.bytes() != arrived.body
    {
        wrong.push(format!("a body of {} bytes, not the expected {}", arrived.body.len(), body.bytes().len()));
    }
    wrong
}

fn headers(which: &str, expected: &Headers, found: &[(String, Vec<u8>)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, expected) in expected {
        let values: Vec<Vec<u8>> =
            found.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.clone()).collect();
        let expected = expected.as_ref().map(|values| values.all()).unwrap_or_default();
        if values != expected {
            wrong.push(format!("{which} header {name}: {}, not {}", texts(&values), texts(&expected)));
        }
    }
    wrong
}

fn texts(values: &[Vec<u8>]) -> String {
    if values.is_empty() {
        return "absent".into();
    }
    format!("{:?}", values.iter().map(|value| String::from_utf8_lossy(value)).collect::<Vec<_>>())
}

/// Accepts what lies within four standard deviations: a right share is refused once in 15,000 runs.
fn shares(of: &Of, share: f64, each: &[Observed]) -> Option<String> {
    let hits = each.iter().filter(|observed| is(of, observed)).count() as f64;
    let n = each.len() as f64;
    let most = 4.0 * (n * share * (1.0 - share)).sqrt();
    let off = (hits - n * share).abs();
    (off > most).then(|| format!("{hits} of {n} are {of:?}: {off:.0} off, more than {most:.0}"))
}

fn is(of: &Of, observed: &Observed) -> bool {
    let to = |cluster: &String, by_plugin| {
        observed.arrived.iter().any(|arrived| arrived.by_plugin == by_plugin && arrived.cluster == *cluster)
    };
    of.status.is_none_or(|status| observed.status == status)
        && of.cluster.as_ref().is_none_or(|cluster| to(cluster, false))
        && of.mirror.as_ref().is_none_or(|cluster| to(cluster, true))
        && of.delayed.is_none_or(|delay| observed.held >= delay.0)
}
