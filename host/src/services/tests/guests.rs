//! Calls as guests make and see them.

use super::*;
use crate::filter_chain::test_plugin::{GuestText, TestHost, chain_and_stream};

/// Pairs as guests write them.
fn pairs(headers: &[(&str, &str)]) -> Vec<u8> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    crate::wasm::encode_pairs(&headers)
}

const FREE: u32 = 8192;

/// A guest that calls as it is configured.
fn calling() -> GuestText {
    let headers = pairs(&[(":method", "GET"), (":path", "/start"), (":authority", "a")]);
    let length = headers.len();
    GuestText::logging().data(FREE, b"c").data(FREE + 8, &headers).on(
        "configure",
        &format!(
            "(i32.eqz (call $proxy_http_call (i32.const {FREE}) (i32.const 1) (i32.const {}) (i32.const {length})
               (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 4)))",
            FREE + 8
        ),
    )
}

/// Waits until the guests have written so many lines.
async fn lines(host: &TestHost, count: usize) -> Vec<String> {
    let mut lines = host.take_lines();
    while lines.len() < count {
        tokio::task::yield_now().await;
        lines.extend(host.take_lines());
    }
    lines
}

#[test]
fn a_plugin_calls_before_it_has_started() {
    run(false, async {
        let (listener, address) = listener().await;
        let caller = Caller::new(address, json!({}));
        let server = answer(listener, &["HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nyes"]);
        let host = TestHost::new();
        *host.services.caller.borrow_mut() = Some(caller.services.clone());
        let _plugin = host.plugin("p", &calling());
        assert_eq!(lines(&host, 2).await, ["p configure 0", "p http_call_response 4 3 3 0"]);
        assert!(server.await.unwrap()[0].starts_with("GET /start "));
    });
}

#[test]
fn a_plugin_that_ends_gives_up_its_calls() {
    run(false, async {
        let (listener, address) = listener().await;
        let caller = Caller::new(address, json!({}));
        let host = TestHost::new();
        *host.services.caller.borrow_mut() = Some(caller.services.clone());
        let plugin = host.plugin("p", &calling());
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        plugin.end();
        drop(plugin);
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        caller.assert_idle();
    });
}

/// A guest that begins a gRPC call with each connection.
fn calling_grpc() -> GuestText {
    GuestText::logging().data(FREE, b"c").data(FREE + 8, b"Do").on(
        "new_connection",
        &format!(
            "(call $proxy_grpc_call (i32.const {FREE}) (i32.const 1) (i32.const {FREE}) (i32.const 1)
               (i32.const {method}) (i32.const 2) (i32.const 0) (i32.const 0) (i32.const {method}) (i32.const 2)
               (i32.const 1000) (i32.const 4))",
            method = FREE + 8
        ),
    )
}

/// Of a call a guest gets the message once all is well, or else the status; never both.
#[test]
fn what_a_guest_is_told_of_a_grpc_call() {
    let ok = || vec![GrpcEvent::Message(Bytes::from_static(b"abc")), GrpcEvent::Closed(0, Vec::new())];
    let late = || vec![GrpcEvent::Message(Bytes::from_static(b"abc")), GrpcEvent::Closed(5, b"nf".to_vec())];
    let nothing = || vec![GrpcEvent::Closed(0, Vec::new())];
    let rows: [(Vec<GrpcEvent>, &str); 3] =
        [(ok(), "p grpc_receive 5 3"), (late(), "p grpc_close 5 5"), (nothing(), "p grpc_close 5 13")];
    for (sequence, expected) in rows {
        run(false, async {
            let host = TestHost::new();
            let (chain, stream) = chain_and_stream(vec![host.plugin("p", &calling_grpc())], HeaderList::new());
            let guest = chain.plugins()[0].context(&stream, 0).unwrap();
            guest.new_connection().unwrap();
            let mut pending = host.services.grpc_calls.take().pop().unwrap();
            assert_eq!((pending.call.cluster.as_str(), pending.call.method.as_str()), ("c", "Do"));
            assert_eq!(pending.messages.recv().await, Some((Bytes::from_static(b"Do"), true)));
            pending.events.send(GrpcEvent::InitialMetadata(HeaderList::new())).unwrap();
            for event in sequence {
                pending.events.send(event).unwrap();
            }
            pending.events.closed().await;
            assert_eq!(host.take_lines(), ["p new_connection", expected]);
            guest.end().unwrap();
        });
    }
}
