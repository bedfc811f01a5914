//! A body, or the part of one that is held: chunks as they came, joined only when something has to be edited.

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

/// Bytes of a body in the order they came. Most have one chunk, which costs no allocation.
#[derive(Clone, Debug, Default)]
pub struct BodyBuffer {
    chunks: SmallVec<[Bytes; 1]>,
    /// Which of them is the first: those before it have been taken.
    first: usize,
    length: usize,
}

impl BodyBuffer {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends a chunk without copying it.
    pub fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.length += chunk.len();
            self.chunks.push(chunk);
        }
    }

    /// Appends all of another buffer.
    pub fn append(&mut self, mut other: Self) {
        if self.chunks.is_empty() {
            *self = other;
            return;
        }
        while let Some(chunk) = other.pop() {
            self.push(chunk);
        }
    }

    /// Takes the first chunk out.
    pub fn pop(&mut self) -> Option<Bytes> {
        let chunk = std::mem::take(self.chunks.get_mut(self.first)?);
        self.length -= chunk.len();
        self.first += 1;
        if self.first == self.chunks.len() {
            self.chunks.clear();
            self.first = 0;
        }
        Some(chunk)
    }

    /// Everything in one piece; copies only where there is more than one chunk.
    pub fn into_bytes(mut self) -> Bytes {
        if self.chunks.len() - self.first > 1 { self.joined().freeze() } else { self.pop().unwrap_or_default() }
    }

    /// Copies bytes from `start` on into `out`, as far as there are any: how many.
    pub fn read(&self, start: usize, out: &mut [u8]) -> usize {
        let (mut skip, mut written) = (start, 0);
        for chunk in self.chunks.iter().skip(self.first) {
            let Some(rest) = chunk.get(skip..) else {
                skip -= chunk.len();
                continue;
            };
            skip = 0;
            let room = out.get_mut(written..).unwrap_or_default();
            let size = rest.len().min(room.len());
            if let (Some(from), Some(to)) = (rest.get(..size), room.get_mut(..size)) {
                to.copy_from_slice(from);
                written += size;
            }
        }
        written
    }

    /// Replaces the first `length` bytes with `bytes` (0: prepends).
    pub fn replace_prefix(&mut self, length: usize, bytes: &[u8]) {
        let mut left = length;
        while left > 0 {
            let Some(mut chunk) = self.pop() else { break };
            if chunk.len() > left {
                let rest = chunk.split_off(left);
                self.push_front(rest);
                left = 0;
            } else {
                left -= chunk.len();
            }
        }
        if !bytes.is_empty() {
            self.push_front(Bytes::copy_from_slice(bytes));
        }
    }

    fn push_front(&mut self, chunk: Bytes) {
        self.length += chunk.len();
        let before = self.first.checked_sub(1);
        match before.and_then(|place| Some((place, self.chunks.get_mut(place)?))) {
            Some((place, taken)) => (self.first, *taken) = (place, chunk),
            None => self.chunks.insert(0, chunk),
        }
    }

    fn joined(&mut self) -> BytesMut {
        let mut whole = BytesMut::with_capacity(self.length);
        while let Some(chunk) = self.pop() {
            whole.extend_from_slice(&chunk);
        }
        whole
    }
}

impl From<Bytes> for BodyBuffer {
    fn from(chunk: Bytes) -> Self {
        let mut buffer = Self::default();
        buffer.push(chunk);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer(chunks: &[&'static str]) -> BodyBuffer {
        let mut buffer = BodyBuffer::default();
        chunks.iter().for_each(|chunk| buffer.push(Bytes::from_static(chunk.as_bytes())));
        buffer
    }

    fn read(buffer: &BodyBuffer, start: usize, length: usize) -> String {
        let mut out = vec![0; length];
        let size = buffer.read(start, &mut out);
        String::from_utf8(out[..size].to_vec()).unwrap()
    }

    #[test]
    fn reads_across_chunks() {
        let body = buffer(&["abc", "", "de", "fgh"]);
        assert_eq!((read(&body, 0, 99), read(&body, 2, 4)), ("abcdefgh".into(), "cdef".into()));
        assert_eq!((read(&body, 3, 2), read(&body, 8, 1), read(&body, 99, 1)), ("de".into(), "".into(), "".into()));
    }

    #[test]
    fn takes_and_puts_back() {
        let mut body = buffer(&["abc", "de"]);
        assert_eq!(body.pop().as_deref(), Some(&b"abc"[..]));
        assert_eq!((body.len(), read(&body, 0, 9)), (2, "de".into()));
        body.append(buffer(&["f"]));
        body.replace_prefix(0, b"X");
        body.replace_prefix(0, b"Y");
        assert_eq!((body.len(), read(&body, 0, 9)), (5, "YXdef".into()));
        assert_eq!(body.clone().into_bytes(), "YXdef");
        while body.pop().is_some() {}
        body.append(buffer(&["g"]));
        assert_eq!((body.len(), body.into_bytes()), (1, Bytes::from_static(b"g")));
        assert_eq!(BodyBuffer::default().into_bytes(), Bytes::new());
    }

    #[test]
    fn replaces_prefixes() {
        for (length, expected) in [(0, "Xabcde"), (2, "Xcde"), (3, "Xde"), (4, "Xe"), (5, "X"), (50, "X")] {
            let mut body = buffer(&["abc", "de"]);
            body.replace_prefix(length, b"X");
            assert_eq!(body.len(), expected.len());
            assert_eq!(body.into_bytes(), expected.as_bytes());
        }
    }
}
