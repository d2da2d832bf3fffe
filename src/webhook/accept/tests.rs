//! Tests over real sockets: time limits are short if they should expire, and long otherwise.

use std::time::Duration;

use axum::body::Body;
use http::Request;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rstest::rstest;
use tokio::io::AsyncWriteExt;

use super::*;
use crate::webhook::testing::{
    TestServer, answer, ask, connect_tls, end_of, exchange, issued, start, tls_protocol,
};

/// Long enough for a first request on a busy machine, where one has to come in time.
const SOON: Duration = Duration::from_secs(1);
const NEVER: Duration = Duration::from_secs(600);

/// Nothing times out and the drain is short.
fn patient() -> ConnectionLimits {
    ConnectionLimits {
        handshake_timeout: NEVER,
        header_timeout: NEVER,
        request_timeout: NEVER,
        idle_timeout: NEVER,
        drain_delay: Duration::ZERO,
        drain_timeout: NEVER,
        ..ConnectionLimits::default()
    }
}

async fn plain(limits: ConnectionLimits) -> TestServer {
    start(Protocol::Plain, limits).await
}

#[tokio::test]
async fn one_connection_carries_many_requests_over_tls() {
    let (pair, serving) = issued();
    let server = start(tls_protocol(&serving), patient()).await;
    let mut stream = connect_tls(server.address, &pair, "http/1.1")
        .await
        .unwrap();
    for _ in 0..3 {
        let response = exchange(&mut stream, "/ok").await;
        assert!(response.starts_with("http/1.1 200") && response.ends_with("\r\n\r\nok"));
    }
    assert_eq!((server.stats.accepted(), server.stats.open()), (1, 1));
}

#[tokio::test]
async fn http2_is_used_if_the_client_offers_it() {
    let (pair, serving) = issued();
    let server = start(tls_protocol(&serving), patient()).await;
    let stream = connect_tls(server.address, &pair, "h2").await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://guard/ok")
        .body(Body::empty())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(
        (response.version(), response.status().as_u16()),
        (http::Version::HTTP_2, 200)
    );
}

#[rstest]
#[case::on_a_new_connection("")]
#[case::on_a_used_connection("/ok")]
#[tokio::test]
async fn endless_headers_only_end_their_own_connection(#[case] before: &str) {
    let server = plain(ConnectionLimits {
        header_timeout: SOON,
        ..patient()
    })
    .await;
    let mut stream = server.connect().await;
    if !before.is_empty() {
        exchange(&mut stream, before).await;
    }
    stream
        .write_all(b"GET /ok HTTP/1.1\r\nhost: gu")
        .await
        .unwrap();
    end_of(&mut stream).await;
    assert_eq!(server.stats.timeouts(), 1);
    assert!(
        exchange(&mut server.connect().await, "/ok")
            .await
            .ends_with("ok")
    );
}

#[tokio::test]
async fn a_connection_without_a_request_is_closed() {
    let server = plain(ConnectionLimits {
        header_timeout: SOON,
        ..patient()
    })
    .await;
    end_of(&mut server.connect().await).await;
    assert_eq!(server.stats.timeouts(), 1);
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout() {
    let server = plain(ConnectionLimits {
        header_timeout: SOON,
        ..patient()
    })
    .await;
    let mut idle = server.connect().await;
    exchange(&mut idle, "/ok").await;
    // Two consecutive connections that run into that limit serve as the clock.
    end_of(&mut server.connect().await).await;
    end_of(&mut server.connect().await).await;
    assert!(exchange(&mut idle, "/ok").await.ends_with("ok"));
}

#[tokio::test]
async fn an_idle_connection_is_closed_at_its_timeout() {
    let server = plain(ConnectionLimits {
        idle_timeout: SOON,
        ..patient()
    })
    .await;
    let mut stream = server.connect().await;
    assert!(exchange(&mut stream, "/ok").await.ends_with("ok"));
    end_of(&mut stream).await;
    assert_eq!(server.stats.timeouts(), 1);
}

#[tokio::test]
async fn an_endless_body_is_answered_and_its_connection_closed() {
    let server = plain(ConnectionLimits {
        request_timeout: SOON,
        ..patient()
    })
    .await;
    let mut stream = server.connect().await;
    let half = b"POST /length HTTP/1.1\r\nhost: guard\r\ncontent-length: 10\r\n\r\nhalf";
    stream.write_all(half).await.unwrap();
    let response = answer(&mut stream).await;
    assert!(response.starts_with("http/1.1 408") && response.contains("connection: close"));
    end_of(&mut stream).await;
}

#[tokio::test]
async fn oversized_headers_are_rejected() {
    let server = plain(patient()).await;
    let mut stream = server.connect().await;
    let request = format!(
        "GET /ok HTTP/1.1\r\nhost: {}\r\n\r\n",
        "a".repeat(100 * 1024)
    );
    // The server may close before it has read all of it. What it sent before can still be read.
    let _ = stream.write_all(request.as_bytes()).await;
    let response = answer(&mut stream).await;
    assert!(response.starts_with("http/1.1 431"), "{response:?}");
    end_of(&mut stream).await;
    let mut next = server.connect().await;
    assert!(exchange(&mut next, "/ok").await.ends_with("ok"));
}

#[rstest]
#[case::silence(b"", SOON)]
#[case::plain_http(b"GET /ok HTTP/1.1\r\nhost: guard\r\n\r\n", NEVER)]
#[case::noise(&[0x16, 0x03, 0x01, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00], SOON)]
#[tokio::test]
async fn invalid_tls_only_ends_its_own_connection(
    #[case] bytes: &[u8],
    #[case] handshake_timeout: Duration,
) {
    let (pair, serving) = issued();
    let limits = ConnectionLimits {
        handshake_timeout,
        ..patient()
    };
    let server = start(tls_protocol(&serving), limits).await;
    let mut stream = server.connect().await;
    stream.write_all(bytes).await.unwrap();
    end_of(&mut stream).await;
    assert_eq!(server.stats.handshake_failures(), 1);
    let mut good = connect_tls(server.address, &pair, "http/1.1")
        .await
        .unwrap();
    assert!(exchange(&mut good, "/ok").await.ends_with("ok"));
    assert_eq!(server.stats.handshake_failures(), 1);
}

#[tokio::test]
async fn a_connection_beyond_the_limit_evicts_an_idle_one() {
    let server = plain(ConnectionLimits {
        connections: 2,
        ..patient()
    })
    .await;
    let mut silent = server.connect().await;
    let mut client = server.connect().await;
    exchange(&mut client, "/ok").await;
    let mut newcomer = server.connect().await;
    assert!(exchange(&mut newcomer, "/ok").await.ends_with("ok"));
    end_of(&mut silent).await;
    assert!(exchange(&mut client, "/ok").await.ends_with("ok"));
    assert_eq!(server.stats.evicted(), 1);
}

/// A client that opens connections without requests, or requests unknown paths.
#[tokio::test]
async fn thousands_of_connections_do_not_block_a_request() {
    let limits = ConnectionLimits {
        connections: 64,
        untrusted_per_peer: 32,
        ..patient()
    };
    let server = plain(limits).await;
    let mut client = server.connect().await;
    exchange(&mut client, "/ok").await;
    let mut flood = Vec::new();
    for n in 0..2000 {
        let mut stream = server.connect().await;
        if n % 2 == 0 {
            ask(&mut stream, "/no-such-path").await;
        }
        flood.push(stream);
        if n % 100 == 0 {
            assert!(exchange(&mut client, "/ok").await.ends_with("ok"));
            let mut newcomer = server.connect().await;
            assert!(exchange(&mut newcomer, "/ok").await.ends_with("ok"));
        }
    }
    assert!(server.stats.open() <= 64, "{:?}", server.stats);
}

#[tokio::test]
async fn a_panic_only_ends_its_own_connection() {
    let server = plain(patient()).await;
    let mut stream = server.connect().await;
    assert_eq!(exchange(&mut stream, "/panic").await, "");
    assert!(
        exchange(&mut server.connect().await, "/ok")
            .await
            .ends_with("ok")
    );
    assert_eq!(server.stats.open(), 1);
}

#[tokio::test]
async fn the_drain_answers_requests_in_flight_and_new_ones() {
    let delay = Duration::from_secs(1);
    let server = plain(ConnectionLimits {
        drain_delay: delay,
        ..patient()
    })
    .await;
    let mut in_flight = server.connect().await;
    ask(&mut in_flight, "/slow").await;
    server.slow_begun().await;
    let mut idle = server.connect().await;
    let kept = exchange(&mut idle, "/ok").await;
    assert!(!kept.contains("connection: close"), "{kept}");

    server.drain.cancel();
    for stream in [&mut idle, &mut server.connect().await] {
        let response = exchange(stream, "/ok").await;
        assert!(response.contains("connection: close"), "{response}");
        end_of(stream).await;
    }
    server.gate.add_permits(1);
    let response = answer(&mut in_flight).await;
    assert!(
        response.contains("connection: close") && response.ends_with("slow"),
        "{response}"
    );
    assert_eq!(server.ended.await.unwrap(), Drained::Complete);
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// A client that keeps its connection as long as possible, as the API server does.
async fn keep_asking(server: &TestServer, requests: usize) {
    let mut stream = server.connect().await;
    for _ in 0..requests {
        let response = exchange(&mut stream, "/ok").await;
        assert!(response.starts_with("http/1.1 200"), "lost: {response:?}");
        if response.contains("connection: close") {
            stream = server.connect().await;
        }
    }
}

#[tokio::test]
async fn no_request_is_lost_at_the_start_of_the_drain() {
    let server = plain(ConnectionLimits {
        drain_delay: NEVER,
        ..patient()
    })
    .await;
    let clients = (0..8).map(|_| keep_asking(&server, 60));
    let draining = async {
        keep_asking(&server, 20).await;
        server.drain.cancel();
    };
    tokio::join!(futures_util::future::join_all(clients), draining);
    // Each of the eight started with one connection and needed another one for each answer since.
    assert!(server.stats.accepted() > 9 + 8, "{:?}", server.stats);
}

#[tokio::test]
async fn the_drain_closes_idle_connections_at_its_end() {
    let server = plain(patient()).await;
    let mut idle = server.connect().await;
    exchange(&mut idle, "/ok").await;
    server.drain.cancel();
    end_of(&mut idle).await;
    assert_eq!(server.ended.await.unwrap(), Drained::Complete);
}

#[tokio::test]
async fn the_drain_times_out() {
    let server = plain(ConnectionLimits {
        drain_timeout: SOON,
        ..patient()
    })
    .await;
    let mut stream = server.connect().await;
    ask(&mut stream, "/slow").await;
    server.slow_begun().await;
    server.drain.cancel();
    end_of(&mut stream).await;
    assert_eq!(server.ended.await.unwrap(), Drained::Cut(1));
}

#[tokio::test]
async fn http2_connections_get_goaway_and_lose_no_request() {
    let (pair, serving) = issued();
    let limits = ConnectionLimits {
        drain_delay: NEVER,
        ..patient()
    };
    let server = start(tls_protocol(&serving), limits).await;
    let stream = connect_tls(server.address, &pair, "h2").await.unwrap();
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let request = Request::get("https://guard/slow")
        .body(Body::empty())
        .unwrap();
    let response = tokio::spawn(async move { sender.send_request(request).await });
    server.slow_begun().await;
    server.drain.cancel();
    server.gate.add_permits(1);
    assert_eq!(response.await.unwrap().unwrap().status().as_u16(), 200);
    connection.await.unwrap().unwrap();
}

#[rstest]
#[case::out_of_files(io::Error::from_raw_os_error(24), 1, Duration::from_millis(10))]
#[case::for_long(io::Error::from_raw_os_error(24), 1000, Duration::from_secs(1))]
#[case::gone_before(io::ErrorKind::ConnectionAborted.into(), 1, Duration::ZERO)]
fn accept_backs_off_only_if_it_would_fail_again(
    #[case] error: io::Error,
    #[case] failures: usize,
    #[case] expected: Duration,
) {
    let mut backoff = ACCEPT_BACKOFF.build();
    let delays = (0..failures).map(|_| accept_delay(&error, &mut backoff));
    assert_eq!(delays.last(), Some(expected));
}
