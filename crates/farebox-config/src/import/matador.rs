//! matador's `.env`: one upstream, one Lightning Address, prices in the code. What it sold is sold on:
//! chat, pictures, embeddings and the list of models; the first three by what they use.

mod models;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use farebox_core::Msat;

use super::{ImportError, Imported, lightning_address};
use crate::choice::{Amount, HeaderText, PathMatch, PriceSetting};
use crate::file::{ConfigFile, ModelTokensTable, RatesSection, RouteSection, ServerSection};

/// What matador charged for the list of models.
const MODELS_MSAT: u64 = 1_000;
/// Where matador listened.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 8080);

/// Turns a `.env` of matador into a configuration.
///
/// # Errors
/// [`ImportError`] when it is not one.
pub fn import(text: &str) -> Result<Imported, ImportError> {
    let mut settings = parse_env(text)?;
    if !["API_ROOT", "API_KEY", "LN_ADDRESS"]
        .iter()
        .any(|key| settings.contains_key(*key))
    {
        return Err(ImportError::NoMatador);
    }
    let mut notes = fixed_notes();
    let address = settings
        .remove("LN_ADDRESS")
        .filter(|address| !address.is_empty());
    let upstream = upstream(settings.remove("API_ROOT"), &mut notes);
    note_rest(settings, &mut notes);
    let file = ConfigFile {
        server: ServerSection {
            listen: LISTEN,
            ..ServerSection::default()
        },
        lightning: Some(lightning_address(address.as_deref(), &mut notes)),
        rates: RatesSection {
            live: vec!["usd".to_owned()],
            ..RatesSection::default()
        },
        model: models::models(),
        route: vec![list(&upstream), calls(&upstream)],
        ..ConfigFile::default()
    };
    Ok(Imported { file, notes })
}

fn fixed_notes() -> Vec<String> {
    [
        "rates: a bitcoin costs what public sources say now; matador took it for 25,000 USD for good \
         (28,000 says its README). To keep that, replace `live = [\"usd\"]` by `fixed = { usd = \"25000\" }`",
        "model: matador's models at its prices of 2023. For others and for today's prices: `farebox \
         prices import models.dev api.json --only 'openai/*' -o prices.json` with what \
         https://models.dev/api.json says, `model_tokens = { prices = \"prices.json\" }`, and delete \
         the [[model]] tables, which win over every list",
        "chat: charged by the tokens read and written, each at matador's price; matador charged twice \
         the prompt and at least a thousand tokens. What is not used of a payment buys further calls",
        "embeddings: charged by their tokens; matador charged at least 1,000 msat",
        "images: by size, 256x256, 512x512 or any other; a request that names no model is for dall-e-2",
        "models: the list costs 1,000 msat as with matador; without the route \"models\" it is free, as \
         is one model, /v1/models/{model}, which matador sold for 21,000 msat like every other path",
        "cors: no page of another origin may call it; matador's last version let all of them: write `cors = \
         { origins = \"*\" }` to the routes for that",
        "other paths under /v1: not sold. matador sold everything for 21,000 msat, also the files and \
         fine-tuned models of your account; write a route with a price for each path that you mean",
        "server.listen: 0.0.0.0:8080 as matador; Farebox itself would listen on 127.0.0.1:8402",
        "API_KEY: read from the environment when Farebox starts; it is not in the result",
        "tokens.db: tokens sold by matador are runes and are not accepted",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn upstream(root: Option<String>, notes: &mut Vec<String>) -> String {
    let root = root.unwrap_or_else(|| {
        notes.push("API_ROOT is missing; https://api.openai.com was put in its place".to_owned());
        "https://api.openai.com".to_owned()
    });
    root.trim_end_matches('/').to_owned()
}

fn note_rest(settings: BTreeMap<String, String>, notes: &mut Vec<String>) {
    for key in settings.into_keys() {
        match key.as_str() {
            "API_KEY" => {}
            "RUNE_SECRET" => notes.push(
                "RUNE_SECRET: no counterpart; Farebox makes its own secret at the first start"
                    .to_owned(),
            ),
            _ => notes.push(format!("{key}: no counterpart")),
        }
    }
}

fn list(upstream: &str) -> RouteSection {
    let path = PathMatch::Exact {
        exact: "/v1/models".to_owned(),
    };
    let price = Msat::new(MODELS_MSAT).ok().map(Amount);
    route("models", path, upstream, price.map(PriceSetting::Fixed))
}

fn calls(upstream: &str) -> RouteSection {
    let path = PathMatch::Prefix("/v1".to_owned());
    let price = PriceSetting::Models {
        model_tokens: ModelTokensTable::default(),
    };
    route("v1", path, upstream, Some(price))
}

fn route(name: &str, path: PathMatch, upstream: &str, price: Option<PriceSetting>) -> RouteSection {
    let key = HeaderText::Env {
        env: "API_KEY".to_owned(),
        prefix: "Bearer ".to_owned(),
    };
    RouteSection {
        name: name.to_owned(),
        path,
        upstream: upstream.to_owned(),
        headers: BTreeMap::from([("Authorization".to_owned(), key)]),
        price,
        ..RouteSection::default()
    }
}

/// The variables of a `.env` file: `NAME=VALUE`, also with `export`, quotes and comments.
fn parse_env(text: &str) -> Result<BTreeMap<String, String>, ImportError> {
    let mut settings = BTreeMap::new();
    for (place, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line
            .split_once('=')
            .ok_or(ImportError::Env { line: place + 1 })?;
        settings.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
    }
    Ok(settings)
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value
            .strip_prefix(quote)
            .and_then(|rest| rest.split_once(quote));
        if let Some((inner, _)) = inner {
            return inner;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: &str = "# matador\nAPI_KEY='sk-secret'\nexport API_ROOT=\"https://api.openai.com/\"\n\
        LN_ADDRESS=me@example.com # mine\nRUNE_SECRET=abcd\nPORT=80\n";

    #[test]
    fn address_and_upstream_are_taken_over_and_the_key_stays_in_the_environment() {
        let imported = import(ENV).unwrap();
        let lightning = serde_json::to_value(&imported.file.lightning).unwrap();
        assert_eq!(lightning["address"], "me@example.com");
        assert_eq!(imported.file.route[1].upstream, "https://api.openai.com");
        let text = toml::to_string(&imported.file.route[1]).unwrap();
        assert!(text.contains("env = \"API_KEY\"") && !text.contains("sk-secret"));
    }

    #[test]
    fn what_has_no_counterpart_is_listed_without_its_value() {
        let notes = import(ENV).unwrap().notes.join("\n");
        assert!(
            notes.contains("RUNE_SECRET: no counterpart") && notes.contains("PORT: no counterpart")
        );
        assert!(!notes.contains("abcd"));
    }

    #[test]
    fn what_was_sold_otherwise_is_named() {
        let notes = import(ENV).unwrap().notes.join("\n");
        for part in ["25,000 USD", "28,000", "/v1/models/{model}", "cors:"] {
            assert!(notes.contains(part), "{part} in {notes}");
        }
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        assert!(matches!(import("FOO=bar\n"), Err(ImportError::NoMatador)));
        assert!(matches!(
            import("API_ROOT=x\nnonsense\n"),
            Err(ImportError::Env { line: 2 })
        ));
    }
}
