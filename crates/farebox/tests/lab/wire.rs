//! The line between the gateway and its node, in a test's hands: bytes pass untouched until it is
//! cut.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// A port that leads to another one. Dropping it closes both ends of everything.
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct State {
    is_cut: bool,
    is_over: bool,
    /// Both ends of every connection there was.
    ends: Vec<TcpStream>,
}

impl Wire {
    pub(crate) fn to(there: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let there: SocketAddr = there.parse().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let thread = std::thread::spawn(move || accept(&listener, there, &shared));
        Self {
            address,
            state,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Breaks every connection and lets no new one through.
    pub(crate) fn cut(&self) {
        self.change(|state| state.is_cut = true);
    }

    /// Breaks every connection; new ones get through.
    pub(crate) fn shake(&self) {
        self.change(|_| ());
    }

    /// Lets connections through again.
    pub(crate) fn mend(&self) {
        self.change(|state| state.is_cut = false);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        for end in state.ends.drain(..) {
            // An end that has gone by itself is as good.
            drop(end.shutdown(Shutdown::Both));
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.change(|state| state.is_over = true);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn accept(listener: &TcpListener, there: SocketAddr, state: &Mutex<State>) {
    for here in listener.incoming() {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.is_over {
            return;
        }
        if state.is_cut {
            continue;
        }
        if let (Ok(here), Ok(there)) = (here, TcpStream::connect(there)) {
            let both = [&here, &there].map(|end| end.try_clone().unwrap());
            state.ends.extend(both);
            join(&here, &there);
        }
    }
}

fn join(here: &TcpStream, there: &TcpStream) {
    for (from, to) in [(here, there), (there, here)] {
        let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
        std::thread::spawn(move || {
            // However it ends, the other side hears of it.
            drop(io::copy(&mut from, &mut to));
            drop(to.shutdown(Shutdown::Both));
            drop(from.shutdown(Shutdown::Both));
        });
    }
}
