//! `farebox demo`, `doctor` and a gateway without a file on real nodes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::harness::farebox;
use crate::stage::{self, Stage};

/// How long the demo may take until its next line.
const LINE_WITHIN: Duration = Duration::from_secs(60);

/// The flags that name alice as the node that is paid.
fn seller(stage: &Stage, mut command: Command) -> Command {
    let alice = stage.alice();
    command.args(["--lightning", "lnd", "--network", "regtest"]);
    command.arg("--lnd-url").arg(&alice.rest);
    command.arg("--lnd-macaroon").arg(&alice.macaroons.invoice);
    command.arg("--lnd-cert").arg(&alice.cert);
    command
}

#[test]
fn the_demo_pays_itself_over_the_channel_between_two_nodes() {
    let Some(stage) = stage::alone() else { return };
    let before = stage.balances();
    let bob = stage.bob();
    let mut demo = seller(&stage, farebox(["demo", "--once"]));
    demo.arg("--buyer-lnd-url").arg(&bob.rest);
    demo.arg("--buyer-lnd-macaroon").arg(&bob.macaroons.admin);
    demo.arg("--buyer-lnd-cert").arg(&bob.cert);
    let output = demo.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("2. paid over the channel"), "{said}");
    assert!(
        said.contains("4. earned 2000 msat by route openai; trial balance 0"),
        "{said}"
    );
    // A call, and the deposit for a metered stream.
    stage.assert_paid(before, 2_000 + 200_000);
}

#[test]
fn the_demo_waits_for_a_person_who_pays_its_invoice() {
    let Some(stage) = stage::shared() else { return };
    let mut demo = Demo::start(seller(&stage, farebox(["demo", "--once"])));
    let invoice = demo.wait_for(|line| line.starts_with("lnbcrt"));
    stage.bob().pay(&invoice).unwrap();
    demo.wait_for(|line| line.starts_with("2. paid: the node says"));
    demo.wait_for(|line| line.starts_with("3. ") && line.ends_with("200 OK"));
    demo.wait_for(|line| line.starts_with("4. earned 1000 msat by route weather; trial balance 0"));
    assert!(demo.child.wait().unwrap().success());
}

#[test]
fn doctor_introduces_a_real_node_and_warns_of_its_admin_macaroon() {
    let Some(stage) = stage::shared() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("farebox.toml");
    let admin = stage.alice().macaroons.admin.display().to_string();
    let toml = format!(
        "[server]\nlisten = \"127.0.0.1:0\"\n[console]\nlisten = \"127.0.0.1:0\"\n\
         [store]\nurl = \"sqlite://{}\"\n[lightning]\n{}\n\
         [[route]]\nname = \"a\"\npath = \"/\"\nupstream = \"http://127.0.0.1:9\"\n\
         price = {{ msat = 2000 }}\n",
        folder.path().join("farebox.db").display(),
        stage.lightning_with(&stage.alice().rest, &admin),
    );
    std::fs::write(&file, toml).unwrap();
    let output = farebox(["doctor", "-c"]).arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for part in [
        "ok    lightning alice: LND 0.",
        "(regtest)",
        "ok    lightning alice: made an invoice for 1000 msat",
        "warn  lightning alice: more permissions than needed",
        "ok    refunds: on: holders may ask at /.farebox/refund, and \"alice\" pays",
    ] {
        assert!(said.contains(part), "{part} in\n{said}");
    }
}

/// A demo that runs, and its lines as they come.
struct Demo {
    child: Child,
    lines: Receiver<String>,
}

impl Demo {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    /// The next line that fits.
    #[track_caller]
    fn wait_for(&mut self, fits: impl Fn(&str) -> bool) -> String {
        loop {
            match self.lines.recv_timeout(LINE_WITHIN) {
                Ok(line) if fits(&line) => return line,
                Ok(_) => {}
                Err(error) => panic!("the demo says nothing more: {error}"),
            }
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // It has ended by itself unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
