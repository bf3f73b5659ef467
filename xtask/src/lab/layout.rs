//! Where everything of the lab lies, on which ports it listens, and with which options it starts.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use farebox_testkit::lab::{Btcd, Daemon, Lab, Macaroons, Node};
use rcgen::{CertificateParams, KeyPair};

use super::build::Programs;

/// Guards nothing but test money on loopback.
const RPC_USER: &str = "lab";
const RPC_PASSWORD: &str = "lab";
/// Below the ports that systems hand out by themselves, so that a node that starts again finds its
/// own still free.
const PORTS: std::ops::Range<u16> = 21_000..32_000;
/// The pieces of the lab, each in a folder of that name.
const CHAIN: &str = "btcd";
const NODES: [&str; 2] = ["alice", "bob"];

/// A new lab in `folder`, described and not started.
pub(super) fn plan(folder: &Path, programs: &Programs) -> Result<Lab> {
    let mut ports = free_ports();
    let mut port = || ports.next().context("no free port");
    let btcd = btcd(&folder.join(CHAIN), &programs.btcd, port()?, port()?)?;
    let mut nodes = Vec::new();
    for name in NODES {
        let ports = [port()?, port()?, port()?];
        nodes.push(node(name, &folder.join(name), &programs.lnd, ports, &btcd));
    }
    Ok(Lab { btcd, nodes })
}

/// The processes that may run from `folder`, whatever became of the rest of it. The nodes come
/// first: they want their chain until the end.
pub(super) fn daemons(folder: &Path) -> Vec<Daemon> {
    let names = NODES.into_iter().chain([CHAIN]);
    let read = |name: &str| fs::read(daemon_file(&folder.join(name))).ok();
    let daemons = names.filter_map(read);
    daemons
        .filter_map(|text| serde_json::from_slice(&text).ok())
        .collect()
}

/// Writes down how a process is started, before it is: `down` must find it after a crash.
pub(super) fn note(daemon: &Daemon) -> Result<()> {
    fs::create_dir_all(&daemon.folder)?;
    let text = serde_json::to_vec_pretty(daemon)?;
    fs::write(daemon_file(&daemon.folder), text).context("cannot note how it is started")
}

fn daemon_file(folder: &Path) -> PathBuf {
    folder.join("daemon.json")
}

fn free_ports() -> impl Iterator<Item = u16> {
    // Somewhere else for each lab, so that two of them rarely meet.
    let start = u16::try_from(std::process::id() % 9000).unwrap_or_default();
    let candidates = PORTS.skip(usize::from(start));
    candidates.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
}

fn btcd(folder: &Path, program: &Path, rpc: u16, p2p: u16) -> Result<Btcd> {
    let (cert, key) = write_certificate(folder)?;
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = vec![
        "--regtest".to_owned(),
        format!("--datadir={}", path("data")),
        format!("--logdir={}", path("log")),
        format!("--rpcuser={RPC_USER}"),
        format!("--rpcpass={RPC_PASSWORD}"),
        format!("--rpclisten=127.0.0.1:{rpc}"),
        format!("--listen=127.0.0.1:{p2p}"),
        format!("--rpccert={}", cert.display()),
        format!("--rpckey={}", key.display()),
        "--txindex".to_owned(),
        "--nobanning".to_owned(),
        "--nostalldetect".to_owned(),
        "--nodnsseed".to_owned(),
        "--trickleinterval=100ms".to_owned(),
    ];
    Ok(Btcd {
        rpc: format!("127.0.0.1:{rpc}"),
        user: RPC_USER.to_owned(),
        pass: RPC_PASSWORD.to_owned(),
        cert,
        daemon: daemon(folder, program, arguments),
    })
}

fn node(name: &str, folder: &Path, program: &Path, ports: [u16; 3], btcd: &Btcd) -> Node {
    let [rest, grpc, p2p] = ports.map(|port| format!("127.0.0.1:{port}"));
    let dir = folder.join("lnd");
    let macaroon = |kind: &str| dir.join(format!("data/chain/bitcoin/regtest/{kind}.macaroon"));
    let arguments = vec![
        format!("--lnddir={}", dir.display()),
        format!("--alias={name}"),
        "--bitcoin.regtest".to_owned(),
        "--bitcoin.node=btcd".to_owned(),
        format!("--btcd.rpchost={}", btcd.rpc),
        format!("--btcd.rpcuser={}", btcd.user),
        format!("--btcd.rpcpass={}", btcd.pass),
        format!("--btcd.rpccert={}", btcd.cert.display()),
        // A single millisatoshi can be paid.
        "--bitcoin.minhtlc=1".to_owned(),
        "--bitcoin.minhtlcout=1".to_owned(),
        "--noseedbackup".to_owned(),
        "--nobootstrap".to_owned(),
        format!("--listen={p2p}"),
        format!("--rpclisten={grpc}"),
        format!("--restlisten={rest}"),
        "--debuglevel=error".to_owned(),
        "--trickledelay=50".to_owned(),
        "--tlsextradomain=localhost".to_owned(),
    ];
    Node {
        name: name.to_owned(),
        rest: format!("https://{rest}"),
        grpc,
        cert: dir.join("tls.cert"),
        macaroons: Macaroons {
            admin: macaroon("admin"),
            invoice: macaroon("invoice"),
            readonly: macaroon("readonly"),
        },
        p2p,
        pubkey: String::new(),
        daemon: daemon(folder, program, arguments),
        dir,
    }
}

fn daemon(folder: &Path, program: &Path, arguments: Vec<String>) -> Daemon {
    Daemon {
        program: program.to_owned(),
        arguments,
        folder: folder.to_owned(),
    }
}

/// btcd would make a certificate by itself, with a curve that few TLS libraries still know.
fn write_certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    fs::create_dir_all(folder)?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let key = KeyPair::generate()?;
    let cert = CertificateParams::new(names)?.self_signed(&key)?;
    let files = (folder.join("rpc.cert"), folder.join("rpc.key"));
    fs::write(&files.0, pem("CERTIFICATE", cert.der()))?;
    fs::write(&files.1, pem("PRIVATE KEY", key.serialized_der()))?;
    Ok(files)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
    let lines = lines.collect::<Vec<_>>().join("\n");
    format!("-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n")
}
