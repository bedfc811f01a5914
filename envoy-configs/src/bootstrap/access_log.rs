//! Access logs.

use super::{typed, with};
use compiler::snapshot::AccessLog;
use serde_json::{Value, json};

/// The route is the filters' matter: Envoy's own has no name, ours stands in the property that `header-rules` sets.
const ROUTE: (&str, &str) = ("%ROUTE_NAME%", "%FILTER_STATE(wasm.outrigger.route:PLAIN)%");

pub(super) fn access_logs(written: Option<&AccessLog>) -> Vec<Value> {
    let Some(log) = written else { return Vec::new() };
    let format = match &log.json_format {
        Some(json) => json!({"json_format": renamed(json)}),
        None => {
            let mut text = log.format.as_deref().unwrap_or(AccessLog::ISTIO_FORMAT).replace(ROUTE.0, ROUTE.1);
            // As our proxy: a format is a line, whether or not it says so. Envoy would write one behind the other.
            if !text.ends_with('\n') {
                text.push('\n');
            }
            json!({"text_format_source": {"inline_string": text}})
        }
    };
    let logger = json!({"log_format": format});
    vec![match log.path.to_str() {
        Some("/dev/stdout") => logger_of("stream.v3.StdoutAccessLog", logger),
        Some("/dev/stderr") => logger_of("stream.v3.StderrAccessLog", logger),
        _ => logger_of("file.v3.FileAccessLog", with(logger, "path", json!(log.path))),
    }]
}

fn logger_of(message: &str, logger: Value) -> Value {
    let message = format!("envoy.extensions.access_loggers.{message}");
    json!({"name": "access_log", "typed_config": typed(&message, logger)})
}

/// The same object with the filters' route for Envoy's.
fn renamed(json: &Value) -> Value {
    match json {
        Value::String(text) => Value::from(text.replace(ROUTE.0, ROUTE.1)),
        Value::Array(all) => all.iter().map(renamed).collect(),
        Value::Object(all) => all.iter().map(|(name, value)| (name.clone(), renamed(value))).collect(),
        other => other.clone(),
    }
}
