//! What the ABI's functions answer, row by row: a guest makes each call and says what it got. The same guest and the
//! same rows run in stock Envoy; where the two are to differ, the row says why.

mod bad_pointers;
mod buffers;
mod calls;
mod envoy;
mod headers;
mod lifecycle;
mod properties;
mod shared;
mod signatures;
mod streams;

use crate::wasm_driver::{Answer, Outcome, Request, Worker, on_worker, settings};
use libtest_mimic::Trial;
use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

/// What Envoy answers.
#[derive(Clone, Copy)]
enum Envoy {
    /// The same.
    Same,
    /// Something else, and why we do not.
    Differs(&'static str),
    /// It is not asked, for the reason given.
    NotAsked,
}

/// One hostcall in one callback. Rows stand in the order in which they happen.
#[derive(Clone, Copy)]
struct Row {
    call: &'static str,
    /// A `*` in a word is whatever it is.
    answer: &'static str,
    envoy: Envoy,
}

/// A row in which both agree.
const fn row(call: &'static str, answer: &'static str) -> Row {
    Row { call, answer, envoy: Envoy::Same }
}

/// A row in which Envoy answers something else; `_why` it is not what we answer.
const fn differs(call: &'static str, answer: &'static str, envoys: &'static str, _why: &'static str) -> Row {
    Row { call, answer, envoy: Envoy::Differs(envoys) }
}

/// A row that Envoy is not asked; `_why`.
const fn ours(call: &'static str, answer: &'static str, _why: &'static str) -> Row {
    Row { call, answer, envoy: Envoy::NotAsked }
}

/// A request, and what the guest asks on its way.
struct Scenario {
    name: &'static str,
    /// The versions of the ABI that it is about.
    versions: &'static [&'static str],
    sent: Sent,
    /// What the client gets, here and in Envoy; 0: it is cut off.
    status: (u16, u16),
    rows: &'static [Row],
    /// Why Envoy does not run it.
    not_in_envoy: Option<&'static str>,
}

/// What the client sends: a GET, a POST of `abc`, the same with trailers.
#[derive(Clone, Copy)]
enum Sent {
    Get,
    Post,
    Trailers,
}

const LATEST: &[&str] = &["0_2_1"];
const EVERY: &[&str] = &["0_1_0", "0_2_0", "0_2_1"];

/// A scenario of the latest version, that ends well.
const fn scenario(name: &'static str, sent: Sent, rows: &'static [Row]) -> Scenario {
    Scenario { name, versions: LATEST, sent, status: (200, 200), rows, not_in_envoy: None }
}

fn all() -> impl Iterator<Item = &'static Scenario> {
    let sections = [
        headers::SCENARIOS,
        buffers::SCENARIOS,
        properties::SCENARIOS,
        shared::SCENARIOS,
        signatures::SCENARIOS,
        calls::SCENARIOS,
        streams::SCENARIOS,
        lifecycle::SCENARIOS,
    ];
    static BAD_POINTERS: LazyLock<Scenario> = LazyLock::new(bad_pointers::scenario);
    sections.into_iter().flatten().chain([&*BAD_POINTERS])
}

/// What all requests have in common.
const PATH: &str = "/p?q=1";
const HEADERS: [(&str, &str); 5] =
    [("x-m", "1"), ("x-m", "2"), ("x-empty", ""), ("referer", "http://before.test/"), ("user-agent", "agent/1")];
const TRAILERS: [(&str, &str); 1] = [("x-sum", "1")];
const CONFIGURATION: &str = "the plugin's configuration";

pub(super) fn script_abi_0_1_0() {
    runs("0_1_0");
}

pub(super) fn script_abi_0_2_0() {
    runs("0_2_0");
}

pub(super) fn script_abi_0_2_1() {
    runs("0_2_1");
}

/// The rows in Envoy, and ours against their own checker.
pub(super) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("guests::conformance::envoy", envoy::agrees),
        Trial::test("guests::conformance::a_wrong_row_fails", || {
            a_wrong_row_fails();
            Ok(())
        }),
    ]
}

/// Every row of a version in our host.
fn runs(version: &str) {
    let mut wrong = Vec::new();
    for scenario in all().filter(|scenario| scenario.versions.contains(&version)) {
        on_worker(async |worker| wrong.extend(run(worker, scenario, version).await));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The script of a scenario, as the guest reads it.
fn script(scenario: &Scenario) -> String {
    scenario.rows.iter().enumerate().map(|(number, row)| format!("{number} {}\n", row.call)).collect()
}

async fn run(worker: &Worker, scenario: &Scenario, version: &str) -> Vec<String> {
    let guest = format!("script_abi_{version}");
    let mut settings = settings(&guest, &script(scenario));
    settings.limits.callback = Duration::from_secs(10);
    settings.limits.pause = Duration::from_secs(5);
    settings.configuration = CONFIGURATION.into();
    settings.root_id = "root".to_owned();
    settings.environment = vec![("KEY".to_owned(), "value".to_owned())];
    worker.services.level.set(host::wasm::LogLevel::Info);
    let (chain, plugin) = worker.chain(&guest, settings);
    let answer = Answer::ok(&["answer"]).header("x-from", "upstream");
    let outcome = worker.serve(&chain, request(scenario.sent), answer).await;
    worker.pass(Duration::from_secs(1)).await;
    plugin.end();
    worker.pass(Duration::from_secs(1)).await;
    let lines = worker.services.take_lines();
    let mut wrong = compare(scenario, &answers(lines.iter().map(String::as_str)), |row| Some(row.answer));
    wrong.extend(ended(&outcome, scenario.status.0).map(|wrong| format!("{}: {wrong}", scenario.name)));
    wrong.into_iter().map(|wrong| format!("{version} {wrong}")).collect()
}

fn ended(outcome: &Outcome, expected: u16) -> Option<String> {
    let found = if outcome.cut { 0 } else { outcome.status };
    (found != expected).then(|| format!("ends with {found} ({}), not {expected}", outcome.details))
}

fn request(sent: Sent) -> Request {
    let plain = match sent {
        Sent::Get => Request::get(PATH),
        Sent::Post | Sent::Trailers => Request::post(&["abc"]).path(PATH),
    };
    let request = HEADERS.iter().fold(plain, |request, (name, value)| request.header(name, value.as_bytes()));
    if matches!(sent, Sent::Trailers) { request.trailers(&TRAILERS) } else { request }
}

/// What the guest said: row and answer, in order; of a row that was said again, the last.
fn answers<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<(usize, &'l str)> {
    let mut answers: BTreeMap<usize, (usize, &str)> = BTreeMap::new();
    for (place, line) in lines.enumerate() {
        if let Some((number, answer)) = line.split_once(": ")
            && let Ok(number) = number.parse()
        {
            answers.insert(number, (place, answer));
        }
    }
    let mut said: Vec<_> = answers.into_iter().map(|(number, (place, answer))| (place, number, answer)).collect();
    said.sort_unstable();
    said.into_iter().map(|(_, number, answer)| (number, answer)).collect()
}

/// Everything that is not as expected, its order included.
fn compare(
    scenario: &Scenario,
    answers: &[(usize, &str)],
    expected: impl Fn(&Row) -> Option<&'static str>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (number, row) in scenario.rows.iter().enumerate() {
        let Some(expected) = expected(row).filter(|_| !row.call.contains(" return ")) else { continue };
        let found = answers.iter().find(|(said, _)| *said == number).map(|(_, answer)| *answer);
        if !found.is_some_and(|found| matches(expected, found)) {
            let found = found.unwrap_or("nothing: it was not called");
            wrong.push(format!("{} {}\n    {found}\n    is not {expected}", scenario.name, row.call));
        }
    }
    if wrong.is_empty() && !answers.is_sorted_by_key(|(number, _)| *number) {
        let order: Vec<usize> = answers.iter().map(|(number, _)| *number).collect();
        wrong.push(format!("{}: the rows happened in the order {order:?}", scenario.name));
    }
    wrong
}

fn matches(expected: &str, found: &str) -> bool {
    let (expected, found): (Vec<&str>, Vec<&str>) = (expected.split(' ').collect(), found.split(' ').collect());
    let word = |wanted: &str, found: &str| match wanted.split_once('*') {
        Some((start, end)) => found.starts_with(start) && found.ends_with(end),
        None => wanted == found,
    };
    expected.len() == found.len() && expected.iter().zip(&found).all(|(wanted, found)| word(wanted, found))
}

/// A check that cannot fail is none.
fn a_wrong_row_fails() {
    const ROWS: &[Row] = &[row("configure proxy_done", "1"), row("request_headers proxy_done", "1")];
    const SCENARIO: Scenario = scenario("wrong", Sent::Get, ROWS);
    let check = |lines: &[&str]| compare(&SCENARIO, &answers(lines.iter().copied()), |row| Some(row.answer));
    assert!(check(&["0: 1", "1: 1"]).is_empty());
    for lines in [&["0: 1", "1: 2"][..], &["0: 1"], &["1: 1", "0: 1"], &["0: 1", "1: 1 more"]] {
        assert_eq!(check(lines).len(), 1, "{lines:?}");
    }
}
