//! What a check says, and in which form.

use super::{Suppression, exit_code, report::Report, table, text};
use compiler::Level;
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
---
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {ports: [{name: http, port: 80}]}
";

fn report(text: &str) -> Report {
    let file = Arc::new(File { name: "mesh/reviews.yaml".into(), text: text.into() });
    Report::new(read_files(&[file], &Options::default()), Vec::new())
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
        "error[IST0106]: VirtualService shop/reviews spec.http[0].fault.abort.httpStatus: 99: expected a whole number \
         from 200 to 599\n \
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
    assert!(
        shown.starts_with("warning[IST0133]: VirtualService shop/reviews spec.http[0].fault.abort.percentage"),
        "{shown}"
    );
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
        "not used, though Istio would: EnvoyFilter mesh/reviews.yaml:17:1\nnot looked at: 1 Job\n\
         no fault in 1 Service, 1 VirtualService\n"
    );
    assert_eq!(shown("# nothing\n"), "nothing to check\n");
}

#[test]
fn a_report_is_an_object() {
    let report = serde_json::to_value(report(ROUTES)).unwrap();
    let expected = serde_json::json!({
        "findings": [{
            "refused": true,
            "code": "IST0106",
            "message": "SchemaValidationError",
            "level": "Error",
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
        "suppressed": 0,
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

#[test]
fn a_table_has_a_line_for_each_finding() {
    let mut out = Vec::new();
    table::write(&report(&ROUTES.replace("99", "503")), &mut out).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "LEVEL    CODE     RESOURCE                     FIELD                                \
         PLACE                  REASON\n\
         Warning  IST0133  VirtualService reviews.shop  spec.http[0].fault.abort.percentage  \
         mesh/reviews.yaml:8:7  nothing: without a percentage it never happens\n"
    );
}

#[test]
fn the_exit_status_tells_what_was_found() {
    let status = |text: &str, threshold| exit_code(&report(text), threshold);
    let fine = ROUTES.replace("{httpStatus: 99}", "{httpStatus: 503, percentage: {value: 1}}");
    let unnamed = fine.replace("name: http, ", "name: web, ");
    let unknown = fine.replace("destination: {host: reviews}", "destination: {host: nobody}");
    for (text, [info, warning, error]) in [
        (ROUTES, [65, 65, 65]),
        (&fine, [0, 0, 0]),
        (&unnamed, [79, 0, 0]),
        (&ROUTES.replace("99", "503"), [79, 79, 0]),
        (&unknown, [79, 79, 79]),
    ] {
        let found = [Level::Info, Level::Warning, Level::Error].map(|level| status(text, level));
        assert_eq!(found, [info, warning, error], "{text}");
    }
}

#[test]
fn findings_are_left_out_where_somebody_knows_of_them() {
    let warned = ROUTES.replace("99", "503");
    let left = |text: &str, suppressions: &[&str]| {
        let mut report = report(text);
        report.suppress(&suppressions.iter().map(|text| Suppression::parse(text).unwrap()).collect::<Vec<_>>());
        (report.findings.len(), report.suppressed)
    };
    for (suppression, expected) in [
        ("IST0133=VirtualService reviews.shop", (0, 1)),
        ("IST0133=VirtualService *.shop", (0, 1)),
        ("IST0133=*", (0, 1)),
        ("IST0133=VirtualService reviews.sho", (1, 0)),
        ("IST0133=VirtualService r.views.shop", (1, 0)),
        ("IST0133=Service reviews.shop", (1, 0)),
        ("IST0106=VirtualService reviews.shop", (1, 0)),
    ] {
        assert_eq!(left(&warned, &[suppression]), expected, "{suppression}");
    }
    let annotated = |codes: &str| {
        let annotations =
            format!("{{name: reviews, namespace: shop, annotations: {{galley.istio.io/analyze-suppress: {codes}}}}}");
        warned.replacen("{name: reviews, namespace: shop}", &annotations, 1)
    };
    for (codes, expected) in [("'IST0101, IST0133'", (0, 1)), ("'*'", (0, 1)), ("IST0101", (1, 0))] {
        assert_eq!(left(&annotated(codes), &[]), expected, "{codes}");
    }
    // What is refused is said whatever anybody wants.
    assert_eq!(left(ROUTES, &["IST0106=*"]), (1, 0));
    for text in ["IST0133", "=a", "IST0133=", ""] {
        assert!(Suppression::parse(text).is_err(), "{text}");
    }
}

#[test]
fn what_matters_less_is_left_out() {
    let mut report = report(&ROUTES.replace("99", "503"));
    report.keep(Level::Warning);
    assert_eq!(report.findings.len(), 1);
    report.keep(Level::Error);
    assert_eq!(report.findings.len(), 0);
}
