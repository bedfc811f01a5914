//! `/logging`: the levels of the log, shown and changed.

use crate::admin::answer::{Answer, Asked};
use crate::telemetry::LevelError;
use http::StatusCode;

/// Sets what the parameters say, all of it or none, and shows what is set then.
pub(super) fn logging(asked: &Asked<'_>) -> Answer {
    let Some(log) = asked.status.log() else {
        return Answer::text(format!("{}\n", LevelError::NoLog)).with_status(StatusCode::NOT_FOUND);
    };
    let changes: Vec<_> = asked.parameters.iter().flat_map(|(name, value)| changes(name, value)).collect();
    if let Err(errors) = log.apply(&changes) {
        let reasons: Vec<_> = errors.iter().map(ToString::to_string).collect();
        return Answer::bad(&reasons.join("\n"));
    }
    let levels = log.levels().to_string();
    Answer::text(levels.lines().fold(String::from("active loggers:\n"), |out, line| out + "  " + line + "\n"))
}

/// What a parameter changes: target, or everything, and level.
fn changes<'p>(name: &'p str, value: &'p str) -> Vec<(Option<&'p str>, &'p str)> {
    match name {
        "level" => vec![(None, value)],
        "paths" => {
            let parts = value.split(',').filter(|part| !part.is_empty());
            parts
                .map(|part| part.rsplit_once(':').unwrap_or((part, "")))
                .map(|(target, level)| (Some(target), level))
                .collect()
        }
        target => vec![(Some(target), value)],
    }
}
