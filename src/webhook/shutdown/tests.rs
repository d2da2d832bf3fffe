use std::{process::Command, sync::Arc};

use tokio::sync::{Mutex, Notify};

use super::*;

/// A signal reaches every listener of the process, so only one test at a time may send one.
static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());

fn send(signal: &str) {
    let own = std::process::id().to_string();
    assert!(
        Command::new("kill")
            .args([signal, &own])
            .status()
            .unwrap()
            .success()
    );
}

/// A server that drains at once when asked to.
async fn obedient(stop: Stop) -> Drained {
    stop.drain.cancelled().await;
    Drained::Complete
}

#[tokio::test]
async fn a_signal_drains_the_server_before_the_rest_stops() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (stop, mut signals, mut tasks) = (
        Stop::default(),
        Signals::install().unwrap(),
        Tasks::default(),
    );
    let order = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (first, second, third) = (Arc::clone(&order), Arc::clone(&order), Arc::clone(&order));
    let (finish, drain) = (stop.finish.clone(), stop.drain.clone());
    tasks.spawn("background", async move {
        finish.cancelled().await;
        third.lock().push("background");
    });
    let unregistered = Arc::new(Notify::new());
    let waits = Arc::clone(&unregistered);
    let server = async move {
        drain.cancelled().await;
        waits.notified().await;
        second.lock().push("server");
        Drained::Complete
    };
    let before_close = async {
        first.lock().push("before close");
        unregistered.notify_one();
    };
    send("-TERM");
    run(server, tasks, &mut signals, &stop, before_close)
        .await
        .unwrap();
    assert_eq!(*order.lock(), ["before close", "server", "background"]);
    assert!(stop.is_draining());
}

#[tokio::test]
async fn a_second_signal_ends_the_wait() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (stop, mut signals) = (Stop::default(), Signals::install().unwrap());
    let never = async {
        std::future::pending::<()>().await;
        Drained::Complete
    };
    send("-INT");
    let again = async { send("-TERM") };
    let error = run(never, Tasks::default(), &mut signals, &stop, again)
        .await
        .unwrap_err();
    assert!(matches!(error, ShutdownError::Forced));
}

#[tokio::test]
async fn a_task_that_ends_unexpectedly_stops_the_process_and_is_named() {
    let _alone = ONE_AT_A_TIME.lock().await;
    for (task, how) in [(false, "ended"), (true, "panicked")] {
        let (stop, mut signals, mut tasks) = (
            Stop::default(),
            Signals::install().unwrap(),
            Tasks::default(),
        );
        tasks.spawn("release watch", async move { assert!(!task, "a bug") });
        let server = obedient(stop.clone());
        let error = run(server, tasks, &mut signals, &stop, async {})
            .await
            .unwrap_err();
        let expected = format!("failed to keep running: the task \"release watch\" {how}");
        assert_eq!(error.to_string(), expected);
        assert!(stop.finish.is_cancelled());
    }
}

#[tokio::test]
async fn a_server_that_ends_unexpectedly_stops_the_process() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (stop, mut signals) = (Stop::default(), Signals::install().unwrap());
    let server = async { Drained::Complete };
    let error = run(server, Tasks::default(), &mut signals, &stop, async {})
        .await
        .unwrap_err();
    assert!(matches!(error, ShutdownError::ServerEnded));
}
