//! What is written, byte for byte.

use super::list;
use crate::http::http1::encode::{CHUNK_END, chunk_header, last_chunk, reason_phrase, request_head, response_head};
use crate::http::http1::head::Framing;

fn request(headers: &str, framing: Framing, upgrade: Option<&[u8]>) -> String {
    let mut out = b"before ".to_vec();
    request_head(&mut out, &list(headers), framing, upgrade).unwrap();
    String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
}

fn response(headers: &str, framing: Framing, close: bool, upgrade: Option<&[u8]>) -> String {
    let mut out = Vec::new();
    response_head(&mut out, &list(headers), framing, close, upgrade).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn requests() {
    let get = ":authority=a:81|:path=/p?q|:method=GET|:scheme=http";
    for (headers, framing, upgrade, expected) in [
        (get.to_owned(), Framing::None, None, "GET /p?q HTTP/1.1\r\nhost: a:81\r\n\r\n"),
        (
            // Pseudo-headers count wherever a filter has put them; what concerns a connection is left out.
            "x-b=1|:method=POST|:path=/|connection=x|keep-alive=1|te=gzip|te=trailers|host=evil|upgrade=h2c|\
             transfer-encoding=chunked|content-length=9|proxy-connection=x|http2-settings=A|x-a=2|:authority=a"
                .to_owned(),
            Framing::Length(12_345),
            None,
            "POST / HTTP/1.1\r\nhost: a\r\nx-b: 1\r\nte: trailers\r\nx-a: 2\r\ncontent-length: 12345\r\n\r\n",
        ),
        (
            get.replace("GET", "PUT"),
            Framing::Chunked,
            None,
            "PUT /p?q HTTP/1.1\r\nhost: a:81\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (
            get.replace("GET", "PUT"),
            Framing::UntilClose,
            None,
            "PUT /p?q HTTP/1.1\r\nhost: a:81\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
        (get.to_owned(), Framing::Length(0), None, "GET /p?q HTTP/1.1\r\nhost: a:81\r\ncontent-length: 0\r\n\r\n"),
        (
            ":authority=a:443|:method=CONNECT".to_owned(),
            Framing::None,
            None,
            "CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n",
        ),
        (
            ":authority=a|:method=OPTIONS|:path=*|sec-websocket-key=k".to_owned(),
            Framing::None,
            Some(&b"websocket"[..]),
            "OPTIONS * HTTP/1.1\r\nhost: a\r\nsec-websocket-key: k\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        ),
    ] {
        assert_eq!(request(&headers, framing, upgrade), expected, "{headers}");
    }
    for headers in [
        ":authority=a|:path=/",
        ":authority=a|:method=GET",
        ":path=/|:method=GET",
        ":authority=|:path=/|:method=GET",
        "",
    ] {
        let mut out = Vec::new();
        assert!(request_head(&mut out, &list(headers), Framing::None, None).is_err(), "{headers}");
        assert!(out.is_empty());
    }
}

#[test]
fn responses() {
    let ok = ":status=200|a=1|content-length=7|connection=close|transfer-encoding=chunked";
    for (headers, framing, close, upgrade, expected) in [
        (
            ok,
            Framing::Length(u64::MAX),
            false,
            None,
            "HTTP/1.1 200 OK\r\na: 1\r\ncontent-length: 18446744073709551615\r\n\r\n",
        ),
        (
            ok,
            Framing::Chunked,
            true,
            None,
            "HTTP/1.1 200 OK\r\na: 1\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n",
        ),
        (ok, Framing::UntilClose, false, None, "HTTP/1.1 200 OK\r\na: 1\r\nconnection: close\r\n\r\n"),
        // The answer to HEAD, and 304: the length that a body would have.
        (ok, Framing::None, false, None, "HTTP/1.1 200 OK\r\na: 1\r\ncontent-length: 7\r\n\r\n"),
        (":status=304|content-length=x", Framing::None, false, None, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        (":status=204|content-length=7", Framing::None, false, None, "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "link=a|:status=103|content-length=7",
            Framing::None,
            false,
            None,
            "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n",
        ),
        (
            ":status=101|content-length=7|upgrade=x",
            Framing::None,
            true,
            Some(&b"websocket"[..]),
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        ),
        (":status=299", Framing::Length(0), false, None, "HTTP/1.1 299 Unknown\r\ncontent-length: 0\r\n\r\n"),
    ] {
        assert_eq!(response(headers, framing, close, upgrade), expected, "{headers}");
    }
    for headers in ["", ":status=", ":status=20", ":status=999", ":status=2000", ":status=200 OK\r\nx: y"] {
        let mut out = Vec::new();
        assert!(response_head(&mut out, &list(headers), Framing::None, false, None).is_err(), "{headers}");
        assert!(out.is_empty());
    }
}

#[test]
fn chunks() {
    let mut out = Vec::new();
    for size in [1, 16, 0xabc, usize::MAX] {
        chunk_header(&mut out, size);
    }
    assert_eq!(String::from_utf8(out).unwrap(), "1\r\n10\r\nabc\r\nffffffffffffffff\r\n");
    let mut out = Vec::new();
    chunk_header(&mut out, 0);
    assert!(out.is_empty());
    last_chunk(&mut out, None);
    assert_eq!(out, b"0\r\n\r\n");
    out.clear();
    let trailers = list(":status=200|grpc-status=0|content-length=3|transfer-encoding=chunked|host=a|x=");
    last_chunk(&mut out, Some(&trailers));
    assert_eq!(out, b"0\r\ngrpc-status: 0\r\nx: \r\n\r\n");
    assert_eq!(CHUNK_END, b"\r\n");
}

#[test]
fn reason_phrases() {
    for (status, phrase) in
        [(200, "OK"), (404, "Not Found"), (431, "Request Header Fields Too Large"), (503, "Service Unavailable")]
    {
        assert_eq!(reason_phrase(status), phrase);
    }
    let unknown = (0..=u16::MAX).filter(|status| reason_phrase(*status) == "Unknown");
    assert_eq!(unknown.filter(|status| [306, 418, 427, 509].contains(status)).count(), 4);
}
