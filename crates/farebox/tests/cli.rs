//! The commands that need no running gateway, as a person at a shell meets them.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop right there"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn farebox(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_farebox"))
        .args(arguments)
        .env("API_KEY", "sk-from-the-environment")
        .env_remove("FAREBOX_NO_SUCH")
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn every_sample_passes_the_check() {
    let samples = std::fs::read_dir(root().join("samples")).unwrap();
    let mut checked = 0;
    for sample in samples.map(|entry| entry.unwrap().path()) {
        if sample
            .extension()
            .is_none_or(|extension| extension != "toml")
        {
            continue;
        }
        let sample = sample.to_str().unwrap();
        let output = farebox(&[
            "config",
            "check",
            "--no-secrets",
            "--insecure-test-money",
            "-c",
            sample,
        ]);
        assert!(output.status.success(), "{sample}: {}", stderr(&output));
        checked += 1;
    }
    assert!(checked >= 5, "{checked}");
}

#[test]
fn what_was_imported_passes_the_check_and_the_rest_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    for (from, file, listed) in [
        ("matador", "samples/import/matador.env", "RUNE_SECRET"),
        (
            "lsat-proxy",
            "samples/import/lsat-proxy.yaml",
            "proto: no counterpart",
        ),
        ("aperture", "samples/import/aperture.yaml", "prometheus"),
    ] {
        let result = folder.path().join(format!("{from}.toml"));
        let result = result.to_str().unwrap();
        let file = root().join(file);
        let file = file.to_str().unwrap();
        let output = farebox(&["config", "import", from, file, "-o", result]);
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(stderr(&output).contains(listed), "{}", stderr(&output));
        // The macaroon and the certificate are on the machine of the one who imports.
        let output = farebox(&["config", "check", "--no-secrets", "-c", result]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
}

#[test]
fn an_import_never_writes_over_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let result = write(folder.path(), "farebox.toml", "# mine\n");
    let file = root().join("samples/import/matador.env");
    let file = file.to_str().unwrap();
    let output = farebox(&["config", "import", "matador", file, "-o", &result]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(&result).unwrap(), "# mine\n");
}

#[test]
fn mistakes_exit_with_2_and_name_line_key_value_and_reason() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(
        folder.path(),
        "bad.toml",
        "[server]\nlisten = \"nowhere\"\nlisen = 1\n",
    );
    let output = farebox(&["config", "check", "-c", &file]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("line 2: server.listen = \"nowhere\": "),
        "{text}"
    );
    assert!(
        text.contains("line 3: server.lisen: unknown key; did you mean `listen`?"),
        "{text}"
    );
    let output = farebox(&["config", "check", "--json", "-c", &file]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["ok"], false);
    assert_eq!(report["mistakes"][0]["key"], "server.listen");
    assert_eq!(report["mistakes"][0]["line"], 2);
}

#[test]
fn what_is_shown_resolved_has_defaults_and_no_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let text = "[[route]]\nname = \"a\"\npath = \"/\"\nprice = \"free\"\nupstream = \"http://a.example\"\n\
        headers = { Authorization = { env = \"API_KEY\" } }\n";
    let file = write(folder.path(), "farebox.toml", text);
    let shown = stdout(&farebox(&["config", "show", "--resolved", "-c", &file]));
    assert!(shown.contains("drain_timeout = \"30s\""), "{shown}");
    assert!(
        shown.contains("sha256") && !shown.contains("sk-from-the-environment"),
        "{shown}"
    );
    let written = stdout(&farebox(&["config", "show", "-c", &file]));
    assert!(
        written.contains("env = \"API_KEY\"") && !written.contains("drain_timeout"),
        "{written}"
    );
}

#[test]
fn the_schema_is_json_and_knows_every_section() {
    let output = farebox(&["config", "schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    for section in ["server", "console", "store", "lightning", "log", "route"] {
        assert!(schema["properties"][section].is_object(), "{section}");
    }
}

#[test]
fn test_money_is_refused_by_serve_unless_asked_for() {
    let sample = root().join("samples/test-money.toml");
    let output = farebox(&["serve", "-c", sample.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--insecure-test-money"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn serve_without_a_file_names_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_farebox"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let output = run(&["serve"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("--upstream URL"),
        "{}",
        stderr(&output)
    );
    let output = run(&[
        "serve",
        "--upstream",
        "http://a.example",
        "--api-key-env",
        "FAREBOX_NO_SUCH",
    ]);
    assert_eq!(output.status.code(), Some(2));
    let text = stderr(&output);
    assert!(
        text.contains("FAREBOX_NO_SUCH is not set") && text.contains("price: is missing"),
        "{text}"
    );
}

#[test]
fn verifying_a_store_that_is_not_there_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("farebox.db");
    let url = format!("sqlite://{}", path.display());
    let output = farebox(&["db", "verify", "--store", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!path.exists());
}

#[test]
fn an_admin_command_without_a_gateway_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let token = write(folder.path(), "token", &"a".repeat(64));
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&token, private).unwrap();
    let output = farebox(&[
        "admin",
        "--console",
        "127.0.0.1:1",
        "--token-file",
        &token,
        "trial-balance",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("does the gateway run?"),
        "{}",
        stderr(&output)
    );
}

#[cfg(feature = "demo")]
#[test]
fn the_demo_sells_itself_a_call() {
    let output = farebox(&["demo", "--once"]);
    assert!(
        output.status.success(),
        "{}{}",
        stdout(&output),
        stderr(&output)
    );
    let text = stdout(&output);
    for part in [
        "402 Payment Required",
        "2000 msat",
        "200 OK",
        "trial balance 0",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let metered = text.split("/metered/").nth(1).unwrap();
    let msat = |name: &str| -> u64 {
        let line = metered
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        let words: Vec<_> = line.unwrap().split_whitespace().collect();
        words[1].parse().unwrap()
    };
    let (held, charged, rest) = (msat("held"), msat("charged"), msat("rest"));
    assert!(held > charged && charged > 0, "{text}");
    assert_eq!(charged + rest, msat("deposit"), "{text}");
    let earned = |msat: u64| format!("earned {msat} msat by route metered; trial balance 0");
    assert!(metered.contains(&earned(charged)), "{text}");
    let (_, ecash) = text.split_once("for ecash").expect("and for ecash");
    let changes = ecash.lines().filter(|line| line.contains("  change  "));
    assert_eq!(changes.count(), 3, "{text}");
    assert!(
        ecash.contains("2 tokens, the same, at POST /.farebox/change"),
        "{text}"
    );
    assert!(
        ecash.contains("earned 6000 msat by route openai; trial balance 0"),
        "{text}"
    );
    assert!(ecash.contains(&earned(2 * charged)), "{text}");
}

/// What `demo` prints for pasting: to pay with an invoice, and with ecash. The pipe has to stay open as long
/// as the demo runs.
#[cfg(feature = "demo")]
fn read_snippets(printed: impl std::io::BufRead) -> (String, String) {
    let lines = printed.lines().map(Result::unwrap);
    let lines: Vec<_> = lines
        .take_while(|line| !line.starts_with("Ctrl-C"))
        .collect();
    let between = |first: &str, end: &str| {
        let snippet = lines.iter().skip_while(|line| !line.starts_with(first));
        let snippet = snippet.take_while(|line| !line.starts_with(end));
        snippet.cloned().collect::<Vec<_>>().join("\n")
    };
    let ecash = between("curl -i -H 'X-Cashu", "The seller");
    (between("URL=", "Or pay with ecash"), ecash)
}

/// Runs a snippet in a shell.
#[cfg(feature = "demo")]
#[track_caller]
fn paste(snippet: &str) -> String {
    let pasted = Command::new("sh").args(["-c", snippet]).output().unwrap();
    let text = stdout(&pasted);
    let complaint = stderr(&pasted);
    assert!(
        text.starts_with("HTTP/1.1 200 OK"),
        "{snippet}\n{text}{complaint}"
    );
    assert!(text.contains("chat.completion"), "{text}");
    text
}

#[cfg(feature = "demo")]
#[test]
fn the_lines_that_the_demo_prints_buy_a_call_when_pasted() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "curl is missing");
        return;
    }
    let mut demo = Command::new(env!("CARGO_BIN_EXE_farebox"))
        .args([
            "demo",
            "--listen",
            "127.0.0.1:0",
            "--console-listen",
            "127.0.0.1:0",
        ])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut printed = std::io::BufReader::new(demo.stdout.take().unwrap());
    let (invoice, ecash) = read_snippets(&mut printed);
    paste(&invoice);
    let told = paste(&ecash);
    let change = told.lines().find_map(|line| line.strip_prefix("x-cashu: "));
    let (before, rest) = ecash.split_once("cashuB").unwrap();
    let (_, after) = rest.split_once('\'').unwrap();
    paste(&format!(
        "{before}{}'{after}",
        change.expect("change").trim()
    ));
    demo.kill().unwrap();
    demo.wait().unwrap();
}

/// A list in OpenRouter's form; the price of a token written, for each model.
fn models(prices: &[(&str, &str)]) -> String {
    let entries = prices.iter().map(|(name, output)| {
        let pricing = format!(r#"{{"prompt": "0.000001", "completion": "{output}"}}"#);
        format!(r#"{{"id": "{name}", "pricing": {pricing}}}"#)
    });
    format!(r#"{{"data": [{}]}}"#, Vec::from_iter(entries).join(","))
}

/// Imports such a list into `prices.json`.
fn import(folder: &Path, prices: &[(&str, &str)], more: &[&str]) -> Output {
    let list = write(folder, "models.json", &models(prices));
    let path = folder.join("prices.json").display().to_string();
    let arguments = ["prices", "import", "openrouter", &list, "-o", &path];
    farebox(&[&arguments, more].concat())
}

#[test]
fn a_price_list_is_selected_renamed_marked_up_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let list = models(&[("x/a", "0.000004"), ("y/a", "0.5"), ("y/b", "0.5")]);
    let list = write(folder.path(), "models.json", &list);
    let output = farebox(&[
        "prices",
        "import",
        "openrouter",
        &list,
        "--only",
        "x/*",
        "--rename",
        "x/*=*",
        "--markup",
        "12.5",
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let printed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let models = printed["models"].as_object().unwrap();
    assert_eq!(models.len(), 1);
    assert_eq!(models["a"]["rows"]["output"], "0.0000045");

    let absurd = farebox(&["prices", "import", "openrouter", &list, "--only", "y/*"]);
    assert_eq!(absurd.status.code(), Some(2));
    let said = stderr(&absurd);
    assert!(said.contains("left out: y/a: an absurd price"), "{said}");
    let other = farebox(&["prices", "import", "litellm", "/nowhere.json"]);
    assert_eq!(other.status.code(), Some(2));
    let no_list = write(folder.path(), "list.json", "<html>");
    let other = farebox(&["prices", "import", "litellm", &no_list]);
    assert_eq!(other.status.code(), Some(2));
    assert!(stderr(&other).contains("not a price list"));
}

#[test]
fn a_list_is_replaced_unseen_only_by_one_that_moves_little() {
    let folder = tempfile::tempdir().unwrap();
    let written = |prices: &[(&str, &str)], more: &[&str]| {
        let output = import(folder.path(), prices, &[&["--json"], more].concat());
        let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code().unwrap(), said["written"] == true)
    };
    let first = [("a", "0.00001"), ("b", "0.00001")];
    assert_eq!(written(&first, &[]), (0, true));
    assert_eq!(written(&first, &[]), (0, false));
    assert_eq!(
        written(&[("a", "0.000012"), ("b", "0.00001")], &[]),
        (0, true)
    );
    let leap = [("a", "0.0001"), ("b", "0.00001")];
    assert_eq!(written(&leap, &[]), (1, false));
    assert_eq!(written(&leap, &["--guard", "1000"]), (0, true));
    // Models neither come nor go by themselves.
    assert_eq!(written(&leap[..1], &[]), (1, false));
    let more = [leap[0], leap[1], ("c", "0.00001")];
    assert_eq!(written(&more, &[]), (1, false));
    assert_eq!(written(&more, &["--accept"]), (0, true));
}

#[test]
fn price_lists_are_compared_with_each_other_and_with_that_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let made = |prices: &[(&str, &str)], name: &str| {
        assert!(
            import(folder.path(), prices, &["--accept"])
                .status
                .success()
        );
        let path = folder.path().join(name);
        std::fs::copy(folder.path().join("prices.json"), &path).unwrap();
        path.display().to_string()
    };
    let old = made(&[("a", "0.00001"), ("b", "0.00001")], "old.json");
    let new = made(&[("a", "0.0000125"), ("c", "0.00001")], "new.json");
    let output = farebox(&["prices", "diff", &old, &new]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let told = [
        "added: c input 0.000001, output 0.00001",
        "removed: b",
        "changed: a output: 0.00001 -> 0.0000125 (+25.0 %)",
        "changed: a reasoning: 0.00001 -> 0.0000125 (+25.0 %)",
        "unchanged: 0",
    ];
    assert_eq!(stdout(&output).lines().collect::<Vec<_>>(), told);
    assert_eq!(
        farebox(&["prices", "diff", &old, &old]).status.code(),
        Some(0)
    );
    let nowhere = farebox(&["prices", "diff", &old, "/nowhere.json"]);
    assert_eq!(nowhere.status.code(), Some(2));

    let route = |name: &str, list: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\npath = \"/{name}\"\nupstream = \"http://127.0.0.1:9\"\n\
             price = {{ model_tokens = {{ prices = \"{list}\" }} }}\n"
        )
    };
    let one = write(folder.path(), "one.toml", &route("one", &old));
    let output = farebox(&[
        "prices", "diff", "-c", &one, &new, "--json", "--guard", "10",
    ]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["old"], &said["steep"]), (&old.into(), &true.into()));
    let change = &said["changed"]["a"][0];
    assert_eq!(
        (&change["what"], &change["steep"]),
        (&"output".into(), &true.into())
    );
    let routes = route("one", &new) + &route("two", &new.replace("new.json", "old.json"));
    let two = write(folder.path(), "two.toml", &routes);
    let several = farebox(&["prices", "diff", "-c", &two, &new]);
    assert_eq!(several.status.code(), Some(2));
    let which = farebox(&["prices", "diff", "-c", &two, "--route", "one", &new]);
    assert_eq!(which.status.code(), Some(0), "{}", stderr(&which));
}
