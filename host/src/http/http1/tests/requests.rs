//! Request heads: what passes and as what, and every way to be refused.

use super::{SMALL, request_in_pieces, text};
use crate::http::http1::head::{Framing, HeadLimits, RequestHead, Upgrade, Version, parse_request};
use crate::http::refused::Refused;

fn parse(request: &str) -> Result<Option<(RequestHead, usize)>, Refused> {
    let whole = parse_request(request.as_bytes(), "http", &SMALL);
    assert_eq!(request_in_pieces(request.as_bytes(), &SMALL), whole, "{request:?} byte by byte");
    whole
}

fn head(request: &str) -> RequestHead {
    let (head, used) = parse(request).unwrap().unwrap();
    assert_eq!(used, request.find("\r\n\r\n").unwrap() + 4);
    head
}

#[test]
fn a_plain_request() {
    let request = "POST /a/b?c=d HTTP/1.1\r\nAccept: */*\r\nHOST: A.example.com:80\r\nX-M: 1\r\nx-m:\t2 \r\nContent-Length: 3\r\n\r\nabc";
    let (head, used) = parse(request).unwrap().unwrap();
    assert_eq!(&request[used..], "abc");
    assert_eq!(
        text(&head.headers),
        ":authority=A.example.com:80|:path=/a/b?c=d|:method=POST|:scheme=http|accept=*/*|x-m=1|x-m=2|content-length=3"
    );
    assert_eq!((head.version, head.framing, head.keep_alive), (Version::Http11, Framing::Length(3), true));
    assert_eq!((head.expect_continue, head.upgrade, head.connect), (false, None, false));
    let (head, _) = parse_request(request.as_bytes(), "https", &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(head.headers.get(":scheme"), Some(&b"https"[..]));
}

#[test]
fn targets() {
    for (line, expected) in [
        ("GET / HTTP/1.1", ":authority=h|:path=/|:method=GET|:scheme=http"),
        ("OPTIONS * HTTP/1.1", ":authority=h|:path=*|:method=OPTIONS|:scheme=http"),
        ("GET http://b.example/p?q HTTP/1.1", ":authority=b.example|:path=/p?q|:method=GET|:scheme=http"),
        ("GET HTTPS://b HTTP/1.1", ":authority=b|:path=/|:method=GET|:scheme=http"),
        ("GET http://b?q HTTP/1.1", ":authority=b|:path=/?q|:method=GET|:scheme=http"),
        ("OPTIONS http://b HTTP/1.1", ":authority=b|:path=*|:method=OPTIONS|:scheme=http"),
        ("CONNECT c.example:443 HTTP/1.1", ":authority=c.example:443|:method=CONNECT"),
        ("get //x HTTP/1.1", ":authority=h|:path=//x|:method=get|:scheme=http"),
    ] {
        let head = head(&format!("{line}\r\nHost: h\r\nA: 1\r\n\r\n"));
        assert_eq!(text(&head.headers), format!("{expected}|a=1"), "{line}");
        assert_eq!(head.connect, line.starts_with("CONNECT"));
        assert_eq!(head.framing, Framing::None);
    }
}

#[test]
fn what_the_fields_say() {
    let fields = |fields: &str| head(&format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"));
    for (lines, framing) in [
        ("", Framing::None),
        ("Content-Length: 0\r\n", Framing::Length(0)),
        ("Content-Length: 007\r\n", Framing::Length(7)),
        ("Content-Length: 18446744073709551615\r\n", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked\r\n", Framing::Chunked),
        ("transfer-encoding:\tCHUNKED \r\n", Framing::Chunked),
    ] {
        assert_eq!(fields(lines).framing, framing, "{lines}");
    }
    assert!(fields("Transfer-Encoding: chunked\r\n").headers.get("transfer-encoding").is_some());
    for (lines, keep_alive) in [
        ("", true),
        ("Connection: close\r\n", false),
        ("Connection: keep-alive, CLOSE\r\n", false),
        ("Connection: x\r\nConnection: close\r\n", false),
        ("Connection: closed\r\n", true),
    ] {
        assert_eq!(fields(lines).keep_alive, keep_alive, "{lines}");
    }
    for (lines, upgrade) in [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", Some(Upgrade::Websocket)),
        ("Upgrade: WebSocket\r\nConnection: keep-alive, upgrade\r\n", Some(Upgrade::Websocket)),
        ("Upgrade: h2c\r\nConnection: upgrade\r\n", Some(Upgrade::Other)),
        ("Upgrade: websocket, h2c\r\nConnection: upgrade\r\n", Some(Upgrade::Other)),
        ("Upgrade: websocket\r\nUpgrade: h2c\r\nConnection: upgrade\r\n", Some(Upgrade::Other)),
        ("Upgrade: h2c\r\nUpgrade: websocket\r\nConnection: upgrade\r\n", Some(Upgrade::Other)),
        ("Upgrade: websocket\r\n", None),
        ("Connection: upgrade\r\n", None),
        ("Connection: upgrade\r\nUpgrade:\r\n", None),
    ] {
        assert_eq!(fields(lines).upgrade, upgrade, "{lines}");
    }
    assert!(fields("Expect: 100-Continue\r\n").expect_continue);
    assert!(!fields("Expect:\r\n").expect_continue);
}

#[test]
fn more_bytes_are_needed() {
    for request in ["", "\r", "\r\n", "G", "GET", "GET ", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r"] {
        assert_eq!(parse(request), Ok(None), "{request:?}");
    }
}

#[test]
fn one_empty_line_in_front() {
    let (_, used) = parse("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().unwrap();
    assert_eq!(used, 29);
    for request in ["\r\n\r\nGET / HTTP/1.1\r\n", "\n", "\nGET /", "\r\rGET /", "\rG"] {
        assert_eq!(parse(request), Err(Refused::CODEC_ERROR), "{request:?}");
    }
}

#[test]
fn hostile_first_lines() {
    for (line, refused) in [
        ("", Refused::CODEC_ERROR),
        (" GET / HTTP/1.1", Refused::CODEC_ERROR),
        ("\tGET / HTTP/1.1", Refused::CODEC_ERROR),
        ("GET  / HTTP/1.1", Refused::CODEC_ERROR),
        ("GET /  HTTP/1.1", Refused::CODEC_ERROR),
        ("GET / HTTP/1.1 ", Refused::CODEC_ERROR),
        ("GET\t/ HTTP/1.1", Refused::CODEC_ERROR),
        ("GET /\tHTTP/1.1", Refused::CODEC_ERROR),
        ("GET /a b HTTP/1.1", Refused::CODEC_ERROR),
        ("GET /", Refused::CODEC_ERROR),
        ("GET", Refused::CODEC_ERROR),
        ("GET / ", Refused::CODEC_ERROR),
        ("GET HTTP/1.1", Refused::CODEC_ERROR),
        ("G@T / HTTP/1.1", Refused::CODEC_ERROR),
        ("G:T / HTTP/1.1", Refused::CODEC_ERROR),
        ("G\0T / HTTP/1.1", Refused::CODEC_ERROR),
        ("\u{16}\u{3}\u{1}\u{2}", Refused::CODEC_ERROR),
        ("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1", Refused::CODEC_ERROR),
        ("GET / http/1.1", Refused::CODEC_ERROR),
        ("GET / HTTP/1.1\r", Refused::CODEC_ERROR),
        ("GET / HTTP/11", Refused::CODEC_ERROR),
        ("GET / HTTP/1.10", Refused::CODEC_ERROR),
        ("GET / HTTP/1.1x", Refused::CODEC_ERROR),
        ("GET / HTTPS/1.1", Refused::CODEC_ERROR),
        ("GET / HTTP/+.1", Refused::CODEC_ERROR),
        ("GET / HTTP/1.2", Refused::UNKNOWN_VERSION),
        ("GET / HTTP/0.9", Refused::UNKNOWN_VERSION),
        ("PRI * HTTP/2.0", Refused::UNKNOWN_VERSION),
        ("GET / HTTP/1.0", Refused::LOW_VERSION),
        ("GET * HTTP/1.1", Refused::INVALID_URL),
        ("GET a HTTP/1.1", Refused::INVALID_URL),
        ("GET h:80 HTTP/1.1", Refused::INVALID_URL),
        ("GET ftp://h/ HTTP/1.1", Refused::INVALID_URL),
        ("GET http:///a HTTP/1.1", Refused::INVALID_URL),
        ("GET http:/a HTTP/1.1", Refused::INVALID_URL),
        ("GET javascript:a HTTP/1.1", Refused::INVALID_URL),
        ("CONNECT / HTTP/1.1", Refused::INVALID_URL),
        ("CONNECT h HTTP/1.1", Refused::INVALID_URL),
        ("CONNECT * HTTP/1.1", Refused::INVALID_URL),
        ("CONNECT u:p@h:443 HTTP/1.1", Refused::INVALID_URL),
        ("GET /\0 HTTP/1.1", Refused::INVALID_CHARACTERS),
        ("GET /\u{7f} HTTP/1.1", Refused::INVALID_CHARACTERS),
        ("GET /\u{e9} HTTP/1.1", Refused::INVALID_CHARACTERS),
        ("GET /a\rb HTTP/1.1", Refused::INVALID_CHARACTERS),
        ("GET /12345678901234567890123456789012345678901 HTTP/1.1", Refused::TARGET_TOO_LONG),
    ] {
        assert_eq!(parse(&format!("{line}\r\nHost: h\r\n\r\n")), Err(refused), "{line:?}");
    }
}

#[test]
fn hostile_fields() {
    for (fields, refused) in [
        // Line ends and folding.
        ("Host: h\n", Refused::CODEC_ERROR),
        ("Host: h\r\nA: 1\nB: 2\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nA: 1\r\n\n", Refused::CODEC_ERROR),
        ("Host: h\r\n A: folded\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\n\tfolded\r\n", Refused::CODEC_ERROR),
        (" Host: h\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nA: 1\rB: 2\r\n", Refused::INVALID_CHARACTERS),
        ("Host: h\r\nA: 1\r\r\n", Refused::INVALID_CHARACTERS),
        // Names.
        ("Host: h\r\nContent-Length : 3\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length\t: 3\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nTransfer-Encoding\u{b}: chunked\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nTransfer-Encoding\0: chunked\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nA B: 1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\n: 1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nA\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\n:path: /admin\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\n\u{e9}: 1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\n\"A\": 1\r\n", Refused::CODEC_ERROR),
        // Values.
        ("Host: h\r\nA: \0\r\n", Refused::INVALID_CHARACTERS),
        ("Host: h\r\nA: \u{7f}\r\n", Refused::INVALID_CHARACTERS),
        ("Host: h\r\nA: a\u{b}b\r\n", Refused::INVALID_CHARACTERS),
        // Host.
        ("", Refused::MISSING_HOST),
        ("A: 1\r\n", Refused::MISSING_HOST),
        ("Host:\r\n", Refused::MISSING_HOST),
        ("Host: \t \r\n", Refused::MISSING_HOST),
        ("Host: h\r\nHost: h\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nhost: i\r\n", Refused::CODEC_ERROR),
        ("Host:\r\nHost: i\r\n", Refused::CODEC_ERROR),
        // Content-Length.
        ("Host: h\r\nContent-Length: \r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: -1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: +1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 0x1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 1 1\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 1.0\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 3, 3\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 3,\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 18446744073709551616\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n", Refused::CODEC_ERROR),
        ("Host: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n", Refused::CODEC_ERROR),
        // Transfer-Encoding.
        ("Host: h\r\nTransfer-Encoding: \r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: chunked, chunked\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: gzip, chunked\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: chunked,\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: chunked;q=1\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: \"chunked\"\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Refused::TRANSFER_ENCODING),
        ("Host: h\r\nTransfer-Encoding: gzip\r\n", Refused::UNKNOWN_CODING),
        ("Host: h\r\nTransfer-Encoding: identity\r\n", Refused::UNKNOWN_CODING),
        ("Host: h\r\nTransfer-Encoding: xchunked\r\n", Refused::UNKNOWN_CODING),
        // Both.
        ("Host: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n", Refused::CHUNKED_CONTENT_LENGTH),
        ("Host: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n", Refused::CHUNKED_CONTENT_LENGTH),
        ("Host: h\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n", Refused::CHUNKED_CONTENT_LENGTH),
        // The rest.
        ("Host: h\r\nExpect: 200-ok\r\n", Refused::EXPECTATION),
        ("Host: h\r\nExpect: 100-continue, x\r\n", Refused::EXPECTATION),
        ("Host: h\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\n", Refused::TOO_MANY_HEADERS),
    ] {
        assert_eq!(parse(&format!("GET / HTTP/1.1\r\n{fields}\r\n")), Err(refused), "{fields:?}");
    }
}

#[test]
fn old_versions_and_connect_have_no_coding() {
    let request = |line: &str, field: &str| parse(&format!("{line}\r\nHost: h\r\n{field}\r\n\r\n"));
    let (old, connect) = ("POST / HTTP/1.0", "CONNECT h:1 HTTP/1.1");
    assert_eq!(request(old, "Transfer-Encoding: chunked"), Err(Refused::CODING_NOT_ALLOWED));
    assert_eq!(request(old, "Content-Length: 1"), Err(Refused::LOW_VERSION));
    assert_eq!(request(connect, "Transfer-Encoding: chunked"), Err(Refused::CODING_NOT_ALLOWED));
    assert_eq!(request(connect, "Content-Length: 1"), Err(Refused::BODY_DISALLOWED));
    assert_eq!(request(connect, "Content-Length: 0").unwrap().unwrap().0.framing, Framing::None);
}

#[test]
fn sizes() {
    let head = |bytes: usize| {
        let start = "GET / HTTP/1.1\r\nHost: h\r\nA: ";
        format!("{start}{}\r\n\r\n", "a".repeat(bytes - start.len() - 4))
    };
    assert!(parse(&head(300)).unwrap().is_some());
    assert_eq!(parse(&head(301)), Err(Refused::HEAD_TOO_LARGE));
    assert_eq!(parse(&head(300)[..299]), Ok(None));
    // Without an end it is too large as soon as no end can come, and too long a target while it is the first line.
    assert_eq!(parse(&format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}", "a".repeat(300))), Err(Refused::HEAD_TOO_LARGE));
    assert_eq!(parse(&format!("GET /{}", "a".repeat(300))), Err(Refused::TARGET_TOO_LONG));
    assert_eq!(
        [Refused::HEAD_TOO_LARGE, Refused::TOO_MANY_HEADERS, Refused::TARGET_TOO_LONG].map(|refused| refused.status),
        [431, 431, 414]
    );
}
