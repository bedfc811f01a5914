//! Writes what no message may have: the VM configuration is a list of callback, map, `add`, `set` or `remove`, name and
//! value, a line each, with `%XX` for any byte.

use abi::Event;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    for line in abi::vm_configuration().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [name, map, what, key, value @ ..] = &words[..] else { continue };
        if event.name != *name {
            continue;
        }
        let map = map.parse().unwrap_or(0);
        let (key, value) = (plain(key), plain(value.first().unwrap_or(&"")));
        let ((key, key_size), (value, size)) = (abi::at(&key), abi::at(&value));
        let status = match *what {
            "add" => abi::proxy_add_header_map_value(map, key, key_size, value, size),
            "set" => abi::proxy_replace_header_map_value(map, key, key_size, value, size),
            _ => abi::proxy_remove_header_map_value(map, key, key_size),
        };
        abi::log(&format!("{line}: {status}"));
    }
    None
}

fn plain(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        let code = behind.get(..2).filter(|_| *first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => bytes.push(*first),
        }
    }
    bytes
}
