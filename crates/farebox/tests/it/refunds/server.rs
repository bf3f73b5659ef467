//! The smallest HTTP server: one request without a body per connection, a thread for each.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

/// One request.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: String,
    /// What it is called by.
    pub(crate) host: String,
}

/// What is done about it.
pub(crate) enum Answer {
    Json(u16, String),
    /// A status with a `Location`.
    Redirect(String),
}

/// Serves on a free port of this machine for the rest of the process.
pub(crate) fn serve(answer: impl Fn(&Ask) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || attend(stream, &*answer));
        }
    });
    address
}

fn attend(mut stream: TcpStream, answer: &dyn Fn(&Ask) -> Answer) {
    let Some(ask) = read(&stream) else { return };
    let (status, extra, body) = match answer(&ask) {
        Answer::Json(status, body) => (status, String::new(), body),
        Answer::Redirect(to) => (302, format!("Location: {to}\r\n"), String::new()),
    };
    let head = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\nConnection: close\r\n\
         {extra}Content-Length: {}\r\n\r\n",
        body.len()
    );
    // Whoever asked may have left, which is part of some tests.
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
}

fn read(stream: &TcpStream) -> Option<Ask> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split_whitespace();
    let (_, target) = (words.next()?, words.next()?.to_owned());
    let mut host = String::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("host") {
            value.trim().clone_into(&mut host);
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    Some(Ask {
        path: path.to_owned(),
        query: query.to_owned(),
        host,
    })
}
