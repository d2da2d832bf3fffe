//! One plain HTTP request, for the admin endpoints of the guard and for etcd.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    time::Duration,
};

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, as UTF-8.
    pub body: String,
}

/// Gets an `http://HOST:PORT/PATH` address. HTTP/1.0, so that the answer is not chunked and ends
/// with the connection.
///
/// # Errors
/// When the address is invalid, there is no answer within 10 s, or the answer is not HTTP.
pub fn http_get(url: &str) -> io::Result<Response> {
    ask("GET", url, "")
}

/// The same with this JSON for the address.
pub(crate) fn http_post(url: &str, body: &str) -> io::Result<Response> {
    ask("POST", url, body)
}

fn ask(method: &str, url: &str, body: &str) -> io::Result<Response> {
    let invalid = |text: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{text} in the answer of {url}"),
        )
    };
    let rest = url
        .strip_prefix("http://")
        .ok_or_else(|| io::Error::other(format!("{url} is not a plain http address")))?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    let content = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    let head = format!("{method} /{path} HTTP/1.0\r\nHost: {host}\r\n{content}\r\n");
    stream.write_all(format!("{head}{body}").as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| invalid("no end of the headers"))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| invalid("no status"))?;
    Ok(Response {
        status,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn the_status_and_the_body_of_an_answer_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/readyz?verbose", listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap();
            stream
                .write_all(
                    b"HTTP/1.0 503 Service Unavailable\r\nX: y\r\n\r\nindex\r\n\r\nnot ready",
                )
                .unwrap();
            String::from_utf8_lossy(&request[..length]).into_owned()
        });
        let response = http_get(&url).unwrap();
        assert_eq!(
            (response.status, response.body.as_str()),
            (503, "index\r\n\r\nnot ready")
        );
        assert!(
            server
                .join()
                .unwrap()
                .starts_with("GET /readyz?verbose HTTP/1.0\r\n")
        );
    }

    #[test]
    fn an_address_of_another_scheme_is_rejected() {
        assert!(http_get("https://127.0.0.1:1/").is_err());
    }
}
