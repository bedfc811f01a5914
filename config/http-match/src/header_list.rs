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
        Self { bytes, entries }
    }

    /// An empty list with room for `entries` headers of together `bytes` bytes.
    pub fn with_capacity(entries: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), entries: Vec::with_capacity(entries) }
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
        let named = |entry: &&Entry| entry.name_len() == name.len() && self.span(entry.name) == name.as_bytes();
        self.entries.iter().find(named).map(|entry| self.span(entry.value))
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
        let length = name.len();
        self.entries
            .iter()
            .filter(move |entry| entry.name_len() == length && self.span(entry.name) == name.as_bytes())
            .map(|entry| self.span(entry.value))
    }

    /// All headers in order, as (name, value).
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        self.entries.iter().map(|entry| (self.span(entry.name), self.span(entry.value)))
    }

    /// Where the first header `name` stands, in any case: an index for [`Self::at`].
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.name_len() == name.len() && self.span(entry.name).eq_ignore_ascii_case(name))
    }

    /// The header at a position, as (name, value).
    pub fn at(&self, index: usize) -> Option<(&[u8], &[u8])> {
        self.entries.get(index).map(|entry| (self.span(entry.name), self.span(entry.value)))
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
    }

    /// Keeps the headers that `keep(name, value)` wants.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        let Self { bytes, entries } = self;
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
        let name = self.store(|bytes| {
            let start = bytes.len();
            bytes.extend_from_slice(name);
            bytes.iter_mut().skip(start).for_each(|byte| byte.make_ascii_lowercase());
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
        let name = name.as_ref();
        if self.position(name).is_none() {
            return;
        }
        let Self { bytes, entries } = self;
        entries.retain(|entry| entry.name_len() != name.len() || !span(bytes, entry.name).eq_ignore_ascii_case(name));
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
        self.name.1.wrapping_sub(self.name.0) as usize
    }

    fn value_len(&self) -> usize {
        self.value.1.saturating_sub(self.value.0) as usize
    }
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
