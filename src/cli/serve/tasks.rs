//! The tasks that run while reviews are answered, and what ends them.

use std::future::Future;

use crate::webhook::shutdown::{Stop, Tasks};

/// What runs beside the answering of reviews.
#[derive(Default)]
pub(super) struct BackgroundTasks {
    pub(super) tasks: Tasks,
    pub(super) stop: Stop,
}

impl BackgroundTasks {
    /// Starts a task that would go on for ever, and ends it when the guard has answered its last
    /// review.
    pub(super) fn keep<T>(
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
