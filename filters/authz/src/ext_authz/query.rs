//! Query parameters that a provider sets or removes.

/// A request target with some query parameters set (`Some`) or removed (`None`); the others stay as they were sent.
pub(crate) fn edited_target(target: &[u8], edits: &[(String, Option<String>)]) -> Vec<u8> {
    let (path, query) = http_match::split_target(target);
    let edited = |name: &[u8]| edits.iter().any(|(key, _)| key.as_bytes() == name || encoded(key).as_bytes() == name);
    let kept = query.unwrap_or_default().split(|&byte| byte == b'&').filter(|parameter| {
        let name = parameter.split(|&byte| byte == b'=').next().unwrap_or_default();
        !parameter.is_empty() && !edited(name)
    });
    let mut parameters: Vec<Vec<u8>> = kept.map(<[u8]>::to_vec).collect();
    for (i, (name, value)) in edits.iter().enumerate() {
        // A later edit of the same parameter is the one that counts.
        let last = !edits.iter().skip(i.saturating_add(1)).any(|(later, _)| later == name);
        if let (Some(value), true) = (value, last) {
            parameters.push([encoded(name).as_bytes(), b"=", encoded(value).as_bytes()].concat());
        }
    }
    let mut out = path.to_vec();
    if !parameters.is_empty() {
        out.push(b'?');
        out.extend(parameters.join(&b'&'));
    }
    out
}

/// Percent-encodes what RFC 3986 does not list as unreserved.
fn encoded(text: &str) -> String {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or('0');
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_and_removes() {
        let edit = |target: &str, edits: &[(&str, Option<&str>)]| {
            let edits: Vec<_> =
                edits.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
            String::from_utf8(edited_target(target.as_bytes(), &edits)).unwrap()
        };
        assert_eq!(edit("/p?token=x&a=1", &[("token", None)]), "/p?a=1");
        assert_eq!(edit("/p?token=x", &[("token", None)]), "/p");
        assert_eq!(edit("/p?a=1&a=2&b=%20", &[("a", Some("3 &"))]), "/p?b=%20&a=3%20%26");
        assert_eq!(edit("/p", &[("a", Some("1")), ("a", Some("2"))]), "/p?a=2");
        assert_eq!(edit("/p#f", &[("a", Some("1"))]), "/p?a=1");
        assert_eq!(edit("/p?a=1", &[("a", Some("1")), ("a", None)]), "/p");
    }
}
