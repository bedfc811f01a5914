//! Messages of gRPC in a body: five bytes before each, one that says whether it is compressed and four its length.

use bytes::{Buf, BufMut, Bytes, BytesMut};

const PREFIX: usize = 5;

/// What cannot be taken for a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum BadFrame {
    /// No compression has been agreed on.
    Compressed,
    /// It says that it has so many bytes.
    TooLarge(usize),
}

/// A message as it is sent.
pub(super) fn frame(message: &[u8]) -> Option<Bytes> {
    let length = u32::try_from(message.len()).ok()?;
    let mut out = BytesMut::with_capacity(PREFIX + message.len());
    out.put_u8(0);
    out.put_u32(length);
    out.put_slice(message);
    Some(out.freeze())
}

/// Finds the messages in a body.
pub(super) struct Frames {
    bytes: BytesMut,
    limit: usize,
}

impl Frames {
    /// Messages of up to `limit` bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: BytesMut::new(), limit }
    }

    /// Takes a part of the body.
    pub(super) fn push(&mut self, part: &[u8]) {
        self.bytes.extend_from_slice(part);
    }

    /// The next message, if it is whole.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, BadFrame> {
        let Some(mut prefix) = self.bytes.get(..PREFIX) else { return Ok(None) };
        if prefix.get_u8() != 0 {
            return Err(BadFrame::Compressed);
        }
        let length = usize::try_from(prefix.get_u32()).unwrap_or(usize::MAX);
        if length > self.limit {
            return Err(BadFrame::TooLarge(length));
        }
        if self.bytes.len() - PREFIX < length {
            return Ok(None);
        }
        self.bytes.advance(PREFIX);
        Ok(Some(self.bytes.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_however_the_body_is_cut() {
        let messages: [&[u8]; 4] = [b"one", b"", b"three", &[7; 300]];
        let body: Vec<u8> = messages.iter().flat_map(|message| frame(message).unwrap()).collect();
        assert_eq!(body[..8], *b"\0\0\0\0\x03one");
        for size in [1, 2, 5, 7, 64, body.len()] {
            let mut frames = Frames::new(300);
            let mut found = Vec::new();
            for part in body.chunks(size) {
                frames.push(part);
                while let Some(message) = frames.next().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, messages, "in parts of {size}");
        }
    }

    #[test]
    fn bad_frames_are_refused_before_their_bytes_come() {
        for (prefix, bad) in [
            (b"\x01\0\0\0\x01", BadFrame::Compressed),
            (b"\x80\0\0\0\x01", BadFrame::Compressed),
            (b"\0\0\0\0\x0b", BadFrame::TooLarge(11)),
            (b"\0\xff\xff\xff\xff", BadFrame::TooLarge(u32::MAX as usize)),
        ] {
            let mut frames = Frames::new(10);
            frames.push(prefix);
            assert_eq!(frames.next(), Err(bad));
        }
    }
}
