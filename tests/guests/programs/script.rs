//! ABI: every version. Makes the hostcalls that the VM configuration lists, and logs what each answered.
//!
//! A line is a number, a callback (`request_body#2`: its second call), a hostcall, its parameters: numbers; `'text`, `#hex` and
//! `~size` (pointer and length of the text, of so many bytes), `{name=value,…}` (of pairs), `>` (two places for bytes to
//! be handed over), `>>` (for pairs), `>4` and `>8` (a place for a number; `>4=name` keeps it), `$name` (what was kept),
//! `@` (the context). Instead of a hostcall: `return` and the action, `numbers` for the callback's own parameters,
//! `context` for its context. Bytes that are no plain text are written `%XX`.

use abi::Event;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;

static KEPT: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
const UNTOUCHED: u32 = 0xaaaa_aaaa;

abi::every_callback!(on);

fn on(event: Event) -> Option<u32> {
    let count = format!("#{}", event.name);
    let nth = KEPT.lock().ok().map(|mut kept| *kept.entry(count).and_modify(|n| *n += 1).or_insert(1)).unwrap_or(0);
    let nth = format!("{}#{nth}", event.name);
    let mut action = None;
    for line in abi::vm_configuration().lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [number, at, what, parameters @ ..] = &words[..] else { continue };
        if *at != event.name && *at != nth {
            continue;
        }
        match *what {
            "return" => action = parameters.first().and_then(|word| word.parse().ok()),
            "numbers" => abi::log(&format!("{number}: {:?}", event.numbers)),
            "context" => abi::log(&format!("{number}: {}", event.context)),
            _ => abi::log(&format!("{number}: {}", call(what, parameters, event.context))),
        }
    }
    action
}

fn call(name: &str, words: &[&str], context: u32) -> String {
    let (mut numbers, mut kept, mut places) = (Vec::new(), Vec::new(), vec![[UNTOUCHED; 2]; words.len()]);
    for (word, place) in words.iter().zip(&mut places) {
        let out = place.as_mut_ptr() as u32;
        let bytes = match word.as_bytes() {
            [b'\'', text @ ..] => plain(text),
            [b'#', digits @ ..] => digits.chunks(2).map(byte).collect(),
            [b'~', size @ ..] => vec![b'x'; number(size) as usize],
            [b'{', list @ .., b'}'] => pairs(list),
            [b'>'] | [b'>', b'>'] => {
                numbers.extend([out, out + 4].map(u64::from));
                continue;
            }
            [b'>', ..] => {
                numbers.push(out.into());
                continue;
            }
            [b'$', name @ ..] => {
                let name = String::from_utf8_lossy(name);
                numbers.push(KEPT.lock().map(|kept| kept.get(&*name).copied().unwrap_or(0)).unwrap_or(0));
                continue;
            }
            [b'@'] => {
                numbers.push(context.into());
                continue;
            }
            text => {
                numbers.push(number(text) as u64);
                continue;
            }
        };
        numbers.extend([bytes.as_ptr() as u64, bytes.len() as u64]);
        kept.push(bytes);
    }
    let status = abi::call(name, &numbers).or_else(|| abi::call_wasi(name, &numbers));
    let Some(status) = status else { return "no such hostcall".into() };
    let mut said = status.to_string();
    for (word, place) in words.iter().zip(&places).filter(|(word, _)| word.starts_with('>')) {
        let _ = write!(said, " {}", outcome(word, std::hint::black_box(place)));
    }
    said
}

/// What was written to a place.
fn outcome(word: &str, [low, high]: &[u32; 2]) -> String {
    match (word, *low, *high) {
        (">" | ">>", 0, 0) => "null".into(),
        (_, UNTOUCHED, UNTOUCHED) => "untouched".into(),
        (">", pointer, size) => format!("'{}", escaped(&abi::given(pointer, size))),
        (">>", pointer, size) => format!("{{{}}}", listed(&abi::given(pointer, size))),
        (_, low, high) => {
            let wide = word.starts_with(">8");
            let value = if wide { u64::from(low) | u64::from(high) << 32 } else { low.into() };
            if let (Some((_, name)), Ok(mut kept)) = (word.split_once('='), KEPT.lock()) {
                kept.insert(name.to_owned(), value);
            }
            value.to_string()
        }
    }
}

fn number(text: &[u8]) -> i64 {
    let text = str::from_utf8(text).unwrap_or_default();
    let hexadecimal = text.strip_prefix("0x").and_then(|digits| i64::from_str_radix(digits, 16).ok());
    hexadecimal.or_else(|| text.parse().ok()).unwrap_or(0)
}

/// A byte of two hexadecimal digits.
fn byte(digits: &[u8]) -> u8 {
    str::from_utf8(digits).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

fn plain(text: &[u8]) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text);
    while let [first, behind @ ..] = rest {
        let code = behind.get(..2).filter(|_| *first == b'%').and_then(|code| str::from_utf8(code).ok());
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &behind[2..] } else { behind };
    }
    bytes
}

fn escaped(bytes: &[u8]) -> String {
    let safe = |byte: &u8| byte.is_ascii_graphic() && !b"%',=".contains(byte);
    bytes.iter().map(|byte| if safe(byte) { char::from(*byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn pairs(list: &[u8]) -> Vec<u8> {
    let items = list.split(|byte| *byte == b',').filter(|item| !item.is_empty());
    let split = items.map(|item| {
        item.iter().position(|byte| *byte == b'=').map_or((item, &[][..]), |at| (&item[..at], &item[at + 1..]))
    });
    let owned: Vec<(Vec<u8>, Vec<u8>)> = split.map(|(name, value)| (plain(name), plain(value))).collect();
    abi::pairs(&owned.iter().map(|(name, value)| (&name[..], &value[..])).collect::<Vec<_>>())
}

fn listed(encoded: &[u8]) -> String {
    let word = |at: usize| encoded.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    let (count, mut at, mut listed) = (word(0), 4 + 8 * word(0), Vec::new());
    for i in 0..count {
        let (name, value) = (word(4 + 8 * i), word(8 + 8 * i));
        let text = |start: usize, size: usize| escaped(encoded.get(start..start + size).unwrap_or_default());
        listed.push(format!("{}={}", text(at, name), text(at + name + 1, value)));
        at += name + value + 2;
    }
    listed.join(",")
}
