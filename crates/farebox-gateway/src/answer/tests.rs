use std::time::Duration;

use http::Request;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::pace::MAX_WAIT_OF_HALF;
use super::*;

pub(super) const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

/// The body of an answer that begins with `head`, and the upstream's end of its connection.
pub(super) async fn answered(head: &str) -> (UpstreamBody, DuplexStream) {
    let (ours, mut upstream) = duplex(1024 * 1024);
    let (mut sender, connection) = http1::handshake(TokioIo::new(ours)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/").body(Empty::<Bytes>::new()).unwrap();
    let (answer, ()) = tokio::join!(sender.send_request(request), async {
        let _ = upstream.read(&mut [0; 1024]).await.unwrap();
        upstream.write_all(head.as_bytes()).await.unwrap();
    });
    let body = UpstreamBody {
        incoming: DecodedBody::new(answer.unwrap().into_body(), None),
        trailers: None,
        hidden: None,
        credential: Arc::default(),
        upload: None,
        silence: Silence::new(Duration::from_secs(24 * 3600)),
        settlement: Settlement::nothing(),
        overtime: None,
        drain: None,
        recorder: None,
        grpc: None,
        ending: None,
        pace: Pace::default(),
        lease: Lease::default(),
        _permit: None,
    };
    (body, upstream)
}

/// Who is to blame when an upstream breaks off in its third chunk, after the client let it wait
/// for `pause` behind the first.
async fn ending_after(pause: Duration) -> Ending {
    let (mut body, mut upstream) = answered(CHUNKED).await;
    upstream.write_all(b"5\r\nfirst\r\n").await.unwrap();
    let next = async |body: &mut UpstreamBody| {
        std::future::poll_fn(|cx| body.poll_frame(cx))
            .await
            .unwrap()
    };
    next(&mut body).await.unwrap();
    tokio::time::advance(pause).await;
    upstream.write_all(b"6\r\nsecond\r\n").await.unwrap();
    next(&mut body).await.unwrap();
    drop(upstream);
    next(&mut body).await.unwrap_err();
    body.ending.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_the_upstreams_fault_unless_the_client_kept_it_waiting() {
    assert_eq!(ending_after(Duration::ZERO).await, Ending::CutByUpstream);
    assert_eq!(ending_after(MAX_WAIT_OF_HALF).await, Ending::CutByUpstream);
    let longer = MAX_WAIT_OF_HALF + Duration::from_millis(1);
    assert_eq!(ending_after(longer).await, Ending::CutByClient);
}

#[tokio::test(start_paused = true)]
async fn a_pause_of_the_upstreams_own_is_not_the_clients() {
    let (mut body, mut upstream) = answered(CHUNKED).await;
    upstream.write_all(b"5\r\nfirst\r\n").await.unwrap();
    let mut next = std::pin::pin!(async {
        while let Some(Ok(_)) = std::future::poll_fn(|cx| body.poll_frame(cx)).await {}
        body.ending
    });
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, &mut next).await.is_err());
    drop(upstream);
    assert_eq!(next.await, Some(Ending::CutByUpstream));
}
