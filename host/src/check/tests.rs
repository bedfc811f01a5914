//! What a check says, and in which form.

use super::{report::Report, text};
use istio_api::{File, Options, read_files};
use std::sync::Arc;

const ROUTES: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - fault:
      abort: {httpStatus: 99}
    route:
    - destination: {host: reviews}
";

fn report(text: &str) -> Report {
    let file = Arc::new(File { name: "mesh/reviews.yaml".into(), text: text.into() });
    Report::from(read_files(&[file], &Options::default()))
}

fn shown(text: &str) -> String {
    let mut out = Vec::new();
    text::write(&report(text), false, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_error_is_shown_with_its_line() {
    assert_eq!(
        shown(ROUTES),
        "error: VirtualService shop/reviews spec.http[0].fault.abort.httpStatus: 99: expected a whole number from 200 to \
         599\n \
         --> mesh/reviews.yaml:8:27\n  \
           |\n\
         8 |       abort: {httpStatus: 99}\n  \
           |                           ^^\n\
         \n\
         1 error, 0 warnings\n"
    );
}

#[test]
fn a_warning_is_shown_with_its_line() {
    let shown = shown(&ROUTES.replace("99", "503"));
    assert!(shown.starts_with("warning: VirtualService shop/reviews spec.http[0].fault.abort.percentage"), "{shown}");
    assert!(shown.contains("8 |       abort: {httpStatus: 503}"), "{shown}");
    assert!(shown.ends_with("0 errors, 1 warning\n"), "{shown}");
}

#[test]
fn what_a_secret_holds_is_not_shown() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata:\n  a: hunter2!\n  b: 5\n";
    let shown = shown(secret);
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("--> mesh/reviews.yaml:5:6"), "{shown}");
    let structured = serde_json::to_string(&report(secret)).unwrap();
    assert!(!structured.contains("hunter2"), "{structured}");
    let broken = self::shown("kind: Secret\ndata: {a: hunter2, b: [\n");
    assert!(broken.contains("not YAML") && !broken.contains("hunter2"), "{broken}");
}

#[test]
fn what_istio_would_use_is_named_and_the_rest_counted() {
    let text = format!(
        "{}---\napiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: {{name: a}}\n\
         ---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: a}}\n",
        ROUTES.replace("{httpStatus: 99}", "{httpStatus: 503, percentage: {value: 1}}")
    );
    assert_eq!(
        shown(&text),
        "not used, though Istio would: EnvoyFilter mesh/reviews.yaml:12:1\nnot looked at: 1 Job\n\
         no fault in 1 VirtualService\n"
    );
    assert_eq!(shown("# nothing\n"), "nothing to check\n");
}

#[test]
fn a_report_is_an_object() {
    let report = serde_json::to_value(report(ROUTES)).unwrap();
    let expected = serde_json::json!({
        "errors": [{
            "kind": "VirtualService",
            "namespace": "shop",
            "name": "reviews",
            "path": "spec.http[0].fault.abort.httpStatus",
            "value": "99",
            "reason": "expected a whole number from 200 to 599",
            "file": "mesh/reviews.yaml",
            "line": 8,
            "column": 27,
        }],
        "warnings": [],
        "skipped": [],
        "read": {},
    });
    assert_eq!(report, expected);
}

#[test]
fn places_at_the_ends_of_a_text_are_shown() {
    for text in ["a: [", "[", "- ", "\u{feff}", "\n\n\n{", "é: [é", "a: \"\u{1b}[31m"] {
        // Whatever it is: it must be shown, and without what a terminal would obey.
        assert!(!shown(text).contains('\u{1b}'), "{text:?}");
    }
}
