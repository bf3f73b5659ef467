//! Core Lightning and phoenixd cannot be had here; their APIs can: each stand-in speaks one of them
//! and lets a real LND do the work. So the built binary sells and pays over a real channel in the
//! words of another node.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_testkit::lab::{Node, Payment};
use serde_json::{Value, json};

mod cln;
pub(crate) mod phoenixd;

/// The secret that both stand-ins want.
pub(crate) const SECRET: &str = "hunter2-hunter2";

/// Serves until it is dropped.
pub(crate) struct StandIn {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    /// The path of each call.
    asked: Arc<Mutex<Vec<String>>>,
}

/// One call.
struct Asked {
    method: String,
    path: String,
    /// Names in lower case.
    headers: HashMap<String, String>,
    body: String,
}

type Answer = (u16, String);

/// What lies behind a stand-in.
struct Backstage {
    node: Node,
    /// What was paid, by payment hash.
    paid: Mutex<HashMap<String, Payment>>,
    is_over: Arc<AtomicBool>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// A Core Lightning with `clnrest`, in clear.
    pub(crate) fn cln(node: &Node) -> Self {
        Self::start(node, cln::answer)
    }

    pub(crate) fn phoenixd(node: &Node) -> Self {
        Self::start(node, phoenixd::answer)
    }

    fn start(node: &Node, answer: fn(&Backstage, &Asked) -> Answer) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let backstage = Arc::new(Backstage {
            node: node.clone(),
            paid: Mutex::default(),
            is_over: Arc::clone(&is_over),
            asked: Arc::clone(&asked),
        });
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if backstage.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let backstage = Arc::clone(&backstage);
                std::thread::spawn(move || serve(&stream.unwrap(), &backstage, answer));
            }
        });
        Self {
            address,
            is_over,
            asked,
        }
    }

    /// How many calls were for paths that begin so.
    pub(crate) fn asked(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|asked| asked.starts_with(path)).count()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Backstage {
    fn make(&self, msat: u64, memo: &str, seconds: u64) -> (String, String) {
        let invoice = json!({ "value_msat": msat, "memo": memo, "expiry": seconds });
        let made = self.node.post("/v1/invoices", &invoice).unwrap();
        let bolt11 = made["payment_request"].as_str().unwrap().to_owned();
        (bolt11, hex_of(&made["r_hash"]))
    }

    /// The newest invoices that are settled, oldest first.
    fn settled(&self) -> Vec<Value> {
        let path = "/v1/invoices?reversed=true&num_max_invoices=1000";
        let listed = self.node.get(path).unwrap();
        let all = listed["invoices"].as_array().cloned().unwrap_or_default();
        let mut settled: Vec<_> = all
            .into_iter()
            .filter(|invoice| invoice["state"] == "SETTLED")
            .collect();
        settled.sort_by_key(|invoice| number(invoice, "settle_index"));
        settled
    }

    /// Waits for what `find` finds, up to `wait`.
    fn wait_for(&self, wait: Duration, find: impl Fn(&Self) -> Option<Value>) -> Option<Value> {
        let give_up_at = Instant::now() + wait;
        loop {
            let found = find(self);
            let is_over = self.is_over.load(Ordering::SeqCst) || Instant::now() >= give_up_at;
            if found.is_some() || is_over {
                return found;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Pays, and remembers it.
    fn pay(&self, bolt11: &str) -> Result<(String, Payment), String> {
        let hash = self.node.payment_hash_of(bolt11).unwrap();
        let paid = self.node.pay(bolt11).map_err(|error| error.to_string())?;
        let mut all = self.paid.lock().unwrap();
        all.insert(hash.clone(), paid.clone());
        Ok((hash, paid))
    }

    fn find_paid(&self, hash: &str) -> Option<Payment> {
        self.paid.lock().unwrap().get(hash).cloned()
    }
}

fn serve(mut stream: &TcpStream, backstage: &Backstage, answer: fn(&Backstage, &Asked) -> Answer) {
    let Some(asked) = read(stream) else { return };
    backstage.asked.lock().unwrap().push(asked.path.clone());
    let (status, body) = answer(backstage, &asked);
    let length = body.len();
    // Whoever asked may be gone.
    drop(write!(
        stream,
        "HTTP/1.1 {status} -\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    ));
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ').map(ToOwned::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let length = headers.get("content-length");
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    Some(Asked {
        method,
        path,
        headers,
        body,
    })
}

/// LND writes bytes in base64.
fn hex_of(bytes: &Value) -> String {
    hex::encode(STANDARD.decode(bytes.as_str().unwrap()).unwrap())
}

/// LND writes numbers as text.
fn number(value: &Value, key: &str) -> u64 {
    value[key].as_str().unwrap().parse().unwrap()
}
