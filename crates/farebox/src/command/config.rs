//! `farebox config`: check, show, schema, import.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use farebox_config::build::{Lookups, Money, build_text};
use farebox_config::file::ConfigFile;
use farebox_config::import::{Imported, aperture, lsat_proxy, matador};
use farebox_config::load::load;
use farebox_config::{schema, show};
use serde_json::json;

use crate::cli::{CheckArgs, ConfigCommand, ImportArgs, ImportFrom, ShowArgs};
use crate::command::{Failure, context, read};
use crate::output;

/// Runs one of the commands.
pub(crate) fn run(command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Check(args) => check(&args),
        ConfigCommand::Show(args) => show(&args),
        ConfigCommand::Schema => Ok(output::json(schema::whole())?),
        ConfigCommand::Import(args) => import(&args),
    }
}

fn check(args: &CheckArgs) -> Result<(), Failure> {
    let text = read(&args.what.config)?;
    let lookups = if args.no_secrets {
        Lookups::Skipped
    } else {
        Lookups::Real
    };
    let context = context(Money::of(args.what.insecure_test_money), lookups);
    let built = build_text(&text, &context);
    let origin = args.what.config.display().to_string();
    match built {
        Ok(built) if args.what.json => {
            let means = built.describe();
            Ok(output::json(
                &json!({ "ok": true, "mistakes": [], "means": means }),
            )?)
        }
        Ok(built) => {
            let routes = built.file.route.len();
            output::line(format_args!("{origin}: no mistakes, routes: {routes}"))?;
            for line in built.describe() {
                output::line(line)?;
            }
            Ok(())
        }
        Err(mistakes) if args.what.json => {
            output::json(&json!({ "ok": false, "mistakes": mistakes }))?;
            Err(Failure::Reported)
        }
        Err(mistakes) => Err(Failure::Config { origin, mistakes }),
    }
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let loaded = load(&read(&args.config)?);
    if !loaded.mistakes.is_empty() {
        let origin = args.config.display().to_string();
        return Err(Failure::Config {
            origin,
            mistakes: loaded.mistakes,
        });
    }
    let mut shown = show::for_people(&loaded.file, args.resolved).map_err(anyhow::Error::from)?;
    if args.json {
        return Ok(output::json(&shown)?);
    }
    if !args.resolved {
        show::drop_defaults(&mut shown);
    }
    let text = toml::to_string_pretty(&shown).map_err(anyhow::Error::from)?;
    Ok(output::line(text.trim_end())?)
}

fn import(args: &ImportArgs) -> Result<(), Failure> {
    let text = read(&args.file)?;
    let (name, imported) = match args.from {
        ImportFrom::Matador => ("matador", matador::import(&text)),
        ImportFrom::LsatProxy => ("lsat-proxy", lsat_proxy::import(&text)),
        ImportFrom::Aperture => ("aperture", aperture::import(&text)),
    };
    let Imported { file, notes } = imported.map_err(|error| {
        anyhow::Error::from(error).context(format!("{}: not a {name} file", args.file.display()))
    })?;
    let toml = render(name, &file)?;
    match &args.output {
        Some(path) => write_private(path, &toml)?,
        None => output::line(toml.trim_end())?,
    }
    notes.iter().for_each(output::note);
    report(&toml)
}

fn render(name: &str, file: &ConfigFile) -> Result<String, Failure> {
    let mut data = show::data(file).map_err(anyhow::Error::from)?;
    show::drop_defaults(&mut data);
    let toml = toml::to_string_pretty(&data).map_err(anyhow::Error::from)?;
    Ok(format!(
        "# Made by `farebox config import {name}`. Every key: `farebox config schema`.\n\n{toml}"
    ))
}

/// What the imported file still needs is said at once.
fn report(toml: &str) -> Result<(), Failure> {
    let mistakes = build_text(toml, &context(Money::Real, Lookups::Skipped))
        .err()
        .unwrap_or_default();
    if mistakes.is_empty() {
        return Ok(());
    }
    Err(Failure::Config {
        origin: "the imported configuration".to_owned(),
        mistakes,
    })
}

/// The result may hold keys that stood in the clear.
fn write_private(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |source| Failure::Write {
        path: path.to_owned(),
        source,
    };
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
