//! What is read with the help of what was read before is what is read without.

use istio_api::{DocumentCache, File, Options, read_files};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn file(name: &str, text: &str) -> Arc<File> {
    Arc::new(File { name: name.to_owned(), text: text.to_owned() })
}

/// Everything that a reading says, with the place of each resource.
fn said(files: &[Arc<File>], cache: Option<&mut DocumentCache>) -> String {
    let options = Options::default();
    let read = match cache {
        Some(cache) => cache.read_files(files, &options),
        None => read_files(files, &options),
    };
    match read {
        Ok(resources) => format!("{resources:#?}"),
        Err(faults) => format!("{faults:#?}\n{faults}"),
    }
}

fn check(files: &[Arc<File>], cache: &mut DocumentCache, about: &str) {
    let (plain, cached) = (said(files, None), said(files, Some(cache)));
    let differing = plain.lines().zip(cached.lines()).find(|(plain, cached)| plain != cached);
    assert!(plain == cached, "{about}: {differing:?}");
}

#[test]
fn every_input_in_every_state() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut texts = Vec::new();
    for folder in ["inputs", "faults"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            texts.push((path.display().to_string(), fs::read_to_string(path).unwrap()));
        }
    }
    texts.sort();
    assert!(texts.len() >= 10);
    let mut cache = DocumentCache::default();
    for (name, text) in &texts {
        for about in ["first", "again"] {
            check(&[file(name, text)], &mut cache, &format!("{name} {about}"));
        }
        // Everything stands further on.
        let moved = format!("# one\n# two\n---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: é}}\n---\n{text}");
        check(&[file(name, &moved)], &mut cache, &format!("{name} moved"));
        let documents: Vec<&str> = text.split("\n---\n").collect();
        let turned: Vec<&str> = documents.iter().rev().copied().collect();
        check(&[file(name, &turned.join("\n---\n"))], &mut cache, &format!("{name} turned"));
        for (place, without) in documents.iter().enumerate() {
            let mut fewer = documents.clone();
            fewer.remove(place);
            check(&[file(name, &fewer.join("\n---\n"))], &mut cache, &format!("{name} without {without}"));
        }
    }
    let all: Vec<_> = texts.iter().map(|(name, text)| file(name, text)).collect();
    check(&all, &mut cache, "all");
}

#[test]
fn what_is_not_split_is_read_as_it_is() {
    let service = |name: &str| {
        format!("apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{port: 80}}]}}\n")
    };
    let (a, b) = (service("a"), service("b"));
    let mut cache = DocumentCache::default();
    for (about, text) in [
        ("plain", format!("{a}---\n{b}")),
        ("twice", format!("{a}---\n{a}")),
        ("directive", format!("%YAML 1.2\n---\n{a}...\n%YAML 1.2\n---\n{b}")),
        ("end marker", format!("{a}...\n{b}")),
        ("windows", format!("{a}---\n{b}").replace('\n', "\r\n")),
        ("old mac", format!("{a}---\n{b}").replace('\n', "\r")),
        ("marker with a value", format!("{a}--- {{apiVersion: v1, kind: Namespace, metadata: {{name: x}}}}\n---\n{b}")),
        ("no marker", format!("{a}--- \n---x: 1\n---\n{b}")),
        ("within a text", format!("{a}---\n{b}  note: |\n    ---\n    x\n")),
        ("within quotes", format!("{a}  # x\n---\nkind: 'a\n---\nb'\n")),
        ("anchor", format!("{a}---\napiVersion: v1\nkind: ConfigMap\nmetadata: &m {{name: c}}\ndata: *m\n---\n{b}")),
        ("byte order mark", format!("\u{feff}{a}---\n{b}")),
        ("not yaml", format!("{a}---\n[\n---\n{b}")),
        ("a list", format!("apiVersion: v1\nkind: List\nitems:\n- {}\n---\n{b}", a.replace('\n', "\n  ").trim_end())),
        (
            "unused",
            format!(
                "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: j}}\n---\n{a}---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: k}}\n"
            ),
        ),
        ("empty", String::new()),
        ("comments", "# a\n---\n# b\n---\n".to_owned()),
    ] {
        check(&[file("f.yaml", &text)], &mut cache, about);
        check(&[file("f.yaml", &text)], &mut cache, &format!("{about}, again"));
        check(&[file("e.yaml", &b), file("f.yaml", &text)], &mut cache, &format!("{about}, behind another"));
    }
}

#[test]
fn another_namespace_is_another_reading() {
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 80}]}\n";
    let mut cache = DocumentCache::default();
    for namespace in ["one", "two"] {
        let namespace = istio_api::scalar::DnsLabel::new(namespace).unwrap();
        let options = Options { namespace: namespace.clone(), mesh_config: None };
        let read = cache.read_files(&[file("a.yaml", text)], &options).unwrap();
        assert_eq!(read.services[0].metadata.namespace(), namespace.as_str());
    }
}
