//! Lines from formats, and what is wrong with formats.

use super::*;
use crate::telemetry::Registry;
use crate::telemetry::fixtures;
use crate::telemetry::log_writer::LogWriter;
use serde_json::{Value, json};
use std::rc::Rc;
use std::sync::Arc;

fn compile(log: &AccessLog) -> Result<LogFormat, String> {
    LogFormat::compile(log, "node-1").map_err(|faults| faults.to_string())
}

fn text(format: &str) -> AccessLog {
    AccessLog { path: "/dev/null".into(), format: Some(format.into()), json_format: None }
}

fn json_log(format: Value) -> AccessLog {
    AccessLog { path: "/dev/null".into(), format: None, json_format: Some(format) }
}

fn line(log: &AccessLog, state: &StreamState) -> String {
    let (mut value, mut out) = (Vec::new(), Vec::new());
    let flags = ResponseFlags::FAULT_INJECTED;
    let duration = Duration::from_millis(17);
    compile(log).unwrap().write(&Logged { state, flags, duration }, &mut value, &mut out);
    String::from_utf8(out).unwrap()
}

/// The value of one operator.
fn says(operator: &str, state: &StreamState) -> String {
    line(&text(operator), state).trim_end_matches('\n').to_owned()
}

/// A stream that went upstream and came back.
fn answered() -> StreamState {
    let mut state = fixtures::stream();
    let response = [(":status", "200"), ("x-envoy-upstream-service-time", "5"), ("server", "a\"b")];
    state.response = response.into_iter().collect();
    state.response_trailers = [("grpc-status", "5")].into_iter().collect();
    state.details = "via_upstream".into();
    state.cluster = "outbound|80||shop".into();
    state.upstream = Some("10.0.0.3:8080".parse().unwrap());
    state.upstream_local = Some("[::1]:40000".parse().unwrap());
    state.body_bytes = [3, 18];
    state.request_ended = Some(Duration::from_millis(1));
    state.response_began = Some(Duration::from_millis(5));
    state.attempts = 2;
    state
}

#[test]
fn istios_line_without_a_format() {
    let log = AccessLog { path: "/dev/stdout".into(), format: None, json_format: None };
    assert_eq!(
        line(&log, &answered()),
        "[2026-11-22T08:34:00.123Z] \"GET /cart?id=1 HTTP/1.1\" 200 FI via_upstream - \"-\" 3 18 17 5 \"-\" \
         \"curl/7.88.1\" \"032e841a\" \"shop.test\" \"10.0.0.3:8080\" outbound|80||shop [::1]:40000 10.0.0.2:8080 \
         10.0.0.9:1000 - -\n"
    );
    let mut refused = fixtures::stream();
    refused.request.clear();
    refused.response = [(":status", "418")].into_iter().collect();
    refused.details = "fault_filter_abort".into();
    refused.properties.push((b"outrigger.route".to_vec(), b"r-abort".to_vec()));
    refused.request.add(":path", b"/new");
    refused.request.add("x-envoy-original-path", b"/old");
    assert_eq!(
        line(&log, &refused),
        "[2026-11-22T08:34:00.123Z] \"- /old HTTP/1.1\" 418 FI fault_filter_abort - \"-\" 0 0 17 - \"-\" \"-\" \"-\" \
         \"-\" \"-\" - - 10.0.0.2:8080 10.0.0.9:1000 - r-abort\n"
    );
}

#[test]
fn operators() {
    let state = answered();
    let rows = [
        ("%START_TIME(%Y/%m/%dT%H:%M:%S%z)%", "2026/11/22T08:34:00+0000"),
        ("%START_TIME(%s.%3f)%", "1795336440.123"),
        ("%REQ(User-Agent)%", "curl/7.88.1"),
        ("%REQ(X?:METHOD):2%", "GE"),
        ("%REQ(X?Y)%", "-"),
        ("%REQ_WITHOUT_QUERY(:PATH)%", "/cart"),
        ("%RESP(server)%", "a\\\"b"),
        ("%TRAILER(Grpc-Status)%", "5"),
        ("%PROTOCOL% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS%", "HTTP/1.1 200 via_upstream FI"),
        ("%BYTES_RECEIVED% %BYTES_SENT%", "3 18"),
        ("%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%", "17 1 5 12"),
        ("%REQUEST_HEADERS_BYTES% %RESPONSE_HEADERS_BYTES% %RESPONSE_TRAILERS_BYTES%", "96 49 12"),
        (
            "%UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_REMOTE_PORT%",
            "10.0.0.3:8080 10.0.0.3 8080",
        ),
        (
            "%UPSTREAM_LOCAL_ADDRESS% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_LOCAL_PORT%",
            "[::1]:40000 ::1 40000",
        ),
        (
            "%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_PORT%",
            "10.0.0.2:8080 10.0.0.2 8080",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_REMOTE_PORT%",
            "10.0.0.9:1000 10.0.0.9 1000",
        ),
        (
            "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS% %DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "10.0.0.1:2000 10.0.0.1",
        ),
        (
            "%UPSTREAM_CLUSTER% %UPSTREAM_CLUSTER_RAW% %UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "outbound|80||shop outbound|80||shop 2",
        ),
        ("%HOSTNAME% %CONNECTION_ID%", "node-1 7"),
        ("%REQUESTED_SERVER_NAME% %ROUTE_NAME% %DOWNSTREAM_TLS_VERSION% %DOWNSTREAM_PEER_URI_SAN%", "- - - -"),
        ("%DYNAMIC_METADATA(a:b)% %CLUSTER_METADATA(a)% %FILTER_STATE(none)% %GRPC_STATUS%", "- - - -"),
        ("%CONNECTION_TERMINATION_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%", "- -"),
        ("100%%", "100%"),
        ("", ""),
    ];
    for (format, wanted) in rows {
        assert_eq!(says(format, &state), wanted, "{format}");
    }
}

#[test]
fn operators_of_what_only_some_streams_have() {
    let mut state = answered();
    state.connection = fixtures::connection_of(Some("spiffe://cluster.local/ns/shop/sa/web"));
    let connection = Rc::make_mut(&mut state.connection);
    connection.requested_server_name = "shop.test".into();
    if let Some(peer) = connection.peer.as_mut().map(Arc::make_mut) {
        peer.uri_sans.push("spiffe://other".into());
        (peer.subject, peer.sha256) = ("CN=web".into(), "ab12".into());
    }
    state.request.add("content-type", b"application/grpc");
    state.route = "r1".into();
    state.termination_details = "rbac".into();
    state.transport_failure = "delayed_connect_error: Connection refused".into();
    state.properties.push((b"my.key".to_vec(), b"value".to_vec()));
    let rows = [
        ("%DOWNSTREAM_PEER_URI_SAN%", "spiffe://cluster.local/ns/shop/sa/web,spiffe://other"),
        ("%DOWNSTREAM_LOCAL_URI_SAN%", "spiffe://cluster.local/ns/bookinfo/sa/reviews"),
        ("%DOWNSTREAM_PEER_SUBJECT% %DOWNSTREAM_PEER_FINGERPRINT_256% %DOWNSTREAM_PEER_DNS_SAN%", "CN=web ab12 -"),
        ("%DOWNSTREAM_TLS_VERSION% %REQUESTED_SERVER_NAME% %ROUTE_NAME%", "TLSv1.3 shop.test r1"),
        (
            "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%",
            "NotFound NOT_FOUND 5 5",
        ),
        ("%FILTER_STATE(wasm.my.key)% %FILTER_STATE(my.key:PLAIN):3%", "value val"),
        (
            "%CONNECTION_TERMINATION_DETAILS% %UPSTREAM_TRANSPORT_FAILURE_REASON%",
            "rbac delayed_connect_error:_Connection_refused",
        ),
    ];
    for (format, wanted) in rows {
        assert_eq!(says(format, &state), wanted, "{format}");
    }
}

#[test]
fn a_stream_that_was_never_answered() {
    let mut state = fixtures::stream();
    state.protocol = "";
    let format = "%PROTOCOL% %RESPONSE_CODE% %UPSTREAM_HOST% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%";
    assert_eq!(says(format, &state), "- 0 - - -");
}

#[test]
fn nothing_forges_a_line() {
    let mut state = fixtures::stream();
    state.request.set("user-agent", b"x\" 200 -\r\n[2026] \"GET /forged\xff");
    let log = AccessLog { path: "/dev/null".into(), format: None, json_format: None };
    let written = line(&log, &state);
    assert_eq!(written.lines().count(), 1);
    assert!(written.contains(r#""x\" 200 -\r\n[2026] \"GET /forged\xff""#), "{written}");
    let written = line(&json_log(json!({ "a": "%REQ(user-agent)%", "b": "<%REQ(user-agent)%>" })), &state);
    let read: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(written.lines().count(), 1);
    assert_eq!(
        read,
        json!({ "a": "x\" 200 -\r\n[2026] \"GET /forged\\xff", "b": "<x\" 200 -\r\n[2026] \"GET /forged\\xff>" })
    );
}

#[test]
fn json_keeps_types() {
    let log = json_log(json!({
        "code": "%RESPONSE_CODE%",
        "sent": "%BYTES_SENT%",
        "missing": "%UPSTREAM_CLUSTER%",
        "cut": "%DURATION:0%",
        "none in text": "<%REQ(none)%>",
        "mixed \"é\"": "%PROTOCOL% \"%DURATION%\" 100%%",
        "nested": { "list": ["%REQ(user-agent)%", 5, true, null, "plain \\ \"text\"", ""] },
        "empty": {},
    }));
    let mut state = answered();
    state.cluster.clear();
    let written = line(&log, &state);
    let read: Value = serde_json::from_str(&written).unwrap();
    assert_eq!(
        read,
        json!({
            "code": 200,
            "sent": 18,
            "missing": null,
            "cut": null,
            "none in text": "<->",
            "mixed \"é\"": "HTTP/1.1 \"17\" 100%",
            "nested": { "list": ["curl/7.88.1", 5, true, null, "plain \\ \"text\"", ""] },
            "empty": {},
        })
    );
    assert!(written.ends_with("}\n"));
}

#[test]
fn every_line_ends_once() {
    for format in ["a", "a\n", "%PROTOCOL%", "%PROTOCOL%\n"] {
        let written = line(&text(format), &fixtures::stream());
        assert!(written.ends_with('\n') && written.lines().count() == 1, "{format:?}: {written:?}");
    }
}

#[test]
fn faults_name_the_operator_and_its_place_all_at_once() {
    let rows = [
        (
            text("a %NOPE% %PROTOCOL(x)%"),
            "accessLog.format: %NOPE% at byte 2: not an operator of access logs; accessLog.format: %PROTOCOL(x)% at byte 9: takes no argument",
        ),
        (text("%REQ%"), "accessLog.format: %REQ% at byte 0: an argument is missing"),
        (text("%REQ(a b)%"), "accessLog.format: %REQ(a b)% at byte 0: not a header name"),
        (text("%REQ(a):x%"), "accessLog.format: %REQ(a):x% at byte 0: expected a length behind the colon"),
        (
            text("x%"),
            "accessLog.format: at byte 1: a % begins a command that no other % ends: write %% for a percent sign",
        ),
        (
            text("%GRPC_STATUS(OTHER)%"),
            "accessLog.format: %GRPC_STATUS(OTHER)% at byte 0: expected CAMEL_STRING, SNAKE_STRING or NUMBER",
        ),
        (
            text("%FILTER_STATE(a:FIELD:b)%"),
            "accessLog.format: %FILTER_STATE(a:FIELD:b)% at byte 0: expected a key, or a key with :PLAIN or :TYPED",
        ),
        (
            json_log(json!({ "a": ["ok", "%NOPE%"], "b": { "c": "%x" } })),
            "accessLog.jsonFormat.a[1]: %NOPE% at byte 0: not an operator of access logs; accessLog.jsonFormat.b.c: at byte 0: a % begins a command that no other % ends: write %% for a percent sign",
        ),
        (json_log(json!("%PROTOCOL%")), "accessLog.jsonFormat: expected an object"),
        (
            AccessLog { path: "/dev/null".into(), format: Some("a".into()), json_format: Some(json!({})) },
            "accessLog: both format and jsonFormat are given",
        ),
    ];
    for (log, wanted) in rows {
        assert_eq!(compile(&log).err().as_deref(), Some(wanted));
    }
    let faults = compile(&text("%START_TIME(%Q)%")).err().unwrap();
    assert!(faults.starts_with("accessLog.format: %START_TIME(%Q)% at byte 0: "), "{faults}");
}

#[test]
fn listeners_of_a_worker_share_a_way_to_a_file() {
    let path = std::env::temp_dir().join(format!("outrigger-access-{}.log", std::process::id()));
    let writer = LogWriter::start(&Registry::for_threads(1)).unwrap();
    let mut logs = AccessLogs::new(writer.clone());
    let described = AccessLog { path: path.clone(), format: Some("%RESPONSE_CODE%".into()), json_format: None };
    let other = AccessLog { format: Some("%REQ(:method)%".into()), ..described.clone() };
    let (one, two) = (logs.logger(&described).unwrap(), logs.logger(&other).unwrap());
    assert!(Rc::ptr_eq(&one.sender, &two.sender));
    for logger in [&one, &two, &one] {
        logger.log(&answered(), ResponseFlags::NONE, Duration::ZERO);
    }
    writer.close(Duration::from_secs(60));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "200\nGET\n200\n");
    std::fs::remove_file(&path).unwrap();
    let missing = AccessLog { path: "/none/a.log".into(), ..described };
    let error = logs.logger(&missing).err().unwrap().to_string();
    assert!(error.starts_with("accessLog.path /none/a.log: No such file"), "{error}");
}
