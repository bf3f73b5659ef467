//! A real relay on loopback (`nostr-relay-builder`), on a thread and runtime of its own.

use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use nostr_relay_builder::{LocalRelay, RelayBuilder};
use tokio::sync::oneshot;

use crate::ports;

/// A running relay; dropping it closes its port and all its connections.
#[derive(Debug)]
pub struct TestRelay {
    port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TestRelay {
    /// Starts a relay on a free port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start() -> io::Result<Self> {
        Self::start_on(ports::free())
    }

    /// Starts a relay on this port.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start_on(port: u16) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let relay = LocalRelay::new(RelayBuilder::default().port(port));
                    let started = relay.run().await.map_err(io::Error::other);
                    if ready.send(started).is_ok() {
                        drop(stopped.await);
                    }
                    relay.shutdown();
                });
            })?;
        is_ready.recv().map_err(io::Error::other)??;
        Ok(Self {
            port,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// Its port, to start another one in its place.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for TestRelay {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
