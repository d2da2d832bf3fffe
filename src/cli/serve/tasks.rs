//! Background tasks, and how they end.

use std::future::Future;

use crate::webhook::shutdown::{Stop, Tasks};

/// Tasks that run in the background of reviews.
#[derive(Default)]
pub(super) struct BackgroundTasks {
    pub(super) tasks: Tasks,
    pub(super) stop: Stop,
}

impl BackgroundTasks {
    /// Starts a task that runs until the guard has answered its last review.
    pub(super) fn spawn_until_drained<T>(
        &mut self,
        name: &'static str,
        task: impl Future<Output = T> + Send + 'static,
    ) {
        let finish = self.stop.finish.clone();
        self.tasks.spawn(name, async move {
            tokio::select! {
                _ = task => {}
                () = finish.cancelled() => {}
            }
        });
    }
}
