//! `/stats`, `/metrics`.

use crate::admin::answer::{Answer, Asked};
use crate::telemetry::{PROMETHEUS_TYPE, StatsQuery, prometheus_text, stats_json, stats_text};

pub(super) fn stats(asked: &Asked<'_>) -> Answer {
    let query = match query(asked) {
        Ok(query) => query,
        Err(answer) => return answer,
    };
    let samples = asked.status.registry().collect();
    match asked.parameter("format") {
        None | Some("text") => Answer::text(stats_text(&samples, &query)),
        Some("json") => Answer::json(&stats_json(&samples, &query)),
        Some("prometheus") => Answer::with_kind(PROMETHEUS_TYPE, prometheus_text(&samples, &query)),
        Some(format) => Answer::bad(&format!("format: {format:?} is not text, json or prometheus")),
    }
}

pub(super) fn prometheus(asked: &Asked<'_>) -> Answer {
    match query(asked) {
        Ok(query) => Answer::with_kind(PROMETHEUS_TYPE, prometheus_text(&asked.status.registry().collect(), &query)),
        Err(answer) => answer,
    }
}

fn query(asked: &Asked<'_>) -> Result<StatsQuery, Answer> {
    Ok(StatsQuery { filter: asked.filter()?, used_only: asked.parameter("usedonly").is_some() })
}
