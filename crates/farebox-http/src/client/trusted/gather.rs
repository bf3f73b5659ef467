//! Streams that are read in gulps. LND tells of every new invoice on the stream that tells of
//! settlements, and waking up for each would cost a sixth of the challenge that the invoice was made
//! for; without that the goal of `docs/benchmarks.md` is missed. So a connection on which data comes
//! time and again is left alone for a moment, not even watched, and then read for all that has come
//! meanwhile. What comes after a silence is read at once.

use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tower_service::Service;

/// How long what comes may lie unread.
const REST: Duration = Duration::from_millis(20);

/// What comes so soon after what came before belongs to a crowd.
const SOON: Duration = Duration::from_millis(40);

/// So many in a row are a crowd; a handshake is none.
const CROWD: u8 = 8;

/// Connects to streams.
#[derive(Clone)]
pub(crate) struct GatheringConnector(pub(super) HttpConnector);

/// A connection that rests between reads.
pub(crate) struct Gathering {
    state: State,
    /// When something came the last time.
    came_at: Instant,
    /// Whether something came since it was drained the last time.
    read: bool,
    /// How often something came soon after what came before.
    streak: u8,
}

enum State {
    Watched(TcpStream),
    /// Nobody is woken by what comes.
    Resting(std::net::TcpStream, Pin<Box<Sleep>>),
    /// Taking up the connection again failed, which was told.
    Broken,
}

impl Gathering {
    fn new(stream: TcpStream) -> Self {
        Self {
            state: State::Watched(stream),
            came_at: Instant::now(),
            read: false,
            streak: 0,
        }
    }

    /// The connection, as soon as it does not rest.
    fn poll_watched(&mut self, context: &mut Context<'_>) -> Poll<io::Result<&mut TcpStream>> {
        if let State::Resting(_, rest) = &mut self.state {
            ready!(rest.as_mut().poll(context));
        }
        Poll::Ready(self.watched())
    }

    /// The connection, whose rest is over.
    fn watched(&mut self) -> io::Result<&mut TcpStream> {
        if matches!(self.state, State::Resting(..)) {
            let state = std::mem::replace(&mut self.state, State::Broken);
            if let State::Resting(stream, _) = state {
                self.state = State::Watched(TcpStream::from_std(stream)?);
            }
        }
        match &mut self.state {
            State::Watched(stream) => Ok(stream),
            State::Resting(..) | State::Broken => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// All that had come is read. Whether a rest begins.
    fn drained(&mut self) -> io::Result<bool> {
        if !std::mem::take(&mut self.read) {
            return Ok(false);
        }
        let now = Instant::now();
        let before = std::mem::replace(&mut self.came_at, now);
        let soon = now.duration_since(before) < SOON;
        self.streak = if soon {
            self.streak.saturating_add(1)
        } else {
            0
        };
        if self.streak < CROWD {
            return Ok(false);
        }
        let state = std::mem::replace(&mut self.state, State::Broken);
        if let State::Watched(stream) = state {
            let rest = Box::pin(tokio::time::sleep(REST));
            self.state = State::Resting(stream.into_std()?, rest);
        }
        Ok(true)
    }
}

impl AsyncRead for Gathering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = ready!(self.poll_watched(context))?;
        if let Poll::Ready(read) = Pin::new(stream).poll_read(context, buffer) {
            self.read = true;
            return Poll::Ready(read);
        }
        if self.drained()? {
            // The timer has to know whom to wake.
            ready!(self.poll_watched(context))?;
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Whoever writes wants an answer: that ends a rest.
impl AsyncWrite for Gathering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.watched()?).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.watched()?).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Watched(stream) => Pin::new(stream).poll_flush(context),
            State::Resting(..) | State::Broken => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.watched()?).poll_shutdown(context)
    }
}

impl Connection for Gathering {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Service<Uri> for GatheringConnector {
    type Response = TokioIo<Gathering>;
    type Error = <HttpConnector as Service<Uri>>::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, url: Uri) -> Self::Future {
        let connecting = self.0.call(url);
        Box::pin(async {
            let stream = connecting.await?.into_inner();
            Ok(TokioIo::new(Gathering::new(stream)))
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Gathering, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let far = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(listener.accept(), far);
        (Gathering::new(near.unwrap().0), far.unwrap())
    }

    async fn until_it_rests(near: &mut Gathering, far: &mut TcpStream) {
        let crowd = async {
            while !matches!(near.state, State::Resting(..)) {
                far.write_all(b"x").await.unwrap();
                assert_eq!(near.read_u8().await.unwrap(), b'x');
                let more = tokio::time::timeout(Duration::ZERO, near.read_u8()).await;
                assert!(more.is_err());
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, crowd).await.unwrap();
    }

    #[tokio::test]
    async fn what_comes_during_a_rest_is_read_in_one_gulp() {
        let (mut near, mut far) = pair().await;
        until_it_rests(&mut near, &mut far).await;
        for word in [&b"a "[..], b"few ", b"words"] {
            far.write_all(word).await.unwrap();
        }
        let mut gulp = [0; 64];
        let length = near.read(&mut gulp).await.unwrap();
        assert_eq!(&gulp[..length], b"a few words");
    }

    #[tokio::test]
    async fn after_a_silence_the_connection_is_watched_again() {
        let (mut near, mut far) = pair().await;
        until_it_rests(&mut near, &mut far).await;
        let silence = tokio::time::timeout(2 * REST, near.read_u8()).await;
        assert!(silence.is_err());
        assert!(matches!(near.state, State::Watched(_)));
        far.write_all(b"y").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'y');
    }

    #[tokio::test]
    async fn writing_ends_a_rest() {
        let (mut near, mut far) = pair().await;
        until_it_rests(&mut near, &mut far).await;
        near.write_all(b"z").await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'z');
        far.write_all(b"x").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'x');
    }

    #[tokio::test]
    async fn an_end_during_a_rest_is_an_end() {
        let (mut near, mut far) = pair().await;
        until_it_rests(&mut near, &mut far).await;
        drop(far);
        assert_eq!(near.read(&mut [0; 8]).await.unwrap(), 0);
    }
}
