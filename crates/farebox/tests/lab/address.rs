//! A Lightning Address at which a node takes any amount (LUD-06, LUD-16), in clear on loopback.

use std::fmt;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_testkit::lab::Node;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Serves until it is dropped.
pub(crate) struct Address {
    server: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Address {
    pub(crate) fn of(node: &Node) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let server = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let (node, ended) = (node.clone(), Arc::clone(&is_over));
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                serve(&stream.unwrap(), server, &node);
            }
        });
        Self {
            server,
            is_over,
            thread: Some(thread),
        }
    }

    /// For `allow_hosts`.
    pub(crate) fn host(&self) -> String {
        self.server.to_string()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "someone@{}", self.server)
    }
}

impl Drop for Address {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.server));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(mut stream: &TcpStream, server: SocketAddr, node: &Node) {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let line = lines.next().unwrap_or_default();
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    // To the end of the head, so that closing does not take the answer away.
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let body = answer(&target, server, node).to_string();
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    drop(write!(
        stream,
        "{head}\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
}

fn answer(target: &str, server: SocketAddr, node: &Node) -> Value {
    let metadata = json!([
        ["text/identifier", format!("someone@{server}")],
        ["text/plain", "a test"],
    ])
    .to_string();
    let amount = target.split_once("amount=").map(|(_, rest)| rest);
    let Some(amount) = amount.filter(|_| target.starts_with("/pay?")) else {
        return json!({
            "tag": "payRequest",
            "callback": format!("http://{server}/pay"),
            "minSendable": 1,
            "maxSendable": 1_000_000_000,
            "metadata": metadata,
        });
    };
    let invoice = json!({
        "value_msat": amount.split('&').next(),
        "description_hash": STANDARD.encode(Sha256::digest(&metadata)),
    });
    let made = node.post("/v1/invoices", &invoice).unwrap();
    json!({ "pr": made["payment_request"], "routes": [] })
}
