//! Commands that run until they are stopped: `helm-guard serve`.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use testbed::{
    http_get,
    process::{Process, ProcessConfig},
};

use super::{TYPED, Terminal};

const PATIENCE: Duration = Duration::from_secs(60);

/// A command in the background.
pub struct Server {
    process: Process,
}

impl Terminal {
    /// Starts a server as the user of the terminal, and waits until `/readyz` at its admin address is OK.
    pub fn serve(&mut self, command: &str) {
        let name = format!("server-{}", self.next());
        let setting = format!("cd '{}'\n{TYPED}", self.dir().display());
        // Otherwise bash would outlive a signal to itself, and the server too.
        let command = format!("exec {command}");
        let mut process = Process::start(ProcessConfig {
            name: &name,
            program: "bash".as_ref(),
            args: vec![
                "-c".into(),
                setting.into(),
                "bash".into(),
                command.clone().into(),
                self.variables().into(),
                PathBuf::new().into(),
            ],
            env: self
                .environment()
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            dir: self.plane.scratch(),
        })
        .unwrap();
        let url = format!("http://{}/readyz", self.addresses[1]);
        let deadline = Instant::now() + PATIENCE;
        while !http_get(&url).is_ok_and(|answer| answer.status == 200) {
            assert!(process.ended().is_none(), "{command}\n{}", process.tail());
            assert!(
                Instant::now() < deadline,
                "{command}\nis not ready: {:?}\n{}",
                http_get(&url),
                process.tail()
            );
            thread::sleep(Duration::from_millis(50));
        }
        self.servers.push(Server { process });
    }

    /// Ends the servers as Ctrl-C does. Each must exit with 0.
    pub fn interrupt(&mut self) {
        for mut server in self.servers.drain(..) {
            server.process.signal("INT");
            let status = server.process.wait(PATIENCE);
            let is_fine = status.is_some_and(|status| status.success());
            assert!(is_fine, "{status:?}\n{}", server.process.tail());
        }
    }
}
