//! Tasks whose panics end nobody else.

use crate::worker::Worker;
use pin_project_lite::pin_project;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// Runs a task of a connection or a stream. A panic in it is a fault of this program: it is said and counted, what the
/// task holds is dropped, and so its connection is closed, or its stream reset; nothing else on the worker is touched.
pub(crate) fn spawn(worker: &Rc<Worker>, task: impl Future<Output = ()> + 'static) {
    tokio::task::spawn_local(Guarded { task, worker: worker.clone() });
}

pin_project! {
    // An async block would have the task twice: as what it has taken, and as what it waits for.
    struct Guarded<T> {
        #[pin]
        task: T,
        worker: Rc<Worker>,
    }
}

impl<T: Future<Output = ()>> Future for Guarded<T> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        // Its state is never looked at again after a panic.
        catch_unwind(AssertUnwindSafe(|| this.task.poll(cx))).unwrap_or_else(|_| {
            tracing::error!("a task has panicked: its connection or stream is cut off");
            this.worker.panics.add(1);
            Poll::Ready(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use tokio::task::LocalSet;

    struct Held(Rc<Cell<bool>>);

    impl Drop for Held {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[tokio::test]
    async fn a_panic_ends_its_task_alone() {
        let (worker, dropped, done) = (Worker::new(1), Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
        let local = LocalSet::new();
        let (held, also) = (Held(dropped.clone()), done.clone());
        local.spawn_local(async move { also.set(true) });
        let of_task = worker.clone();
        let run = local.run_until(async {
            spawn(&of_task, async move {
                let _held = held;
                let _connected: Vec<u8> = Vec::new();
                tokio::task::yield_now().await;
                panic!("meant");
            });
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        });
        run.await;
        assert_eq!((dropped.get(), done.get(), worker.panics.value()), (true, true, 1));
    }
}
