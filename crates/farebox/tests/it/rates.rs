//! Live exchange rates from sources that lie, fail, sleep and come back: what is asked for a price
//! in dollars, and when nothing is.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use farebox_testkit::ScriptedUpstream;
use rustix::process::Signal;

use crate::harness::{Call, Reply, Route, Setup, TestGateway};

/// Round trips on this machine, and a source's time limit of five seconds.
const WAIT_AT_MOST: Duration = Duration::from_secs(30);

/// What a source does when it is asked.
#[derive(Clone)]
enum Manner {
    Says(String),
    Fails,
    Redirects,
    Sleeps,
}

/// Sources on one port of this machine, by their path, and what they were asked for.
#[derive(Clone)]
struct Sources {
    address: SocketAddr,
    manners: Arc<Mutex<BTreeMap<String, Manner>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Sources {
    fn start(manners: &[(&str, Manner)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sources = Self {
            address: listener.local_addr().unwrap(),
            manners: Arc::default(),
            asked: Arc::default(),
        };
        for (name, manner) in manners {
            sources.set(name, manner.clone());
        }
        let serving = sources.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                std::thread::spawn(move || serving.attend(stream));
            }
        });
        sources
    }

    fn set(&self, name: &str, manner: Manner) {
        self.manners.lock().unwrap().insert(name.to_owned(), manner);
    }

    fn set_all(&self, manner: &Manner) {
        for found in self.manners.lock().unwrap().values_mut() {
            *found = manner.clone();
        }
    }

    /// How often any was asked for a currency.
    fn times_asked(&self, currency: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|path| path.ends_with(currency)).count()
    }

    fn attend(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        let Some(Ok(first)) = lines.next() else {
            return;
        };
        while lines
            .next()
            .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
        {}
        let path = first.split(' ').nth(1).unwrap_or_default();
        self.asked.lock().unwrap().push(path.to_owned());
        let name = path.trim_start_matches('/').split('/').next();
        let manner = self.manners.lock().unwrap().get(name.unwrap()).cloned();
        let (head, body) = match manner.unwrap() {
            Manner::Says(body) => ("200 OK".to_owned(), body),
            Manner::Fails => ("500 Broken".to_owned(), price("97000")),
            Manner::Redirects => {
                let to = format!("http://{}/honest-1/usd", self.address);
                (format!("302 Found\r\nLocation: {to}"), String::new())
            }
            Manner::Sleeps => {
                let _ = stream.read(&mut [0; 1]);
                return;
            }
        };
        let _ = write!(
            stream,
            "HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
    }

    /// A `[rates]` that asks all of them.
    fn toml(&self, lines: &str) -> String {
        let mut toml = format!(
            "[rates]\nlive = [\"usd\"]\nbuffer_percent = 0\nallow_hosts = [\"{}\"]\n{lines}\n",
            self.address
        );
        for name in self.manners.lock().unwrap().keys() {
            toml.push_str(&format!(
                "[[rates.source]]\nname = \"{name}\"\nurl = \"http://{}/{name}/{{currency}}\"\n\
                 pointer = \"/data/0/{{CURRENCY}}\"\n",
                self.address
            ));
            if name == "stale" {
                toml.push_str("time = \"/time\"\n");
            }
        }
        toml
    }
}

fn price(bitcoin: &str) -> String {
    format!("{{\"time\": 1600000000, \"data\": [{{\"USD\": {bitcoin}}}]}}")
}

fn says(bitcoin: &str) -> Manner {
    Manner::Says(price(bitcoin))
}

/// One route in dollars, one in msat.
fn setup(sources: &Sources, lines: &str, upstream: &ScriptedUpstream) -> Setup {
    Setup::new()
        .section(&sources.toml(lines))
        .route(Route::at("/paid", upstream).line("price = { usd = \"0.002\" }"))
        .route(Route::at("/fixed", upstream).msat(1000).calls(10))
}

fn ask(gateway: &TestGateway) -> Reply {
    gateway.send(&Call::get("/paid/x"))
}

/// Waits until unpaid calls are answered so, and returns the answer.
#[track_caller]
fn wait_for(gateway: &TestGateway, status: u16) -> Reply {
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    loop {
        let reply = ask(gateway);
        if reply.status == status {
            return reply;
        }
        assert!(Instant::now() < give_up_at, "still {reply:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn assert_no_rate(reply: &Reply) {
    assert_eq!(reply.status, 503);
    let retry = reply.headers.iter().find(|(name, _)| name == "retry-after");
    assert!(retry.is_some(), "{reply:?}");
    let problem = reply.json();
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("exchange rate"), "{problem}");
}

#[test]
fn the_honest_are_believed_among_liars_sleepers_and_ruins() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sources = Sources::start(&[
        ("honest-1", says("100000.00")),
        ("honest-2", says("\"100100.5\"")),
        ("honest-3", says("99900")),
        ("liar", says("1000000")),
        ("down", Manner::Fails),
        ("garbage", Manner::Says("<html>97000</html>".to_owned())),
        ("redirecting", Manner::Redirects),
        ("sleeping", Manner::Sleeps),
        ("stale", says("100000")),
    ]);
    let gateway = TestGateway::start(setup(&sources, "", &upstream));
    // Nobody waits for the sources, the first buyer neither.
    assert_no_rate(&ask(&gateway));
    let problem = wait_for(&gateway, 402).json();
    assert_eq!(problem["price_msat"], 2000);
    let up = |name: &str| {
        let label = format!("source=\"{name}\"");
        gateway.metric("farebox_rate_source_up", &[&label])
    };
    for honest in ["honest-1", "honest-2", "honest-3", "liar"] {
        assert_eq!(up(honest), Some(1), "{honest}");
    }
    for failing in ["down", "garbage", "redirecting", "sleeping", "stale"] {
        assert_eq!(up(failing), Some(0), "{failing}");
        gateway.wait_for_log(&format!("\"source\":\"{failing}\""));
    }
    assert_eq!(gateway.metric("farebox_rate_sources_agreed", &[]), Some(3));
    let age = gateway.metric("farebox_rate_age_seconds", &["currency=\"usd\""]);
    assert!(age.is_some_and(|age| (0..60).contains(&age)), "{age:?}");
}

#[test]
fn two_that_contradict_each_other_are_no_rate() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sources = Sources::start(&[("a", says("100000")), ("b", says("1000000"))]);
    let gateway = TestGateway::start(setup(&sources, "every = \"50ms\"", &upstream));
    gateway.wait_for_log("only 1 agree");
    assert_no_rate(&ask(&gateway));
    let fixed = gateway.buy(&Call::get("/fixed/x"));
    gateway
        .send(&Call::get("/fixed/x").with(&fixed))
        .expect(200);
    sources.set("b", says("101000"));
    assert_eq!(wait_for(&gateway, 402).json()["price_msat"], 2000);
}

#[test]
fn a_rate_outlives_its_sources_until_it_is_too_old_and_no_longer() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sources = Sources::start(&[("a", says("100000")), ("b", says("100000"))]);
    let lines = "every = \"100ms\"\nmax_age = \"3s\"";
    let mut gateway = TestGateway::start(setup(&sources, lines, &upstream));
    wait_for(&gateway, 402);
    let token = gateway.buy(&Call::get("/fixed/x"));
    sources.set_all(&Manner::Fails);
    gateway.wait_for_log("the rate source fails");
    assert_eq!(ask(&gateway).status, 402);
    // A reload asks anew and forgets nothing.
    gateway.reconfigure(setup(&sources, lines, &upstream).server("legacy_challenge = false"));
    gateway.signal(Signal::HUP);
    gateway.wait_for_log("the configuration was read again");
    assert_eq!(ask(&gateway).status, 402);

    assert_no_rate(&wait_for(&gateway, 503));
    gateway.wait_for_log("no exchange rate to sell by");
    let call = Call::get("/fixed/x").with(&token);
    gateway.send(&call).expect(200);
    // Nothing of a rate survives a restart: it would be of nobody knows when.
    gateway.restart();
    assert_no_rate(&ask(&gateway));
    gateway.send(&call).expect(200);
    gateway.wait_for_log("no exchange rate to sell by");
    sources.set_all(&says("50000"));
    assert_eq!(wait_for(&gateway, 402).json()["price_msat"], 4000);
    gateway.wait_for_log("the exchange rate is known again");
}

#[test]
fn a_fixed_rate_wins_and_asks_nobody() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sources = Sources::start(&[("a", says("50000")), ("b", says("50000"))]);
    let lines = "every = \"10ms\"\nfixed = { usd = \"100000\" }";
    let toml = sources
        .toml(lines)
        .replace("[\"usd\"]", "[\"usd\", \"eur\"]");
    let route = Route::at("/paid", &upstream).line("price = { usd = \"0.002\" }");
    let gateway = TestGateway::start(Setup::new().section(&toml).route(route));
    let give_up_at = Instant::now() + WAIT_AT_MOST;
    while sources.times_asked("eur") < 6 {
        assert!(Instant::now() < give_up_at, "nobody is asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(sources.times_asked("usd"), 0);
    assert_eq!(ask(&gateway).expect(402).json()["price_msat"], 2000);
}

#[test]
fn the_buffer_is_on_top_of_a_live_rate() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sources = Sources::start(&[("a", says("100000")), ("b", says("100000"))]);
    let toml = sources.toml("");
    let toml = toml.replace("buffer_percent = 0", "buffer_percent = 5");
    let route = Route::at("/paid", &upstream).line("price = { usd = \"0.002\" }");
    let setup = Setup::new().section(&toml).route(route);
    let gateway = TestGateway::start(setup);
    assert_eq!(wait_for(&gateway, 402).json()["price_msat"], 2100);
}

#[test]
fn check_says_what_is_live_and_doctor_asks_once() {
    let upstream = ScriptedUpstream::start().unwrap();
    let sources = Sources::start(&[
        ("a", says("100000")),
        ("b", Manner::Fails),
        ("c", says("100001")),
    ]);
    let mut gateway = TestGateway::start(setup(
        &sources,
        "every = \"10m\"\nfixed = { eur = 9 }\nmax_age = \"1h\"",
        &upstream,
    ));
    wait_for(&gateway, 402);
    gateway.stop();
    let said = |arguments: &[&str]| {
        let output = gateway.command(arguments);
        String::from_utf8(output.stdout).unwrap()
    };
    let check = said(&["config", "check", "--insecure-test-money"]);
    assert!(
        check.contains("rates: usd is live: the median of a, b, c"),
        "{check}"
    );
    assert!(
        check.contains("rates: eur is fixed: a bitcoin is 9"),
        "{check}"
    );
    let asked = sources.times_asked("usd");
    let doctor = said(&["doctor", "--insecure-test-money"]);
    assert!(
        doctor.contains("ok    rate usd by a: a bitcoin is 100000"),
        "{doctor}"
    );
    assert!(
        doctor.contains("warn  rate usd by b: it answers 500"),
        "{doctor}"
    );
    assert!(
        doctor.contains("ok    rate usd: a bitcoin is 100000, sources: 2"),
        "{doctor}"
    );
    assert_eq!(sources.times_asked("usd"), asked + 3);
}
