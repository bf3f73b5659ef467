//! An HTTP/2 connection with prior knowledge, driven only while a test waits for something.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;

use super::{Call, Reply};

/// A peer that says nothing for so long has failed the test.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

pub(crate) struct Http2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
}

/// A request on its way; dropping it resets its stream.
type Sent = std::pin::Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>>>>;

/// The requests of one connection that are on their way at the same time.
pub(crate) struct InFlight<'a> {
    connection: &'a mut Http2,
    sent: Vec<Sent>,
}

impl Http2 {
    pub(crate) fn open(to: SocketAddr) -> hyper::Result<Self> {
        Self::with_window(to, None)
    }

    /// A connection that takes no byte of an answer's body.
    pub(crate) fn without_window(to: SocketAddr) -> hyper::Result<Self> {
        Self::with_window(to, 0)
    }

    /// A connection that takes so many bytes of an answer's body before they are read.
    pub(crate) fn with_window(
        to: SocketAddr,
        window: impl Into<Option<u32>>,
    ) -> hyper::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (sender, connection) = runtime.block_on(async {
            let stream = TcpStream::connect(to).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut builder = Builder::new(TokioExecutor::new());
            builder.initial_stream_window_size(window.into());
            builder.handshake(TokioIo::new(stream)).await
        })?;
        runtime.spawn(connection);
        Ok(Self { runtime, sender })
    }

    /// Sends one request and reads the whole answer.
    pub(crate) fn send(&mut self, call: &Call) -> hyper::Result<Reply> {
        let mut replies = self.start(std::slice::from_ref(call)).finish();
        replies.pop().expect("one for each call")
    }

    /// Sends requests at once.
    pub(crate) fn start(&mut self, calls: &[Call]) -> InFlight<'_> {
        let sent = calls.iter().map(|call| {
            let request = request(call);
            Box::pin(self.sender.send_request(request)) as Sent
        });
        let sent = sent.collect();
        InFlight {
            connection: self,
            sent,
        }
    }

    /// The next bytes of an answer's body; none behind the last of them, or where it breaks off.
    pub(crate) fn read(&mut self, body: &mut Incoming) -> Option<Bytes> {
        self.runtime.block_on(async {
            let frame = tokio::time::timeout(WAIT_AT_MOST, body.frame()).await;
            let frame = frame.expect("bytes within half a minute")?;
            frame.ok()?.into_data().ok()
        })
    }

    /// Moves bytes until `done` says so, without waiting for an answer.
    pub(crate) fn drive_until(&mut self, done: impl Fn() -> bool) {
        self.runtime.block_on(async {
            let waited = tokio::time::timeout(WAIT_AT_MOST, async {
                while !done() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
            waited.await.expect("it happens within half a minute");
        });
    }
}

impl InFlight<'_> {
    /// Moves bytes until `done` says so, without waiting for the answers.
    pub(crate) fn drive_until(&mut self, done: impl Fn() -> bool) {
        self.connection.drive_until(done);
    }

    /// Waits for the heads of all answers, in the order of the requests; their bodies wait until
    /// what comes with the heads is dropped.
    pub(crate) fn heads(self) -> (Vec<u16>, Vec<Incoming>) {
        let Self { connection, sent } = self;
        connection.runtime.block_on(async {
            let mut heads = Vec::new();
            for answer in sent {
                let answer = tokio::time::timeout(WAIT_AT_MOST, answer).await;
                let answer = answer.expect("a head within half a minute").unwrap();
                heads.push((answer.status().as_u16(), answer.into_body()));
            }
            heads.into_iter().unzip()
        })
    }

    /// Waits for all answers, in the order of the requests.
    pub(crate) fn finish(self) -> Vec<hyper::Result<Reply>> {
        let Self { connection, sent } = self;
        connection.runtime.block_on(async {
            let mut replies = Vec::new();
            for answer in sent {
                let reply = tokio::time::timeout(WAIT_AT_MOST, read(answer));
                replies.push(reply.await.expect("an answer within half a minute"));
            }
            replies
        })
    }
}

fn request(call: &Call) -> Request<Full<Bytes>> {
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(format!("http://gateway.test{}", call.target));
    for (name, value) in &call.headers {
        request = request.header(name.to_ascii_lowercase(), value);
    }
    let body = Full::new(Bytes::from(call.body.clone()));
    request.body(body).unwrap()
}

async fn read(answer: Sent) -> hyper::Result<Reply> {
    let (parts, body) = answer.await?.into_parts();
    let body = body.collect().await?;
    let trailers = body.trailers().map(fields).unwrap_or_default();
    Ok(Reply {
        status: parts.status.as_u16(),
        headers: fields(&parts.headers),
        body: body.to_bytes().to_vec(),
        trailers,
    })
}

fn fields(headers: &http::HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect()
}
