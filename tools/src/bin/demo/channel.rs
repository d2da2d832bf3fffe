//! The incident channel: a local HTTP server to which the guard sends its alerts.

use std::{
    error::Error,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use serde_json::Value;

/// Timeout of an alert.
const PATIENCE: Duration = Duration::from_secs(30);

/// The maximum size of an alert.
const LONGEST: u64 = 1 << 20;

/// The received alerts.
pub struct Channel {
    pub url: String,
    alerts: Receiver<Value>,
}

impl Channel {
    pub fn open() -> Result<Self, Box<dyn Error>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let url = format!("http://{}/", listener.local_addr()?);
        let (sender, alerts) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                thread::spawn(move || take(stream, &sender));
            }
        });
        Ok(Self { url, alerts })
    }

    /// The next alert, which must contain these words.
    pub fn hear(&self, words: &[&str]) -> Result<Value, Box<dyn Error>> {
        let alert = self.alerts.recv_timeout(PATIENCE);
        let alert = alert.map_err(|_| "the channel should have heard of it by now")?;
        let text = alert.to_string();
        match words.iter().find(|word| !text.contains(**word)) {
            Some(word) => Err(format!("the alert should say {word:?}: {text}").into()),
            None => Ok(alert),
        }
    }
}

/// One connection, which may carry several alerts. Anything else ends it.
fn take(stream: TcpStream, sender: &Sender<Value>) -> Option<()> {
    let mut answers = stream.try_clone().ok()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse::<u64>().ok()?.min(LONGEST);
            }
        }
        let mut body = Vec::new();
        reader.by_ref().take(length).read_to_end(&mut body).ok()?;
        if let Ok(alert) = serde_json::from_slice(&body) {
            sender.send(alert).ok()?;
        }
        answers
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .ok()?;
    }
}
