//! Field paths as faults write them, and what they lead to: `spec.http[2].headers["x.y"].set`.

use crate::tree::{Mark, Tree, Value};

/// One step of a path.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// The steps of a path; those behind one that is none are left out.
fn steps(path: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = if path == "$" { "" } else { path };
    while !rest.is_empty() {
        let Some((step, behind)) = step(rest) else { break };
        steps.push(step);
        rest = behind;
    }
    steps
}

fn step(path: &str) -> Option<(Step, &str)> {
    if let Some(quoted) = path.strip_prefix("[\"") {
        return quoted_key(quoted);
    }
    if let Some(index) = path.strip_prefix('[') {
        let (index, rest) = index.split_once(']')?;
        return Some((Step::Index(index.parse().ok()?), rest));
    }
    let path = path.strip_prefix('.').unwrap_or(path);
    let (key, rest) = path.split_at_checked(path.find(['.', '[']).unwrap_or(path.len()))?;
    Some((Step::Key(key.to_owned()), rest))
}

/// A key in quotes, as `plugin_config::Quoted` writes it.
fn quoted_key(text: &str) -> Option<(Step, &str)> {
    let mut key = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (end, '"') => return Some((Step::Key(key), text.get(end..)?.strip_prefix("\"]")?)),
            (_, '\\') => match characters.next()?.1 {
                'u' => {
                    let digits: String = characters.by_ref().take(4).map(|(_, digit)| digit).collect();
                    key.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                other => key.push(other),
            },
            (_, other) => key.push(other),
        }
    }
}

/// Where the value stands that a path leads to, or the nearest that there is above it. An object or a list stands where
/// its key does.
pub(crate) fn place(root: &Tree<'_>, path: &str) -> Mark {
    let (mut tree, mut mark) = (root, root.mark);
    for step in steps(path) {
        let found = match (&step, &tree.value) {
            (Step::Key(key), Value::Object(entries)) => {
                entries.iter().find(|entry| entry.key == *key).map(|entry| (&entry.value, entry.mark))
            }
            (Step::Index(index), Value::List(items)) => items.get(*index).map(|item| (item, item.mark)),
            _ => None,
        };
        let Some((next, key)) = found else { break };
        tree = next;
        mark = match &next.value {
            Value::Bool(_) | Value::Number(_) | Value::Text(_) => next.mark,
            Value::Null | Value::List(_) | Value::Object(_) => key,
        };
    }
    mark
}

/// What a path leads to.
pub(crate) fn find<'a, 't>(root: &'a Tree<'t>, path: &str) -> Option<&'a Tree<'t>> {
    steps(path).iter().try_fold(root, |tree, step| match (step, &tree.value) {
        (Step::Key(key), _) => tree.get(key),
        (Step::Index(index), Value::List(items)) => items.get(*index),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_as_they_are_written() {
        let key = |text: &str| Step::Key(text.to_owned());
        let cases = [
            ("$", vec![]),
            ("spec.http[2].fault", vec![key("spec"), key("http"), Step::Index(2), key("fault")]),
            (r#"a["x.y\"z\\"][0]"#, vec![key("a"), key("x.y\"z\\"), Step::Index(0)]),
            ("[\"\\u0001\"].b", vec![key("\u{1}"), key("b")]),
            ("a[x].b", vec![key("a")]),
            ("a[\"b", vec![key("a")]),
        ];
        for (path, expected) in cases {
            assert_eq!(steps(path), expected, "{path}");
        }
    }
}
