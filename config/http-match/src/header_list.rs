//! The headers of one message: an ordered list with repeats and pseudo-headers, in one allocation.

/// Headers in order, repeats kept apart, names lower-case, pseudo-headers (`:path`) among them.
///
/// An ordered list over one byte buffer, not a hash map: order and repeats are part of the message, a request has
/// some ten to thirty headers, and a scan that compares lengths first beats hashing at that size. Values are bytes:
/// nothing says that a client's header is UTF-8.
#[derive(Clone, Debug, Default)]
pub struct HeaderList {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    /// The marks of all names that are there, and of some that no longer are: a name whose mark is not here need not be
    /// looked for. Most look-ups in a message are for what it does not have.
    marks: u64,
}

/// Where a header's name and value stand in the buffer, as byte ranges.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// First byte of the name, and the byte after its last.
    pub name: (u32, u32),
    /// First byte of the value, and the byte after its last.
    pub value: (u32, u32),
}

impl HeaderList {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// A list over a buffer that already holds names and values, so that a host's answer need not be copied again.
    /// An entry that points outside the buffer reads as empty. Names must be lower-case.
    pub fn from_parts(bytes: Vec<u8>, entries: Vec<Entry>) -> Self {
        let marks = entries.iter().fold(0, |marks, entry| marks | mark(span(&bytes, entry.name)));
        Self { bytes, entries, marks }
    }

    /// An empty list with room for `entries` headers of together `bytes` bytes.
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), entries: Vec::with_capacity(entries), marks: 0 }
    }

    /// How many headers there are, repeats counted.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no header at all.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The first value of the header `name` (lower-case).
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.value_at(self.position(name.as_bytes())?)
    }

    /// Hands name and value of every pseudo-header to `each`, in order.
    pub fn each_pseudo<'l>(&'l self, mut each: impl FnMut(&'l [u8], &'l [u8])) {
        // A loop, and not an iterator: in a module this is called for every request, and each adapter is a call there.
        for entry in &self.entries {
            if let Some(b':') = self.bytes.get(entry.name.0 as usize) {
                each(self.span(entry.name), self.span(entry.value));
            }
        }
    }

    /// The names of all headers, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.entries.iter().map(|entry| self.span(entry.name))
    }

    /// Every value of the header `name` (lower-case), in order.
    pub fn values<'l, 'n>(&'l self, name: &'n str) -> impl Iterator<Item = &'l [u8]> + use<'l, 'n> {
        let wanted = Wanted::new(name.as_bytes());
        let entries = if self.may_have(wanted) { self.entries.as_slice() } else { &[] };
        entries.iter().filter(move |entry| wanted.is(&self.bytes, entry)).map(|entry| self.span(entry.value))
    }

    /// All headers in order, as (name, value).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.entries.iter().map(|entry| (self.span(entry.name), self.span(entry.value)))
    }

    /// Where the first header `name` stands, in any case: an index for [`Self::at`].
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        let wanted = Wanted::new(name);
        if !self.may_have(wanted) {
            return None;
        }
        self.entries.iter().position(|entry| wanted.is(&self.bytes, entry))
    }

    /// The header at a position, as (name, value).
    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.entries.get(index).map(|entry| (self.span(entry.name), self.span(entry.value)))
    }

    /// The value of the header at a position.
    #[inline]
    pub fn value_at(&self, index: usize) -> Option<&[u8]> {
        self.entries.get(index).map(|entry| self.span(entry.value))
    }

    /// The bytes of all names and values together.
    pub fn size(&self) -> usize {
        self.entries.iter().map(|entry| entry.name_len() + entry.value_len()).sum()
    }

    /// The bytes the list holds, those of removed headers included: what a bound on memory has to look at.
    pub fn held(&self) -> usize {
        self.bytes.len()
    }

    /// Removes every header, and keeps the memory for the next.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
        self.marks = 0;
    }

    /// Keeps the headers that `keep(name, value)` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self { bytes, entries, .. } = self;
        entries.retain(|entry| keep(span(bytes, entry.name), span(bytes, entry.value)));
    }

    /// Replaces the value of the header at a position, where it stands.
    pub fn replace_at(&mut self, index: usize, value: &[u8]) {
        let value = self.store(|bytes| bytes.extend_from_slice(value));
        if let (Some(entry), Some(value)) = (self.entries.get_mut(index), value) {
            entry.value = value;
        }
    }

    /// Appends a header; its name is lower-cased. A list beyond 4 GiB stops growing.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        self.append(name.as_bytes(), value);
    }

    /// As [`Self::add`], of a name that is bytes.
    pub fn append(&mut self, name: &[u8], value: &[u8]) {
        self.marks |= mark(name);
        let name = self.store(|bytes| {
            let start = bytes.len();
            bytes.extend_from_slice(name);
            bytes.get_mut(start..).unwrap_or_default().make_ascii_lowercase();
        });
        let value = self.store(|bytes| bytes.extend_from_slice(value));
        if let (Some(name), Some(value)) = (name, value) {
            self.entries.push(Entry { name, value });
        }
    }

    /// Removes every header `name` and appends one: what a host's replace does.
    pub fn set(&mut self, name: &str, value: &[u8]) {
        self.remove(name);
        self.add(name, value);
    }

    /// Removes every header `name`, in any case.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let wanted = Wanted::new(name.as_ref());
        if self.may_have(wanted) {
            let Self { bytes, entries, .. } = self;
            entries.retain(|entry| !wanted.is(bytes, entry));
        }
    }

    #[inline]
    fn may_have(&self, wanted: Wanted<'_>) -> bool {
        self.marks & mark(wanted.name) != 0
    }

    fn store(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Option<(u32, u32)> {
        let start = u32::try_from(self.bytes.len()).ok()?;
        write(&mut self.bytes);
        Some((start, u32::try_from(self.bytes.len()).ok()?))
    }

    #[inline(always)]
    fn span(&self, range: (u32, u32)) -> &[u8] {
        span(&self.bytes, range)
    }
}

impl Entry {
    #[inline(always)]
    fn name_len(&self) -> usize {
        self.name.1.saturating_sub(self.name.0) as usize
    }

    fn value_len(&self) -> usize {
        self.value.1.saturating_sub(self.value.0) as usize
    }
}

/// A name that is looked for, in any case.
#[derive(Clone, Copy)]
struct Wanted<'n> {
    name: &'n [u8],
    length: u32,
}

impl<'n> Wanted<'n> {
    #[inline]
    fn new(name: &'n [u8]) -> Self {
        // No name in a list is longer than a `u32` can say.
        Self { name, length: u32::try_from(name.len()).unwrap_or(u32::MAX) }
    }

    /// Most names differ in length: only that is looked at for every header.
    #[inline]
    fn is(self, bytes: &[u8], entry: &Entry) -> bool {
        // What wraps around is the length of nothing, and reads as empty.
        entry.name.1.wrapping_sub(entry.name.0) == self.length && self.is_spelt(span(bytes, entry.name))
    }

    /// Who asks nearly always spells it as the list does; otherwise most names differ in their first letter.
    fn is_spelt(self, name: &[u8]) -> bool {
        name == self.name || fold(name.first()) == fold(self.name.first()) && name.eq_ignore_ascii_case(self.name)
    }
}

/// A bit for a name, the same in any case: by its length and its ends. The factors spread the usual names of HTTP.
#[inline]
fn mark(name: &[u8]) -> u64 {
    let (first, last) = (usize::from(fold(name.first())), usize::from(fold(name.last())));
    1 << ((first.wrapping_mul(9) ^ last.wrapping_mul(23) ^ name.len().wrapping_mul(13)) % 64)
}

/// The same for a letter in either case; for other bytes it need not tell them apart.
#[inline]
fn fold(byte: Option<&u8>) -> u8 {
    byte.map_or(0, |byte| byte | 0x20)
}

// As a call this would be most of what a lookup costs in a module, where the compiler is told to make code small.
#[inline(always)]
fn span(bytes: &[u8], (start, end): (u32, u32)) -> &[u8] {
    bytes.get(start as usize..end as usize).unwrap_or_default()
}

impl<'l> FromIterator<(&'l str, &'l [u8])> for HeaderList {
    fn from_iter<I: IntoIterator<Item = (&'l str, &'l [u8])>>(headers: I) -> Self {
        let mut list = Self::new();
        for (name, value) in headers {
            list.add(name, value);
        }
        list
    }
}

impl<'l> FromIterator<(&'l str, &'l str)> for HeaderList {
    fn from_iter<I: IntoIterator<Item = (&'l str, &'l str)>>(headers: I) -> Self {
        headers.into_iter().map(|(name, value)| (name, value.as_bytes())).collect()
    }
}

/// Lists are equal when they hold the same headers in the same order.
impl PartialEq for HeaderList {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl Eq for HeaderList {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_repeats() {
        let mut list: HeaderList = [(":path", "/"), ("x-m", "a"), ("X-M", "b")].into_iter().collect();
        assert_eq!(list.get("x-m"), Some(&b"a"[..]));
        assert_eq!(list.values("x-m").collect::<Vec<_>>(), [b"a", b"b"]);
        list.set("x-m", b"c");
        assert_eq!(list.iter().last(), Some((&b"x-m"[..], &b"c"[..])));
        list.remove("X-m");
        assert_eq!((list.len(), list.get("x-m")), (1, None));
    }

    #[test]
    fn names_are_found_in_any_case_after_any_edit() {
        let names = ["x-a", ":path", "te", "b", "content-length", "x_b", "x-\u{7f}"];
        for (index, name) in names.iter().enumerate() {
            let mut list: HeaderList = names.iter().map(|name| (*name, "1")).collect();
            let spellings = [name.to_string(), name.to_ascii_uppercase()];
            for spelling in &spellings {
                assert_eq!(list.position(spelling.as_bytes()), Some(index), "{spelling}");
            }
            assert_eq!(list.get(name), Some(&b"1"[..]));
            let parts = HeaderList::from_parts(list.bytes.clone(), list.entries.clone());
            assert_eq!(parts.get(name), Some(&b"1"[..]));
            list.remove(&spellings[1]);
            assert_eq!((list.len(), list.get(name)), (names.len() - 1, None));
            list.append(spellings[1].as_bytes(), b"2");
            assert_eq!(list.get(name), Some(&b"2"[..]));
            list.clear();
            assert_eq!(list.position(name.as_bytes()), None);
        }
        // A byte that differs from another as letters in two cases do.
        let list: HeaderList = [("a@", "1"), ("[b", "2")].into_iter().collect();
        assert_eq!((list.position(b"a`"), list.position(b"{b")), (None, None));
    }

    #[test]
    fn headers_by_position() {
        let mut list: HeaderList = [("x-a", "1"), ("x-b", "2"), ("x-a", "3")].into_iter().collect();
        assert_eq!((list.position(b"X-B"), list.position(b"x-c")), (Some(1), None));
        list.replace_at(1, b"two");
        assert_eq!(list.at(1), Some((&b"x-b"[..], &b"two"[..])));
        assert_eq!((list.size(), list.at(3)), (14, None));
        list.retain(|name, value| name != b"x-a" || value == b"3");
        assert_eq!(list.iter().map(|(_, value)| value).collect::<Vec<_>>(), [&b"two"[..], b"3"]);
        list.clear();
        assert!(list.is_empty() && list.held() == 0);
    }

    #[test]
    fn a_span_outside_the_buffer_is_empty() {
        let list = HeaderList::from_parts(b"ab".to_vec(), vec![Entry { name: (0, 1), value: (1, 9) }]);
        assert_eq!(list.get("a"), Some(&b""[..]));
    }
}
