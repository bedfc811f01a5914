//! `/ready`, `/live`, `/server_info`, and what ends or drains the proxy.

use crate::admin::Readiness;
use crate::admin::answer::{Answer, Asked};
use http::StatusCode;
use serde_json::json;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A configuration that was refused is said here, and takes nothing out of service: what serves is sound.
pub(super) fn ready(asked: &Asked<'_>) -> Answer {
    let readiness = asked.status.readiness();
    let mut body = format!("{}\n", readiness.state());
    if let Readiness::Initializing(reason) = &readiness {
        body += &format!("{reason}\n");
    }
    if let Some(reason) = asked.status.refused() {
        body += &format!("the last configuration was refused, and the one before it serves:\n{reason}\n");
    }
    if let Some(reason) = asked.status.stale_certificates() {
        body += &format!("there are no newer certificates that can be used, and those before serve:\n{reason}\n");
    }
    let status = if readiness == Readiness::Live { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Answer::text(body).with_status(status)
}

pub(super) fn live(_: &Asked<'_>) -> Answer {
    Answer::text("LIVE\n".into())
}

pub(super) fn version(_: &Asked<'_>) -> Answer {
    Answer::text(format!("outrigger {VERSION}\n"))
}

pub(super) fn server_info(asked: &Asked<'_>) -> Answer {
    let status = asked.status;
    let uptime = format!("{}s", status.uptime().as_secs());
    Answer::json(&json!({
        "version": format!("outrigger/{VERSION}"),
        "state": status.readiness().state(),
        "uptime_current_epoch": uptime,
        "uptime_all_epochs": uptime,
        "process_id": std::process::id(),
        "command_line_options": { "concurrency": status.workers() },
        "refused_configuration": status.refused(),
        "refused_certificates": status.stale_certificates(),
    }))
}

/// As the kernel counts it: `VmRSS` and its like are in kilobytes there.
pub(super) fn memory(_: &Asked<'_>) -> Answer {
    let read = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = read.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok())
    };
    let bytes = |name| kilobytes(name).map(|kilobytes| kilobytes * 1024);
    Answer::json(&json!({ "resident": bytes("VmRSS"), "peak": bytes("VmHWM"), "virtual": bytes("VmSize") }))
}

pub(super) fn drain_listeners(asked: &Asked<'_>) -> Answer {
    asked.status.drain_listeners(asked.parameter("inboundonly").is_some());
    Answer::ok()
}

pub(super) fn reopen_logs(asked: &Asked<'_>) -> Answer {
    asked.status.reopen_logs();
    Answer::ok()
}

pub(super) fn quit(asked: &Asked<'_>) -> Answer {
    asked.status.quit();
    Answer::ok()
}
