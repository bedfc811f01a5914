//! What a connection begins with: a TLS handshake, told by its first six bytes and then read to the end of the
//! ClientHello, or anything else. Every byte read is kept.

use crate::http::Io;
use crate::tls::TlsError;
use bytes::BytesMut;
use rustls::server::{Accepted, Acceptor};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Bytes that a ClientHello may take: 64 KiB is the most that TLS implementations read, the rest is for the headers of
/// its records.
const LIMIT: usize = 68 << 10;

/// What is read at a time: most ClientHellos have less.
const READ_SIZE: usize = 2 << 10;

/// What a connection begins with.
pub(crate) enum Opening {
    /// A ClientHello, and how many of the bytes read it has used.
    Tls(Box<Accepted>, usize),
    /// Anything else. Where nothing was read, nothing was said.
    Plain,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Guess {
    Tls,
    Plain,
    TooShort,
}

/// A record with a handshake in it, of SSL 3.0 or later, and in that a ClientHello.
fn guess(bytes: &[u8]) -> Guess {
    const EXPECTED: [fn(u8) -> bool; 6] =
        [|kind| kind == 22, |major| major == 3, |minor| minor <= 4, |high| high <= 0x48, |_| true, |kind| kind == 1];
    match bytes.iter().zip(EXPECTED).all(|(byte, expected)| expected(*byte)) {
        false => Guess::Plain,
        true if bytes.len() < EXPECTED.len() => Guess::TooShort,
        true => Guess::Tls,
    }
}

/// The fatal alert of that name.
const PROTOCOL_VERSION: [u8; 7] = [21, 3, 1, 0, 2, 2, 70];

/// Whether the version in a ClientHello is one of before TLS 1.2. Such a client may also lack what rustls looks for
/// first.
fn is_older_than_tls12(hello: &[u8]) -> bool {
    matches!(hello.get(9..11), Some([3, 0..=2]))
}

/// Reads until it is known. Ends early only with the connection; whoever calls it bounds the time.
pub(crate) async fn read_opening<I: Io>(io: &mut I, read: &mut BytesMut) -> Result<Opening, TlsError> {
    let mut acceptor = Acceptor::default();
    let mut used = 0;
    loop {
        match guess(read) {
            Guess::Plain => return Ok(Opening::Plain),
            Guess::TooShort => {}
            Guess::Tls => {
                if let Some(accepted) = hello(io, &mut acceptor, read, &mut used).await? {
                    return Ok(Opening::Tls(Box::new(accepted), used));
                }
            }
        }
        if read.len() >= LIMIT {
            return Err(TlsError::Malformed(format!("a ClientHello of more than {LIMIT} bytes")));
        }
        if read.capacity() - read.len() < READ_SIZE / 2 {
            read.reserve(READ_SIZE);
        }
        // Gone, or what is there is all there will be.
        if !matches!(io.read_buf(read).await, Ok(1..)) {
            return if used == 0 && !read.is_empty() { Ok(Opening::Plain) } else { Err(TlsError::Closed) };
        }
    }
}

/// Hands over what has come since. A client that has made a mistake is told so.
async fn hello<I: Io>(
    io: &mut I,
    acceptor: &mut Acceptor,
    read: &[u8],
    used: &mut usize,
) -> Result<Option<Accepted>, TlsError> {
    while let Some(mut rest @ [_, ..]) = read.get(*used..) {
        let taken = acceptor.read_tls(&mut rest).map_err(|error| TlsError::Malformed(error.to_string()))?;
        *used += taken;
        match acceptor.accept() {
            Ok(None) => {}
            Ok(accepted) => return Ok(accepted),
            Err((error, mut alert)) => {
                let mut told = Vec::new();
                let old = is_older_than_tls12(read);
                if old {
                    told.extend(PROTOCOL_VERSION);
                } else {
                    // Writing to a list cannot fail.
                    let _ = alert.write_all(&mut told);
                }
                // Whether it hears does not matter any more.
                let _ = io.write_all(&told).await;
                return Err(if old { TlsError::NoCommonVersion } else { TlsError::from(&error) });
            }
        }
        if taken == 0 {
            return Err(TlsError::Malformed("a ClientHello that does not fit".to_owned()));
        }
    }
    Ok(None)
}
