//! The thread on which this edge talks with the shared store.
//!
//! All of that is one thread's affair: a question goes out and its answer comes in for one waking each, where threads that share the work would wake
//! each other to find it done. And whoever keeps the other threads busy, with a page of a million calls or a slow phone, does not keep a new call
//! waiting for its node.

use std::io;
use std::thread::{self, JoinHandle};

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task;

/// The thread. It ends when this is dropped, and what was spawned on it with it.
pub struct StoreThread {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl StoreThread {
    /// Starts it.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (stop, stopped)) = (runtime.handle().clone(), oneshot::channel());
        let thread = thread::Builder::new().name("shared-store".to_owned()).spawn(move || {
            // Told to stop or left alone, it ends.
            let _ = runtime.block_on(stopped);
        })?;
        Ok(StoreThread { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Runs a task on it.
    pub fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) -> task::JoinHandle<T> {
        self.handle.spawn(task)
    }
}

impl Drop for StoreThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        // The last to let go may be a task that runs on it.
        let other = |thread: &JoinHandle<()>| thread.thread().id() != thread::current().id();
        if let Some(thread) = self.thread.take().filter(other) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn it_runs_what_it_is_given_and_ends_with_its_owner() {
        let thread = StoreThread::start().unwrap();
        let named = thread.spawn(async { thread::current().name().map(str::to_owned) });
        let waiting = thread.spawn(std::future::pending::<()>());
        let runtime = Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(named).unwrap().as_deref(), Some("shared-store"));
        drop(thread);
        assert!(runtime.block_on(waiting).unwrap_err().is_cancelled());
    }

    #[test]
    fn a_task_may_be_the_last_to_let_go_of_it() {
        let thread = Arc::new(StoreThread::start().unwrap());
        let (own, (go, went)) = (Arc::clone(&thread), oneshot::channel());
        let task = thread.spawn(async move {
            went.await.unwrap();
            drop(own);
        });
        drop(thread);
        go.send(()).unwrap();
        Builder::new_current_thread().build().unwrap().block_on(task).unwrap();
    }
}
