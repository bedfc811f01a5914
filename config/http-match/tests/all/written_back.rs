//! What is written from a typed configuration reads back as the same.

use http_match::{HttpMatchRequest, StringMatch};
use plugin_config::ListMap;

#[test]
fn a_match_clause_reads_back() {
    let map = |entries: [(&str, StringMatch); 1]| entries.into_iter().collect::<ListMap<_>>();
    let full = HttpMatchRequest {
        name: Some("first".into()),
        uri: Some(StringMatch::Prefix("/a".into())),
        ignore_uri_case: true,
        scheme: Some(StringMatch::Exact("https".into())),
        method: Some(StringMatch::Regex("GET|HEAD".into())),
        authority: Some(StringMatch::Exact("a:80".into())),
        headers: map([("x-m", StringMatch::Present)]),
        without_headers: map([("x-n", StringMatch::Exact(String::new()))]),
        query_params: map([("k", StringMatch::Regex("*".into()))]),
        port: Some(8080),
    };
    let json = serde_json::to_string(&full).unwrap();
    assert_eq!(
        json,
        concat!(
            r#"{"name":"first","uri":{"prefix":"/a"},"ignoreUriCase":true,"scheme":{"exact":"https"},"#,
            r#""method":{"regex":"GET|HEAD"},"authority":{"exact":"a:80"},"headers":{"x-m":{}},"#,
            r#""withoutHeaders":{"x-n":{"exact":""}},"queryParams":{"k":{"regex":"*"}},"port":8080}"#,
        )
    );
    for clause in [full, HttpMatchRequest::default()] {
        let json = serde_json::to_vec(&clause).unwrap();
        assert_eq!(plugin_config::from_slice::<HttpMatchRequest>(&json), Ok(clause));
    }
}
