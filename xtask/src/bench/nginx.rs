//! nginx, twice: as the upstream of everybody, and as the proxy that Farebox is compared with.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::options::Options;
use super::proc::Running;
use crate::process::works;

/// Where Debian puts it, which is not on everybody's path.
pub(crate) const DEBIAN: &str = "/usr/sbin/nginx";
const START_AT_MOST: Duration = Duration::from_secs(10);
/// Worker processes of nginx and threads of Farebox.
pub(crate) const WORKERS: usize = 2;
/// Bytes of the upstream's answer, a small chat completion.
const ANSWER_BYTES: usize = 1_200;
/// Connections to an upstream that a worker of nginx keeps open.
const KEPT: usize = 256;
/// What Farebox does with its access log.
const BUFFERED: &str = "buffer=64k flush=1s";

/// An nginx of our own, with all it writes in one folder.
#[derive(Debug)]
pub(crate) struct Nginx {
    pub(crate) running: Running,
    pub(crate) address: SocketAddr,
}

impl Nginx {
    /// Answers everything with the same JSON.
    pub(crate) fn mock(folder: &Path) -> Result<Self> {
        let answer = answer();
        Self::start(folder, |port| {
            format!(
                "access_log off;\n\
                 server {{ listen 127.0.0.1:{port} backlog=4096; default_type application/json;\n\
                 location / {{ return 200 '{answer}'; }} }}"
            )
        })
    }

    /// Passes everything on to `upstream` over connections that it keeps.
    pub(crate) fn proxy(folder: &Path, upstream: SocketAddr, options: &Options) -> Result<Self> {
        Self::proxy_of(folder, &[("/", upstream)], "", options)
    }

    /// The same with an upstream for each place, and without buffers in either direction.
    pub(crate) fn unbuffered(
        folder: &Path,
        places: &[(&str, SocketAddr)],
        options: &Options,
    ) -> Result<Self> {
        let more = "proxy_request_buffering off; client_max_body_size 8m;";
        Self::proxy_of(folder, places, more, options)
    }

    fn proxy_of(
        folder: &Path,
        places: &[(&str, SocketAddr)],
        more: &str,
        options: &Options,
    ) -> Result<Self> {
        let buffer = if options.nginx_default_log {
            ""
        } else {
            BUFFERED
        };
        let (mut upstreams, mut locations) = (String::new(), String::new());
        for (number, (place, upstream)) in places.iter().enumerate() {
            upstreams += &format!(
                "upstream mock{number} {{ server {upstream}; keepalive {KEPT};\n\
                 keepalive_requests 1000000000; }}\n"
            );
            locations += &format!(
                "location {place} {{ proxy_pass http://mock{number}; proxy_http_version 1.1;\n\
                 proxy_set_header Connection \"\"; proxy_buffering off; {more} }}\n"
            );
        }
        Self::start(folder, |port| {
            format!(
                "access_log access.log combined {buffer};\n{upstreams}\
                 server {{ listen 127.0.0.1:{port} backlog=4096;\n{locations} }}"
            )
        })
    }

    fn start(folder: &Path, http: impl FnOnce(u16) -> String) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let address = free_address()?;
        let config = folder.join("nginx.conf");
        fs::write(&config, whole_config(folder, &http(address.port())))?;
        let mut command = Command::new(program());
        command
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&config)
            .stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let running = Running::new(command.spawn().context("cannot run nginx")?, "QUIT");
        let give_up_at = Instant::now() + START_AT_MOST;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > give_up_at {
                let log = fs::read_to_string(folder.join("error.log")).unwrap_or_default();
                bail!("nginx does not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { running, address })
    }
}

/// `user` must be the one who runs this, or workers could not write into the folder.
fn whole_config(folder: &Path, http: &str) -> String {
    let folder = folder.display();
    let user = if is_root() { "user root;\n" } else { "" };
    format!(
        "{user}daemon off;\nworker_processes {WORKERS};\nworker_rlimit_nofile 16384;\n\
         pid {folder}/nginx.pid;\nerror_log {folder}/error.log warn;\n\
         events {{ worker_connections 8192; }}\n\
         http {{\nkeepalive_requests 1000000000;\nkeepalive_timeout 300s;\ntcp_nodelay on;\n\
         client_body_temp_path {folder}/body;\nproxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi;\nuwsgi_temp_path {folder}/uwsgi;\n\
         scgi_temp_path {folder}/scgi;\n{http}\n}}\n"
    )
}

fn answer() -> String {
    let (start, end) = (
        r#"{"id":"chatcmpl-1","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":""#,
        r#""},"finish_reason":"stop"}],"usage":{"prompt_tokens":240,"completion_tokens":250}}"#,
    );
    let text = "y".repeat(ANSWER_BYTES - start.len() - end.len());
    format!("{start}{text}{end}")
}

pub(crate) fn program() -> &'static str {
    if works("nginx", &["-v"]) {
        "nginx"
    } else {
        DEBIAN
    }
}

fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|id| id.stdout == b"0\n")
}

/// An address that was free a moment ago: nginx cannot be asked which port it took.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
