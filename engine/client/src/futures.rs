//! A cluster's client for asynchronous callers of any runtime: futures that one thread of its own completes.

use crate::cluster::{ClusterEvent, Outcome};
use crate::cluster_blocking::{ClusterClient, Heard};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;
use touchline_protocol::*;

/// A handle to a client of a cluster; dropping it ends its thread and all that is unanswered.
pub struct AsyncClient {
    shared: Arc<Mutex<Shared>>,
    wake: SyncSender<Heard>,
    thread: Option<JoinHandle<()>>,
}

/// The answer to come; it is [`Stopped`] where the client was dropped before.
pub struct Answer(Arc<Mutex<Slot>>);

/// The client was dropped before the answer came: a ticket may or may not be decided. Ask again under its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client was dropped before the answer came: ask again under the same ticket id")]
pub struct Stopped;

#[derive(Default)]
struct Shared {
    asked: Vec<(Body, Arc<Mutex<Slot>>)>,
    stop: bool,
}

#[derive(Default)]
struct Slot {
    outcome: Option<Result<Outcome, Stopped>>,
    waker: Option<Waker>,
}

impl AsyncClient {
    /// Starts the thread. `on_event` runs on it and hears everything that is not the answer to a request.
    pub fn start(mut client: ClusterClient, mut on_event: impl FnMut(ClusterEvent) + Send + 'static) -> Self {
        let shared = Arc::new(Mutex::new(Shared::default()));
        let (wake, seen) = (client.wake(), shared.clone());
        let thread = std::thread::spawn(move || {
            let mut slots = BTreeMap::new();
            loop {
                let (asked, stop) = {
                    let mut shared = lock(&seen);
                    (std::mem::take(&mut shared.asked), shared.stop)
                };
                for (body, slot) in asked {
                    slots.insert(client.cluster().send(body), slot);
                }
                if stop {
                    break;
                }
                for event in client.poll(Duration::from_millis(50)) {
                    match event {
                        ClusterEvent::Answered(request, outcome) => {
                            if let Some(slot) = slots.remove(&request) {
                                complete(&slot, Ok(outcome));
                            }
                        }
                        other => on_event(other),
                    }
                }
            }
            slots.values().for_each(|slot| complete(slot, Err(Stopped)));
        });
        AsyncClient { shared, wake, thread: Some(thread) }
    }

    /// Sends a ticket or a command; dropping the answer takes nothing back.
    pub fn send(&self, body: impl Into<Body>) -> Answer {
        let slot = Arc::new(Mutex::new(Slot::default()));
        lock(&self.shared).asked.push((body.into(), slot.clone()));
        // Where there is no room the thread is awake anyway.
        let _ = self.wake.try_send(Heard::Woken);
        Answer(slot)
    }
}

impl Drop for AsyncClient {
    fn drop(&mut self) {
        lock(&self.shared).stop = true;
        let _ = self.wake.try_send(Heard::Woken);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Future for Answer {
    type Output = Result<Outcome, Stopped>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = lock(&self.0);
        match slot.outcome.take() {
            Some(outcome) => Poll::Ready(outcome),
            None => {
                slot.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn complete(slot: &Mutex<Slot>, outcome: Result<Outcome, Stopped>) {
    let waker = {
        let mut slot = lock(slot);
        slot.outcome = Some(outcome);
        slot.waker.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// What is locked here is whole at every moment, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
