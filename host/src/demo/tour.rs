//! The tour: each thing that the demo shows is tried, and its result checked.

use crate::demo::services::{Answer, Services, ask};
use crate::demo::{FRONT_DOOR, ROUTES};
use crate::run::{Fleet, Watch};
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

/// Requests of the split, and how far from its share a version may be: four standard deviations.
const SPLIT: u32 = 500;
const DEVIATIONS: f64 = 4.0;

/// How long is waited for what comes later than an answer: a copy, a saved file.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the storefront's sidecar takes its requests, and where that of the ratings listens.
const SIDECAR_OF_STOREFRONT: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 31, 0, 2), 15001);
const RATINGS: (Ipv4Addr, u16) = (Ipv4Addr::new(127, 31, 0, 7), 9080);

/// Takes the tour; the first result that is wrong ends it.
pub(super) fn take(services: &Services, fleet: &mut Fleet, folder: &Path) -> Result<(), String> {
    let Services { edges, runtime } = services;
    let page = runtime.block_on(visit("/", &[]))?;
    let whole = page.status == 200 && contains(&page, "Outrigger") && contains(&page, "reviews-v");
    check("a page of the storefront, made of catalogue and reviews", whole, &page)?;
    let (second, last) = runtime.block_on(split())?;
    check(&format!("a split: {second} of {SPLIT} pages had reviews v2 (20 % wanted)"), is_near(second, 0.2), &last)?;
    let copies = runtime.block_on(patiently(|| edges.count("reviews-v3") > 0));
    check("a mirror: reviews v3 saw copies", copies, &last)?;
    let jason = runtime.block_on(visit("/", &[("end-user", "jason")]))?;
    let held = jason.took >= Duration::from_secs(2) && contains(&jason, "reviews-v2");
    check("a delay: jason waits two seconds, for reviews v2", held, &jason)?;
    let mallory = runtime.block_on(mallory())?;
    check("an abort: mallory's ratings answer 503", contains(&mallory, "no stars today (503)"), &mallory)?;
    let admin = runtime.block_on(visit("/admin", &[]))?;
    let refused = admin.status == 403 && admin.body == "RBAC: access denied";
    check("a refusal: /admin answers 403", refused, &admin)?;
    let ratings = runtime.block_on(get(SIDECAR_OF_STOREFRONT, "ratings:9080"))?;
    let refused = ratings.status == 403 && ratings.body == "RBAC: access denied";
    check("a refusal by identity: ratings are for the reviews, the storefront gets 403", refused, &ratings)?;
    let plain = runtime.block_on(get(RATINGS, "ratings:9080"));
    check("plain text between workloads: closed", plain.is_err(), plain.as_ref().unwrap_or(&ratings))?;
    edit(services, fleet, &folder.join(ROUTES))
}

/// A file is edited as a user would: well, and badly.
fn edit(services: &Services, fleet: &mut Fleet, file: &Path) -> Result<(), String> {
    let runtime = &services.runtime;
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let all_to_third =
        text.replace("subset: v1}, weight: 80", "subset: v3}, weight: 80").replace("weight: 20", "weight: 0");
    save(runtime, fleet, file, &all_to_third)?.map_err(|faults| faults.to_string())?;
    let page = runtime.block_on(visit("/", &[]))?;
    check("an edit: all reviews come from v3 now", contains(&page, "reviews-v3"), &page)?;
    let refused = save(runtime, fleet, file, &all_to_third.replace("weight: 0", "weigth: 0"))?.err();
    let faults = refused.map(|faults| faults.to_string()).unwrap_or_default();
    let page = runtime.block_on(visit("/", &[]))?;
    let named = faults.contains("VirtualService bookshop/reviews spec.http[1].route[1].weigth");
    check(
        &format!("a mistake: refused, and what ran before goes on: {faults}"),
        named && contains(&page, "reviews-v3"),
        &page,
    )
}

/// Saves a file, waits until that is noticed, and reloads.
fn save(
    runtime: &tokio::runtime::Runtime,
    fleet: &mut Fleet,
    file: &Path,
    text: &str,
) -> Result<Result<(), host::Faults>, String> {
    let mut watch = Watch::new(&fleet.paths());
    std::fs::write(file, text).map_err(|error| error.to_string())?;
    let noticed = runtime.block_on(async { tokio::time::timeout(PATIENCE, watch.changed()).await });
    noticed.map_err(|_| format!("{}: the change was not noticed", file.display()))?;
    Ok(fleet.reload())
}

fn check(what: &str, right: bool, answer: &Answer) -> Result<(), String> {
    if right {
        println!("ok    {what}");
        return Ok(());
    }
    let body = String::from_utf8_lossy(&answer.body);
    Err(format!("not so: {what}; the last answer was {} after {:?}: {body}", answer.status, answer.took))
}

fn contains(answer: &Answer, text: &str) -> bool {
    String::from_utf8_lossy(&answer.body).contains(text)
}

/// Whether a count of so many draws is as its share would have it.
fn is_near(count: u32, share: f64) -> bool {
    let draws = f64::from(SPLIT);
    (f64::from(count) - share * draws).abs() <= DEVIATIONS * (draws * share * (1.0 - share)).sqrt()
}

/// How many pages had reviews of the second version, and the last page.
async fn split() -> Result<(u32, Answer), String> {
    let mut second = 0;
    let mut last = visit("/", &[]).await?;
    for _ in 0..SPLIT {
        last = visit("/", &[]).await?;
        second += u32::from(contains(&last, "reviews-v2"));
    }
    Ok((second, last))
}

/// A page of mallory's that has stars, or should: the first version of the reviews knows none.
async fn mallory() -> Result<Answer, String> {
    let mut page = visit("/", &[("end-user", "mallory")]).await?;
    for _ in 0..SPLIT {
        if contains(&page, "reviews-v2") {
            break;
        }
        page = visit("/", &[("end-user", "mallory")]).await?;
    }
    Ok(page)
}

async fn patiently(so: impl Fn() -> bool) -> bool {
    let wait = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.is_ok()
}

async fn get(to: (Ipv4Addr, u16), authority: &str) -> Result<Answer, String> {
    let request = Request::builder().uri("/").header("host", authority).body(Full::<Bytes>::default());
    ask(to.into(), request.map_err(|error| error.to_string())?).await
}

/// Asks at the front door.
pub(super) async fn visit(path: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
    let request = Request::builder().uri(path).header("host", "bookshop.example");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(Full::<Bytes>::default()).map_err(|error| error.to_string())?;
    ask(FRONT_DOOR.into(), request).await
}
