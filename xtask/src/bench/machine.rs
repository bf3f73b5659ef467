//! On what the figures were measured.

use std::path::Path;
use std::process::Command;

use super::nginx;

/// Lines about the machine and the programs.
pub(crate) fn describe(binary: &Path) -> Vec<(&'static str, String)> {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let cpu = || {
        let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
        let line = info.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    vec![
        ("cores", cores.to_string()),
        ("CPU", cpu().unwrap_or_default()),
        ("kernel", said("uname", &["-sr"])),
        ("file system", said("stat", &["-f", "-c", "%T", "."])),
        ("nginx", said(nginx::program(), &["-v"])),
        ("farebox", said(&binary.to_string_lossy(), &["--version"])),
        ("load before", load.split_whitespace().take(1).collect()),
    ]
}

/// The first line that a program writes, to wherever.
fn said(program: &str, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else {
        return "?".to_owned();
    };
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}
