//! The matrix of conditions and failures as measured on Envoy, the lists, and the back-off.

use super::super::draws::SplitMix64;
use super::AttemptFailure as Failure;
use super::*;

/// The columns of the matrix.
const FAILURES: [Failure; 10] = [
    Failure::ConnectFailure,
    Failure::ResetBeforeHeaders,
    Failure::Status(500),
    Failure::Status(502),
    Failure::Status(503),
    Failure::Status(504),
    Failure::Status(409),
    Failure::Status(429),
    Failure::PerTryTimeout,
    Failure::GrpcStatus(14),
];

/// `retryOn` ("" is Istio's default) and the attempts seen with two retries, by column.
const MATRIX: &[(&str, [u32; 10])] = &[
    //                        refused reset 500 502 503 504 409 429 per-try grpc 14
    ("", [3, 1, 1, 1, 1, 1, 1, 1, 1, 3]),
    ("5xx", [3, 3, 3, 3, 3, 3, 1, 1, 3, 1]),
    ("gateway-error", [3, 3, 1, 3, 3, 3, 1, 1, 3, 1]),
    ("reset", [3, 3, 1, 1, 1, 1, 1, 1, 3, 1]),
    ("connect-failure", [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("reset-before-request", [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("retriable-4xx", [1, 1, 1, 1, 1, 1, 3, 1, 1, 1]),
    ("refused-stream", [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
    ("503", [1, 1, 1, 1, 3, 1, 1, 1, 1, 1]),
    ("unavailable,cancelled", [1, 1, 1, 1, 1, 1, 1, 1, 1, 3]),
];

fn policy(retry_on: &str) -> RetryPolicy {
    let policy = RetryPolicy::default_istio();
    if retry_on.is_empty() { policy } else { policy.with_retry_on(retry_on.as_bytes()) }
}

/// How often a request is sent when every attempt fails alike.
fn attempts(policy: &RetryPolicy, failure: &Failure) -> u32 {
    let mut retries = 0;
    while policy.has_retries_left(retries) && policy.should_retry(failure) {
        retries += 1;
    }
    retries + 1
}

#[test]
fn the_matrix_of_conditions_and_failures() {
    for (retry_on, wanted) in MATRIX {
        for (failure, wanted) in FAILURES.iter().zip(wanted) {
            assert_eq!(attempts(&policy(retry_on), failure), *wanted, "retryOn {retry_on:?}, {failure:?}");
        }
    }
}

#[test]
fn failures_beyond_the_matrix() {
    const CASES: &[(&str, Failure, bool)] = &[
        ("reset-before-request", Failure::ResetBeforeRequest, true),
        ("reset", Failure::ResetBeforeRequest, true),
        ("connect-failure", Failure::ResetBeforeRequest, false),
        ("refused-stream", Failure::RefusedStream, true),
        ("", Failure::RefusedStream, true),
        ("5xx", Failure::RefusedStream, true),
        ("connect-failure", Failure::RefusedStream, false),
        ("503", Failure::PerTryTimeout, false),
        ("504", Failure::PerTryTimeout, false),
        ("429,503", Failure::Status(429), true),
        ("5xx,429", Failure::Status(501), true),
        ("5xx", Failure::Status(600), false),
        ("5xx", Failure::Status(499), false),
        ("200", Failure::Status(200), true),
        ("retriable-status-codes", Failure::Status(503), false),
        ("", Failure::GrpcStatus(1), true),
        ("", Failure::GrpcStatus(0), false),
        ("deadline-exceeded", Failure::GrpcStatus(4), true),
        ("resource-exhausted", Failure::GrpcStatus(8), true),
        ("internal", Failure::GrpcStatus(13), true),
        ("internal", Failure::GrpcStatus(14), false),
        ("5xx", Failure::GrpcStatus(14), false),
        ("5xx", Failure::RateLimited, false),
        ("envoy-ratelimited", Failure::RateLimited, true),
    ];
    for (retry_on, failure, wanted) in CASES {
        assert_eq!(policy(retry_on).should_retry(failure), *wanted, "retryOn {retry_on:?}, {failure:?}");
    }
}

#[test]
fn overflow_and_the_end_of_time_are_never_retried() {
    let policy = policy("5xx,gateway-error,reset,connect-failure,reset-before-request,refused-stream,503,504");
    assert!(!policy.should_retry(&Failure::Overflow) && !policy.should_retry(&Failure::RouteTimeout));
}

#[test]
fn no_condition_or_no_retry_left_means_one_attempt() {
    let never = RetryPolicy::none();
    assert!(FAILURES.iter().all(|failure| !never.should_retry(failure)));
    let zero = RetryPolicy { max_retries: 0, ..policy("5xx") };
    assert_eq!(attempts(&zero, &Failure::Status(503)), 1);
    let inbound = RetryPolicy::default_inbound();
    assert_eq!(
        (attempts(&inbound, &Failure::ResetBeforeRequest), attempts(&inbound, &Failure::ResetBeforeHeaders)),
        (3, 1)
    );
}

#[test]
fn lists_of_conditions() {
    const CASES: &[(&[u8], RetryOn)] = &[
        (b"", RetryOn::NONE),
        (b"5xx", RetryOn::FIVE_XX),
        (b" reset , 5xx", RetryOn(RetryOn::RESET.0 | RetryOn::FIVE_XX.0)),
        (b",,refused-stream,", RetryOn::REFUSED_STREAM),
        (b"5XX,resets,503,\xff\xfe", RetryOn::NONE),
        (b"gateway-error,nonsense,unavailable", RetryOn(RetryOn::GATEWAY_ERROR.0 | RetryOn::UNAVAILABLE.0)),
        (b"cancelled,deadline-exceeded,internal,resource-exhausted,unavailable", RetryOn(0b11_1110_0000_0000)),
        (b"5xx,gateway-error,reset,connect-failure,reset-before-request", RetryOn(0b1_1111)),
        (b"refused-stream,retriable-4xx,retriable-status-codes,envoy-ratelimited", RetryOn(0b1_1110_0000)),
    ];
    for (list, wanted) in CASES {
        assert_eq!(RetryOn::parse(list), *wanted, "{}", list.escape_ascii());
    }
}

#[test]
fn numbers_in_a_list_are_statuses() {
    let policy = RetryPolicy::default_istio().with_retry_on(b"503, 429,connect-failure,70000,-1,\xff");
    assert_eq!(policy.status_codes, [503, 429]);
    assert_eq!(policy.on, RetryOn::CONNECT_FAILURE | RetryOn::RETRIABLE_STATUS_CODES);
    assert_eq!(policy.max_retries, 2);
    assert!(!RetryPolicy::none().with_retry_on(b"5xx").on.has_any(RetryOn::RETRIABLE_STATUS_CODES));
}

#[test]
fn answers_by_their_headers() {
    // retryOn, status, headers, wanted.
    type Case = (&'static str, u16, &'static [(&'static str, &'static str)], bool);
    const CASES: &[Case] = &[
        ("5xx", 503, &[], true),
        ("5xx", 503, &[("x-envoy-overloaded", "true")], false),
        ("5xx", 503, &[("x-envoy-ratelimited", "")], false),
        ("envoy-ratelimited", 429, &[("x-envoy-ratelimited", "true")], true),
        ("envoy-ratelimited", 429, &[], false),
        ("", 200, &[("grpc-status", "14")], true),
        ("", 200, &[("grpc-status", "0")], false),
        ("", 200, &[("grpc-status", "fourteen")], false),
        ("", 503, &[("grpc-status", "14")], true),
        ("5xx", 503, &[("grpc-status", "2")], true),
        ("5xx", 200, &[("grpc-status", "14")], false),
    ];
    for (retry_on, status, headers, wanted) in CASES {
        let list: HeaderList = headers.iter().copied().collect();
        assert_eq!(policy(retry_on).should_retry_answer(*status, &list), *wanted, "{retry_on:?} {status} {headers:?}");
    }
}

#[test]
fn back_off_grows_by_doubling_up_to_ten_times_the_base() {
    let policy = RetryPolicy::default_istio();
    let mut draws = SplitMix64(3);
    // Retry number and the bound in milliseconds.
    for (attempt, bound) in
        [(0, 25), (1, 25), (2, 50), (3, 100), (4, 200), (5, 250), (6, 250), (32, 250), (33, 250), (u32::MAX, 250)]
    {
        let bound = Duration::from_millis(bound);
        let waits: Vec<_> = (0..4000).map(|_| policy.back_off(attempt, draws.draw())).collect();
        assert!(waits.iter().all(|wait| *wait < bound), "retry {attempt}");
        let mean = waits.iter().sum::<Duration>() / 4000;
        // Uniform from 0: the mean is half the bound, within 4 standard errors of 0.46 %.
        assert!(mean > bound * 48 / 100 && mean < bound * 52 / 100, "retry {attempt}: {mean:?} of {bound:?}");
    }
}

#[test]
fn back_off_of_other_bases() {
    let slow = RetryPolicy::none().with_back_off(Duration::from_secs(1));
    assert_eq!(slow.back_off_max, Duration::from_secs(10));
    assert!(slow.back_off(9, u64::MAX) < Duration::from_secs(10));
    assert_eq!(RetryPolicy::none().with_back_off(Duration::ZERO).back_off(3, 77), Duration::ZERO);
    assert!(RetryPolicy::none().with_back_off(Duration::MAX).back_off(3, 77) == Duration::from_nanos(77));
    let short = RetryPolicy { back_off_max: Duration::from_millis(10), ..RetryPolicy::none() };
    assert!((0..100).all(|draw| short.back_off(1, draw * 7_919_333) < Duration::from_millis(10)));
}
