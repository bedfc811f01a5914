use super::*;

fn call(headers: &[(&str, &str)], body: &'static str) -> HttpCall {
    let mut all = list(&[(":method", "GET"), (":path", "/a?b"), (":authority", "svc.test")]);
    for (name, value) in headers {
        all.set(name, value.as_bytes());
    }
    if !body.is_empty() {
        all.add("content-length", body.len().to_string().as_bytes());
    }
    let timeout = Some(Duration::from_millis(1500));
    let (cluster, body, trailers) = ("c".to_owned(), Bytes::from_static(body.as_bytes()), HeaderList::new());
    HttpCall { cluster, headers: all, body, trailers, timeout }
}

/// Status, headers and body of an answer, as text.
fn told(response: &HttpCallResponse) -> String {
    format!("{}\n{}", text(&response.headers), response.body.escape_ascii())
}

const OK: &str = "HTTP/1.1 200 OK\r\nx-a: 1\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nhi";

#[test]
fn requests_on_one_connection() {
    run(false, async {
        let (listener, address) = listener().await;
        let caller = Caller::new(address, json!({}));
        let server = answer(listener, &[OK, OK]);
        let first = caller.services.http_call(call(&[("x-up", "Y"), ("connection", "upgrade")], "")).await;
        assert_eq!(told(&first), ":status: 200\nx-a: 1\ncontent-length: 2\n\nhi");
        assert!(first.headers.get("x-envoy-upstream-service-time").is_some());
        let mut post = call(&[(":method", "POST"), ("x-envoy-expected-rq-timeout-ms", "7")], "body");
        post.timeout = None;
        assert_eq!(caller.services.http_call(post).await.body, "hi");
        let requests = server.await.unwrap();
        assert_eq!(
            requests[0],
            "GET /a?b HTTP/1.1\r\nhost: svc.test\r\nx-up: Y\r\nx-envoy-internal: true\r\n\
             x-envoy-expected-rq-timeout-ms: 1500\r\n\r\n"
        );
        let expected =
            "POST /a?b HTTP/1.1\r\nhost: svc.test\r\nx-envoy-internal: true\r\ncontent-length: 4\r\n\r\nbody";
        assert_eq!(requests[1], expected, "without a timeout nothing is said of one");
        assert_eq!(caller.cluster.stats.connections.value(), 1);
        assert_eq!(caller.cluster.stats.requests.value(), 2);
        caller.assert_idle();
    });
}

#[test]
fn a_head_as_large_as_the_abi_carries() {
    run(false, async {
        let (listener, address) = listener().await;
        let caller = Caller::new(address, json!({}));
        let server = answer(listener, &[OK]);
        let mut large = call(&[], "");
        (0..1000).for_each(|number| large.headers.add(&format!("x-{number}"), &[b'v'; 500]));
        assert_eq!(caller.services.http_call(large).await.body, "hi");
        assert_eq!(server.await.unwrap()[0].lines().filter(|line| line.len() > 500).count(), 1000);
    });
}

#[test]
fn trailers_both_ways() {
    const TRAILED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-t: 1\r\n\r\n";
    run(false, async {
        let (listener, address) = listener().await;
        let caller = Caller::new(address, json!({}));
        let server = answer(listener, &[TRAILED]);
        let mut call = call(&[(":method", "POST")], "");
        call.trailers = list(&[("x-s", "2"), ("host", "other")]);
        let response = caller.services.http_call(call).await;
        assert_eq!((response.body, text(&response.trailers)), (Bytes::from_static(b"hi"), "x-t: 1\n".into()));
        assert!(server.await.unwrap()[0].ends_with("transfer-encoding: chunked\r\n\r\n0\r\nx-s: 2\r\n\r\n"));
    });
}

#[test]
fn failures_are_the_responses_that_clients_get() {
    const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";
    run(false, async {
        let (_, address) = listener().await;
        let refused = Caller::new(address, json!({}));
        let response = refused.services.http_call(call(&[], "")).await;
        let expected = ":status: 503\ncontent-length: 98\ncontent-type: text/plain\n\n";
        assert_eq!(told(&response), format!("{expected}{RESET}remote connection failure"));
        let response = refused.services.http_call(call(&[("content-type", "application/grpc")], "")).await;
        let expected = ":status: 200\ncontent-type: application/grpc\ngrpc-status: 14\ngrpc-message: ";
        assert_eq!(told(&response), format!("{expected}{RESET}remote connection failure\n\n"));
        let response = refused.services.http_call(call(&[(":method", "HEAD")], "")).await;
        assert_eq!(told(&response), ":status: 503\ncontent-length: 98\ncontent-type: text/plain\n\n");

        let full = Caller::new(address, json!({ "circuitBreakers": { "maxRequests": 0 } }));
        let response = full.services.http_call(call(&[], "")).await;
        assert_eq!(response.headers.get("x-envoy-overloaded"), Some(&b"true"[..]));
        assert_eq!(response.body, format!("{RESET}overflow"));

        let (listener, address) = listener().await;
        let closing = Caller::new(address, json!({}));
        let server = answer(listener, &[""]);
        let response = closing.services.http_call(call(&[], "")).await;
        assert_eq!(response.body, format!("{RESET}connection termination"));
        server.await.unwrap();
        closing.services.set_clusters(Rc::default());
        let response = closing.services.http_call(call(&[], "")).await;
        assert_eq!(told(&response), ":status: 503\ncontent-length: 0\n\n");
        [refused, full, closing].iter().for_each(Caller::assert_idle);
    });
}

#[test]
fn an_answer_that_does_not_come() {
    run(true, async {
        let (_listener, address) = silent().await;
        let caller = Caller::new(address, json!({}));
        let began = tokio::time::Instant::now();
        let response = caller.services.http_call(call(&[], "")).await;
        assert_eq!(began.elapsed().as_millis() / 10, 150);
        let expected = ":status: 504\ncontent-length: 24\ncontent-type: text/plain\n\nupstream request timeout";
        assert_eq!(told(&response), expected);
        caller.assert_idle();
    });
}

#[test]
fn what_cannot_be_sent_is_not() {
    run(false, async {
        let (listener, address) = silent().await;
        let caller = Caller::new(address, json!({}));
        for headers in [("x-a", "1\r\nx-b: 2"), ("x a", "1"), (":path", "no slash"), (":scheme", "ftp")] {
            let response = caller.services.http_call(call(&[headers], "")).await;
            assert_eq!(told(&response), ":status: 503\ncontent-length: 0\n\n", "{headers:?}");
        }
        let mut split = call(&[], "");
        split.trailers = list(&[("x-t", "1\r\n\r\nGET /")]);
        assert_eq!(caller.services.http_call(split).await.headers.get(":status"), Some(&b"503"[..]));
        assert_eq!(caller.cluster.stats.connections.value(), 0);
        drop(listener);
    });
}

#[test]
fn a_response_beyond_the_limit() {
    run(false, async {
        for (size, status) in [(1 << 20, "200"), ((1 << 20) + 1, "500")] {
            let (listener, address) = listener().await;
            let caller = Caller::new(address, json!({}));
            let server = spawn_local(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {size}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                // Whoever has heard enough hangs up.
                let _ = stream.write_all(&vec![b'x'; size]).await;
                stream
            });
            let response = caller.services.http_call(call(&[], "")).await;
            assert_eq!(response.headers.get(":status"), Some(status.as_bytes()));
            drop(server.await.unwrap());
        }
    });
}

/// The endpoint takes the second request of a connection and hangs up; what may be sent twice comes again.
#[test]
fn a_connection_that_was_idle_for_too_long() {
    run(false, async {
        for (method, status) in [("GET", "200"), ("POST", "503")] {
            let (listener, address) = listener().await;
            let caller = Caller::new(address, json!({}));
            let server = spawn_local(async move {
                let (mut first, _) = listener.accept().await.unwrap();
                read_request(&mut first).await;
                first.write_all(OK.as_bytes()).await.unwrap();
                read_request(&mut first).await;
                drop(first);
                if let Ok((mut second, _)) = listener.accept().await {
                    read_request(&mut second).await;
                    second.write_all(OK.as_bytes()).await.unwrap();
                }
            });
            caller.services.http_call(call(&[], "")).await;
            let response = caller.services.http_call(call(&[(":method", method)], "")).await;
            assert_eq!(response.headers.get(":status"), Some(status.as_bytes()));
            server.abort();
        }
    });
}

#[test]
fn the_judge_of_endpoints_is_told() {
    const BAD: &str = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
    run(false, async {
        let (listener, address) = listener().await;
        let detection = json!({ "outlierDetection": { "consecutive5xxErrors": 2, "maxEjectionPercent": 100 } });
        let caller = Caller::new(address, detection);
        let server = answer(listener, &[BAD, BAD]);
        for _ in 0..2 {
            assert!(!caller.cluster.endpoints[0].is_ejected());
            assert_eq!(caller.services.http_call(call(&[], "")).await.headers.get(":status"), Some(&b"502"[..]));
        }
        assert!(caller.cluster.endpoints[0].is_ejected());
        server.await.unwrap();
        assert_eq!(caller.services.http_call(call(&[], "")).await.body, "no healthy upstream");
    });
}

#[test]
fn a_call_that_is_given_up() {
    run(false, async {
        let (listener, address) = listener().await;
        let caller = Caller::new(address, json!({}));
        let under_way = spawn_local(caller.services.http_call(call(&[], "")));
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        under_way.abort();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        caller.assert_idle();
    });
}
