use super::*;
use std::task::Waker;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn side(capacity: usize) -> (Side, DuplexStream) {
    let (near, far) = duplex(capacity);
    (Side::new(Box::new(near)), far)
}

fn context() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Whoever does not read makes the other end wait: no more is taken than one read.
#[tokio::test]
async fn a_slow_reader_makes_the_sender_wait() {
    let ((mut from, mut sender), (mut to, mut receiver)) = (side(1000), side(10));
    sender.write_all(&[7; 1000]).await.unwrap();
    let mut buffer = [0; 64];
    for _ in 0..3 {
        from.relay(&mut to, &mut buffer, &mut context());
        assert_eq!((from.received, to.sent), (64, 10));
    }
    receiver.read_exact(&mut [0; 10]).await.unwrap();
    from.relay(&mut to, &mut buffer, &mut context());
    assert_eq!((from.received, to.sent), (64, 20));
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        receiver.read_to_end(&mut all).await.unwrap();
        all.len()
    });
    drop(sender);
    std::future::poll_fn(|cx| {
        from.relay(&mut to, &mut buffer, cx);
        if to.writing == Writing::Ended { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    assert_eq!((from.received, to.sent, reader.await.unwrap()), (1000, 1000, 990));
}

/// The end passes on one way while the other stays open.
#[tokio::test]
async fn the_end_passes_on_behind_the_bytes() {
    let ((mut from, mut sender), (mut to, mut receiver)) = (side(100), side(100));
    sender.write_all(b"abc").await.unwrap();
    sender.shutdown().await.unwrap();
    let mut buffer = [0; 64];
    from.relay(&mut to, &mut buffer, &mut context());
    let mut text = String::new();
    receiver.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "abc");
    assert!(!from.is_complete() && !to.is_complete());
    assert_eq!((from.closed_by, to.closed_by), (ClosedBy::Remote, ClosedBy::Local));
    receiver.write_all(b"d").await.unwrap();
    drop(receiver);
    to.relay(&mut from, &mut buffer, &mut context());
    assert!(from.is_complete() && to.is_complete());
    assert_eq!((from.closed_by, to.closed_by), (ClosedBy::Local, ClosedBy::Remote));
    let mut text = String::new();
    sender.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "d");
}

/// What an endpoint said before it stopped listening is read first.
#[tokio::test]
async fn a_side_that_listens_no_more_is_heard_first() {
    let ((mut from, mut sender), (mut to, mut receiver)) = (side(100), side(100));
    receiver.write_all(b"no more").await.unwrap();
    drop(receiver);
    sender.write_all(b"abc").await.unwrap();
    let mut buffer = [0; 64];
    from.relay(&mut to, &mut buffer, &mut context());
    assert_eq!(to.writing, Writing::Broken);
    assert!(!to.is_broken() && !to.takes_more());
    to.relay(&mut from, &mut buffer, &mut context());
    assert!(to.is_broken());
    assert_eq!((to.received, from.sent, from.writing), (7, 7, Writing::Open), "a cut is no end");
    to.queue(Bytes::from_static(b"x"));
    to.end();
    assert_eq!((to.poll_drain(&mut context()), to.sent), (Poll::Ready(()), 0));
}

#[tokio::test]
async fn many_chunks_are_written_in_order() {
    let (mut to, mut receiver) = side(5);
    let chunks: Vec<_> = (0..40u8).map(|number| Bytes::from(vec![number; usize::from(number % 4)])).collect();
    chunks.iter().for_each(|chunk| to.queue(chunk.clone()));
    to.end();
    let reader = tokio::spawn(async move {
        let mut all = Vec::new();
        receiver.read_to_end(&mut all).await.unwrap();
        all
    });
    std::future::poll_fn(|cx| to.poll_drain(cx)).await;
    assert_eq!(reader.await.unwrap(), chunks.concat());
    assert_eq!(to.writing, Writing::Ended);
}
