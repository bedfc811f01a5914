use super::*;
use crate::http::to_response;
use h2::RecvStream;
use h2::server::SendResponse;

/// A request that an HTTP/2 upstream has got: its headers, its body, and the way back.
struct Asked {
    headers: String,
    body: RecvStream,
    respond: SendResponse<Bytes>,
}

/// Serves one HTTP/2 connection; hands out its requests.
fn upstream(listener: TcpListener) -> UnboundedReceiver<Asked> {
    let (sender, requests) = unbounded_channel();
    spawn_local(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, respond))) = connection.accept().await {
            let (parts, body) = request.into_parts();
            let fields = parts.headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
            let headers = format!("{} {}\n{}", parts.method, parts.uri, fields.collect::<String>());
            sender.send(Asked { headers, body, respond }).ok().unwrap();
        }
    });
    requests
}

impl Asked {
    fn answer(&mut self, headers: &[(&str, &str)], end: bool) -> Option<h2::SendStream<Bytes>> {
        let response = to_response(&list(headers)).unwrap();
        self.respond.send_response(response, end).ok()
    }

    async fn body(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(part) = self.body.data().await {
            let part = part.unwrap();
            self.body.flow_control().release_capacity(part.len()).unwrap();
            all.extend_from_slice(&part);
        }
        all
    }
}

fn trailers(headers: &[(&'static str, &'static str)]) -> ::http::HeaderMap {
    headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
}

const OK: &[(&str, &str)] = &[(":status", "200"), ("content-type", "application/grpc")];

fn call(timeout: Option<Duration>) -> GrpcCall {
    let metadata = list(&[("x-m", "1"), ("te", "gzip"), (":path", "/other"), ("grpc-timeout", "1n")]);
    let (cluster, service, method) = ("c".to_owned(), "a.v1.Service".to_owned(), "Do".to_owned());
    GrpcCall { cluster, service, method, metadata, timeout }
}

/// Begins an exchange with these messages, of which the last half-closes.
fn begin(caller: &Caller, timeout: Option<Duration>, messages: &[&'static str]) -> UnboundedReceiver<GrpcEvent> {
    let (sender, queued) = unbounded_channel();
    for (index, message) in messages.iter().enumerate() {
        sender.send((Bytes::from_static(message.as_bytes()), index + 1 == messages.len())).unwrap();
    }
    caller.services.grpc_call(call(timeout), queued)
}

/// Everything that comes, a line for each.
async fn told(mut events: UnboundedReceiver<GrpcEvent>) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(event) = events.recv().await {
        lines.push(match event {
            GrpcEvent::InitialMetadata(headers) => format!("initial {}", text(&headers).replace('\n', " ")),
            GrpcEvent::Message(message) => format!("message {}", message.escape_ascii()),
            GrpcEvent::TrailingMetadata(headers) => format!("trailing {}", text(&headers).replace('\n', " ")),
            GrpcEvent::Closed(status, text) => format!("closed {status} {}", text.escape_ascii()),
        });
    }
    lines
}

async fn http2() -> (TcpListener, Caller) {
    let (listener, address) = listener().await;
    (listener, Caller::new(address, json!({ "protocol": "http2" })))
}

#[test]
fn a_call() {
    run(false, async {
        let (listener, caller) = http2().await;
        let mut requests = upstream(listener);
        let events = begin(&caller, Some(Duration::from_secs(2)), &["ping"]);
        let mut asked = requests.recv().await.unwrap();
        assert_eq!(
            asked.headers,
            "POST http://c/a.v1.Service/Do\nte: trailers\ncontent-type: application/grpc\ngrpc-timeout: 2000m\n\
             x-m: 1\nx-envoy-internal: true\nx-envoy-expected-rq-timeout-ms: 2000\n"
        );
        assert_eq!(asked.body().await, b"\0\0\0\0\x04ping");
        let mut send = asked.answer(OK, false).unwrap();
        send.send_data(Bytes::from_static(b"\0\0\0\0\x04po"), false).unwrap();
        send.send_data(Bytes::from_static(b"ng"), false).unwrap();
        send.send_trailers(trailers(&[("grpc-status", "0"), ("x-t", "1")])).unwrap();
        let expected = [
            "initial :status: 200 content-type: application/grpc ",
            "message pong",
            "trailing grpc-status: 0 x-t: 1 ",
            "closed 0 ",
        ];
        assert_eq!(told(events).await, expected);
        caller.assert_idle();
    });
}

#[test]
fn a_stream() {
    run(false, async {
        let (listener, caller) = http2().await;
        let mut requests = upstream(listener);
        let (sender, queued) = unbounded_channel();
        let mut events = caller.services.grpc_call(call(None), queued);
        let mut asked = requests.recv().await.unwrap();
        assert!(!asked.headers.contains("timeout"), "{}", asked.headers);
        let mut send = asked.answer(OK, false).unwrap();
        assert!(matches!(events.recv().await, Some(GrpcEvent::InitialMetadata(_))));
        for (sent, framed) in [("a", &b"\0\0\0\0\x01a"[..]), ("", b"\0\0\0\0\0")] {
            sender.send((Bytes::from_static(sent.as_bytes()), false)).unwrap();
            assert_eq!(asked.body.data().await.unwrap().unwrap(), framed);
            send.send_data(Bytes::copy_from_slice(framed), false).unwrap();
            assert!(matches!(events.recv().await, Some(GrpcEvent::Message(message)) if message == sent));
        }
        // Half-closed without a message.
        drop(sender);
        assert_eq!(asked.body().await, b"");
        send.send_trailers(trailers(&[("grpc-status", "5"), ("grpc-message", "nf")])).unwrap();
        let expected = ["trailing grpc-status: 5 grpc-message: nf ", "closed 5 nf{via_upstream}"];
        assert_eq!(told(events).await, expected);
    });
}

#[test]
fn ends_that_are_no_good_ones() {
    type Answer = fn(&mut Asked);
    const COMPRESSED: &[u8] = b"\x01\0\0\0\x01a";
    const TOO_LARGE: &[u8] = b"\0\0\x10\0\x01";
    let rows: [(Answer, &[&str]); 8] = [
        (
            |asked| drop(asked.answer(&[(":status", "200"), ("grpc-status", "7"), ("grpc-message", "no")], true)),
            &["initial ", "trailing :status: 200 grpc-status: 7 grpc-message: no ", "closed 7 no{via_upstream}"],
        ),
        (
            |asked| drop(asked.answer(&[(":status", "503"), ("grpc-status", "8")], true)),
            &["initial ", "trailing :status: 503 grpc-status: 8 ", "closed 8 {via_upstream}"],
        ),
        (
            |asked| drop(asked.answer(&[(":status", "401")], true)),
            &["initial :status: 401 ", "trailing ", "closed 16 HTTP status 401{via_upstream}"],
        ),
        (
            |asked| drop(asked.answer(OK, true)),
            &["initial ", "trailing :status: 200 content-type: application/grpc ", "closed 2 {via_upstream}"],
        ),
        (
            |asked| asked.answer(OK, false).unwrap().send_data(Bytes::new(), true).unwrap(),
            &[
                "initial :status: 200 content-type: application/grpc ",
                "trailing ",
                "closed 2 the response ends without trailers",
            ],
        ),
        (
            |asked| asked.answer(OK, false).unwrap().send_data(Bytes::from_static(COMPRESSED), false).unwrap(),
            &["initial :status: 200 content-type: application/grpc ", "trailing ", "closed 13 a compressed message"],
        ),
        (
            |asked| asked.answer(OK, false).unwrap().send_data(Bytes::from_static(TOO_LARGE), false).unwrap(),
            &[
                "initial :status: 200 content-type: application/grpc ",
                "trailing ",
                "closed 8 a message of 1048577 bytes, more than 1048576",
            ],
        ),
        (
            |asked| asked.respond.send_reset(h2::Reason::REFUSED_STREAM),
            &[
                "initial ",
                "trailing :status: 200 content-type: application/grpc grpc-status: 14 grpc-message: upstream connect error \
             or disconnect/reset before headers. reset reason: remote refused stream reset ",
                "closed 14 upstream connect error or disconnect/reset before headers. reset reason: remote refused stream \
             reset{upstream_reset_before_response_started{remote_refused_stream_reset}}",
            ],
        ),
    ];
    run(false, async {
        for (answer, expected) in rows {
            let (listener, caller) = http2().await;
            let mut requests = upstream(listener);
            let events = begin(&caller, Some(Duration::from_secs(20)), &["ping"]);
            let mut asked = requests.recv().await.unwrap();
            asked.body().await;
            answer(&mut asked);
            assert_eq!(told(events).await, expected);
            caller.assert_idle();
        }
    });
}

#[test]
fn a_response_that_is_cut() {
    run(false, async {
        let (listener, caller) = http2().await;
        let mut requests = upstream(listener);
        let mut events = begin(&caller, None, &["ping"]);
        let mut send = requests.recv().await.unwrap().answer(OK, false).unwrap();
        assert!(matches!(events.recv().await, Some(GrpcEvent::InitialMetadata(_))));
        send.send_reset(h2::Reason::INTERNAL_ERROR);
        assert_eq!(told(events).await, ["trailing ", "closed 13 upstream reset after its headers"]);
    });
}

#[test]
fn no_answer_and_no_connection() {
    run(true, async {
        let (_listener, address) = silent().await;
        let caller = Caller::new(address, json!({ "protocol": "http2" }));
        let events = begin(&caller, Some(Duration::from_millis(300)), &["ping"]);
        assert_eq!(told(events).await[2], "closed 14 upstream request timeout{response_timeout}");
        caller.assert_idle();
        caller.services.set_clusters(Rc::default());
        assert_eq!(told(begin(&caller, None, &["ping"])).await[2], "closed 14 {cluster_not_found}");
    });
    run(false, async {
        let (_, address) = listener().await;
        let caller = Caller::new(address, json!({ "protocol": "http2" }));
        let told = told(begin(&caller, None, &["ping"])).await;
        assert!(told[2].starts_with("closed 14 upstream connect error"), "{told:?}");
        assert!(told[2].ends_with("{upstream_reset_before_response_started{remote_connection_failure}}"), "{told:?}");
    });
}

#[test]
fn an_exchange_that_is_given_up_is_reset() {
    run(false, async {
        let (listener, caller) = http2().await;
        let mut requests = upstream(listener);
        let (sender, queued) = unbounded_channel();
        let events = caller.services.grpc_call(call(None), queued);
        let mut asked = requests.recv().await.unwrap();
        drop(events);
        let error = asked.body.data().await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        assert!(sender.is_closed());
        caller.assert_idle();
    });
}

/// More than the windows of a stream, both ways, in messages.
#[test]
fn many_messages() {
    const COUNT: usize = 300;
    run(false, async {
        let (listener, caller) = http2().await;
        let mut requests = upstream(listener);
        let (sender, queued) = unbounded_channel();
        let mut events = caller.services.grpc_call(call(None), queued);
        let message = Bytes::from(vec![7; 10_000]);
        (0..COUNT).for_each(|_| sender.send((message.clone(), false)).unwrap());
        drop(sender);
        let mut asked = requests.recv().await.unwrap();
        let mut send = asked.answer(OK, false).unwrap();
        let echo = spawn_local(async move {
            while let Some(part) = asked.body.data().await {
                let part = part.unwrap();
                asked.body.flow_control().release_capacity(part.len()).unwrap();
                // The capacity is the upstream's matter: its queue is not bounded here.
                send.send_data(part, false).unwrap();
            }
            send.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
        });
        let mut count = 0;
        while let Some(event) = events.recv().await {
            match event {
                GrpcEvent::Message(got) => {
                    assert_eq!(got, message);
                    count += 1;
                }
                GrpcEvent::Closed(status, _) => assert_eq!(status, 0),
                GrpcEvent::InitialMetadata(_) | GrpcEvent::TrailingMetadata(_) => {}
            }
        }
        assert_eq!(count, COUNT);
        echo.await.unwrap();
    });
}
