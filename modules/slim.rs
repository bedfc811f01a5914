//! What a module does not need and no flag leaves out: the standard library's own way to print a panic. The shim prints
//! them (`proxy_wasm_shim`'s hook), so the library's is never reached, but it cannot be known at compile time. Its
//! functions become traps, by name, before names are removed; what only they called goes when the module is optimised.

use std::collections::BTreeMap;

/// Parts of the symbols of functions that are never called once the hook is set.
const UNREACHED: [&str; 6] = [
    "3std9panicking12default_hook",
    "3std5panic19get_backtrace_style",
    "3std5alloc24default_alloc_error_hook",
    "13BacktraceLock",
    "6Stderr",
    // Of `std::io::Write`, whose only user here is the hook: filters do no input and output.
    "2io17default_write_fmt",
];

const CUSTOM: u8 = 0;
const IMPORT: u8 = 2;
const CODE: u8 = 10;

/// No locals; trap; end.
const TRAP: [u8; 3] = [0, 0x00, 0x0B];

/// The module without them, and without its names and what else is not executed.
///
/// # Errors
/// When the module makes no sense. That a function is missing is no error, for it may have been inlined: what all this is
/// worth is held by the test of the modules' sizes.
pub(crate) fn slim(module: &[u8]) -> Result<Vec<u8>, String> {
    let sections = sections(module).ok_or("it is not a module")?;
    let find = |wanted: u8| sections.iter().find(|(id, _)| *id == wanted).map(|(_, content)| *content);
    let names = sections.iter().filter(|(id, _)| *id == CUSTOM).find_map(|(_, content)| function_names(content));
    let names = names.ok_or("it has no names")?;
    let imported = find(IMPORT).map_or(Some(0), imported_functions).ok_or("its imports make no sense")?;
    let mut out = module.get(..8).unwrap_or_default().to_vec();
    for (id, content) in &sections {
        match *id {
            CUSTOM => {}
            CODE => section(&mut out, CODE, &trapped(content, imported, &names).ok_or("its code makes no sense")?),
            id => section(&mut out, id, content),
        }
    }
    Ok(out)
}

/// Id and content of every section.
fn sections(module: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut rest = module.strip_prefix(b"\0asm\x01\0\0\0")?;
    let mut sections = Vec::new();
    while let Some((id, mut after)) = rest.split_first() {
        let content = sized(&mut after)?;
        sections.push((*id, content));
        rest = after;
    }
    Some(sections)
}

/// Functions' names by number, if this custom section has them.
fn function_names(mut content: &[u8]) -> Option<BTreeMap<u32, String>> {
    const FUNCTIONS: u8 = 1;
    if sized(&mut content)? != b"name" {
        return None;
    }
    while let Some((id, mut after)) = content.split_first() {
        let mut part = sized(&mut after)?;
        content = after;
        if *id == FUNCTIONS {
            let count = number(&mut part)?;
            let mut one = || Some((number(&mut part)?, String::from_utf8_lossy(sized(&mut part)?).into_owned()));
            return (0..count).map(|_| one()).collect();
        }
    }
    None
}

/// How many functions are imported: those of the module are numbered behind them.
fn imported_functions(mut content: &[u8]) -> Option<u32> {
    const FUNCTION: u8 = 0;
    let count = number(&mut content)?;
    for _ in 0..count {
        let (_, _) = (sized(&mut content)?, sized(&mut content)?);
        let (kind, after) = content.split_first()?;
        content = after;
        // Nothing but functions is imported by what the filters are made of.
        (*kind == FUNCTION).then(|| number(&mut content))??;
    }
    Some(count)
}

/// The code section with traps for what is never reached.
fn trapped(mut content: &[u8], imported: u32, names: &BTreeMap<u32, String>) -> Option<Vec<u8>> {
    let count = number(&mut content)?;
    let mut out = Vec::with_capacity(content.len());
    write_number(&mut out, count);
    for function in imported..imported.checked_add(count)? {
        let body = sized(&mut content)?;
        let unreached = names.get(&function).is_some_and(|name| UNREACHED.iter().any(|part| name.contains(part)));
        let body = if unreached { &TRAP } else { body };
        write_number(&mut out, u32::try_from(body.len()).ok()?);
        out.extend_from_slice(body);
    }
    Some(out)
}

/// Bytes behind their length.
fn sized<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let size = usize::try_from(number(bytes)?).ok()?;
    let (content, after) = bytes.split_at_checked(size)?;
    *bytes = after;
    Some(content)
}

/// A number in LEB128.
fn number(bytes: &mut &[u8]) -> Option<u32> {
    let mut value = 0u64;
    for shift in (0..35).step_by(7) {
        let (byte, after) = bytes.split_first()?;
        *bytes = after;
        value |= u64::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok();
        }
    }
    None
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    write_number(out, u32::try_from(content.len()).unwrap_or(u32::MAX));
    out.extend_from_slice(content);
}

fn write_number(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7F).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}
