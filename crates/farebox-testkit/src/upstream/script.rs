//! From a path to a behaviour. The table stands in the header of the parent module.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::record::RecordedRequest;
use super::{State, body, openai};
use crate::background::{Answer, Body, Cut};

/// Bodies that are echoed or parsed are read up to here; `/digest` takes any length.
const MAX_KEPT_BODY_BYTES: usize = 16 * 1024 * 1024;

const SCRIPTS: [&str; 16] = [
    "status",
    "challenge",
    "gate",
    "hang",
    "refuse",
    "cut",
    "cut-chunked",
    "stream",
    "large",
    "digest",
    "upgrade",
    "cacheable",
    "hop",
    "trailers",
    "say",
    "v1",
];

pub(super) async fn answer(request: Request<Incoming>, state: &State) -> Answer {
    let (parts, incoming) = request.into_parts();
    let recorded = RecordedRequest::of(&parts);
    let path = parts.uri.path().to_owned();
    state.records.add(&path, recorded.clone());
    let request = Request::from_parts(parts, incoming);

    let words = script(&path);
    let number = |at: usize| {
        words
            .get(at)
            .and_then(|word| word.parse::<u64>().ok())
            .unwrap_or(0)
    };
    let name = words.get(1).copied().unwrap_or_default();
    Ok(match words.first().copied().unwrap_or_default() {
        "status" => with_status(number(1)),
        "challenge" => challenge(number(1)),
        "gate" => gate(state, name).await,
        "hang" => std::future::pending().await,
        "refuse" => return Err(Cut),
        "cut" => cut(number(1), number(2)),
        "cut-chunked" => Response::new(body::breaking_off(number(1))),
        "stream" => stream(state, name, request.uri().query()),
        "say" => say(&keep(request.into_body()).await?),
        "large" => large(number(1), request.uri().query() == Some("length")),
        "digest" => digest(request.into_body()).await?,
        "upgrade" => upgrade(request),
        "cacheable" => cacheable(state.records.count(&path)),
        "hop" => hop(),
        "trailers" => trailers(),
        "v1" => {
            let method = request.method().clone();
            let body = keep(request.into_body()).await?;
            state.note_asked(body.clone());
            let told = state.busy.answer(&path);
            let told = told.or_else(|| state.told.answer(&path, &body));
            told.unwrap_or_else(|| openai::answer(&method, &path, &body))
        }
        _ => echo(&recorded, &keep(request.into_body()).await?),
    })
}

/// The segments of `path` from the first one that names a script.
fn script(path: &str) -> Vec<&str> {
    path.split('/')
        .skip_while(|segment| !SCRIPTS.contains(segment))
        .collect()
}

async fn keep(incoming: Incoming) -> Result<Bytes, Cut> {
    let kept = Limited::new(incoming, MAX_KEPT_BODY_BYTES).collect().await;
    kept.map(http_body_util::Collected::to_bytes)
        .map_err(|_| Cut)
}

fn echo(request: &RecordedRequest, body: &[u8]) -> Response<Body> {
    let (path, query) = match request.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.target.as_str(), None),
    };
    let reply = json!({
        "method": request.method,
        "path": path,
        "query": query,
        "version": request.version,
        "headers": request.headers,
        "body": String::from_utf8_lossy(body),
        "body_base64": STANDARD.encode(body),
    });
    openai::json_reply(StatusCode::OK, &reply)
}

fn with_status(code: u64) -> Response<Body> {
    let code = u16::try_from(code)
        .ok()
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = code.unwrap_or(StatusCode::NOT_FOUND);
    let mut response = Response::new(body::whole(format!("status {}", status.as_u16())));
    if status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED {
        response = Response::new(body::whole(""));
    }
    if status.is_redirection() {
        response
            .headers_mut()
            .insert(header::LOCATION, HeaderValue::from_static("/elsewhere"));
    }
    *response.status_mut() = status;
    response
}

/// What a paywalled or misconfigured upstream says: none of it may reach a buyer.
fn challenge(code: u64) -> Response<Body> {
    let mut response = with_status(code);
    *response.body_mut() = body::whole("upstream-secret: pay the upstream instead");
    let fields = [
        (
            "www-authenticate",
            "L402 macaroon=\"dXBzdHJlYW0=\", invoice=\"lnbcupstream\"",
        ),
        ("proxy-authenticate", "Basic realm=\"upstream-secret\""),
        ("x-cashu", "creqAupstream"),
        ("payment-receipt", "upstream-receipt"),
    ];
    insert(response.headers_mut(), &fields);
    response
}

async fn gate(state: &State, name: &str) -> Response<Body> {
    drop(state.gate(name).acquire().await);
    Response::new(body::whole("the gate is open"))
}

fn cut(sent: u64, declared: u64) -> Response<Body> {
    let mut response = Response::new(body::breaking_off(sent));
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, declared.into());
    response
}

fn stream(state: &State, name: &str, query: Option<&str>) -> Response<Body> {
    let Some(body) = state.streams.take(name) else {
        return with_status(404);
    };
    let mut response = Response::new(body);
    let fields = [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache"),
    ];
    insert(response.headers_mut(), &fields);
    let pairs = query.into_iter().flat_map(|query| query.split('&'));
    for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = pair {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// What a test wants to be answered, in full.
#[derive(serde::Deserialize)]
#[serde(default)]
struct Said {
    status: u16,
    headers: Vec<(String, String)>,
    trailers: Vec<(String, String)>,
    body: String,
    /// The body, where it is no text.
    body_base64: Option<String>,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            trailers: Vec::new(),
            body: "said".to_owned(),
            body_base64: None,
        }
    }
}

fn say(asked: &[u8]) -> Response<Body> {
    let said: Said = serde_json::from_slice(asked).unwrap_or_default();
    let mut trailers = HeaderMap::new();
    for (name, value) in &said.trailers {
        append(&mut trailers, name, value);
    }
    let decoded = said.body_base64.map(|text| STANDARD.decode(text));
    let bytes = match decoded {
        Some(Ok(bytes)) => bytes,
        _ => said.body.into_bytes(),
    };
    let body = if trailers.is_empty() {
        body::whole(bytes)
    } else {
        body::with_trailers(bytes, trailers)
    };
    let mut response = with_status(said.status.into());
    *response.body_mut() = body;
    response.headers_mut().remove(header::LOCATION);
    for (name, value) in &said.headers {
        append(response.headers_mut(), name, value);
    }
    response
}

fn append(headers: &mut HeaderMap, name: &str, value: &str) {
    let pair = (HeaderName::try_from(name), HeaderValue::try_from(value));
    if let (Ok(name), Ok(value)) = pair {
        headers.append(name, value);
    }
}

fn large(length: u64, declared: bool) -> Response<Body> {
    let mut response = Response::new(body::patterned(length));
    if declared {
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
    }
    response
}

async fn digest(mut incoming: Incoming) -> Result<Response<Body>, Cut> {
    let mut hasher = Sha256::new();
    let mut bytes = 0;
    while let Some(frame) = incoming.frame().await {
        if let Ok(data) = frame.map_err(|_| Cut)?.into_data() {
            hasher.update(&data);
            bytes += data.len();
        }
    }
    let reply = json!({ "bytes": bytes, "sha256": hex::encode(hasher.finalize()) });
    Ok(openai::json_reply(StatusCode::OK, &reply))
}

fn upgrade(request: Request<Incoming>) -> Response<Body> {
    let Some(protocol) = request.headers().get(header::UPGRADE).cloned() else {
        return with_status(426);
    };
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
            drop(tokio::io::copy(&mut read, &mut write).await);
            drop(tokio::io::AsyncWriteExt::shutdown(&mut write).await);
        }
    });
    let mut response = with_status(101);
    *response.body_mut() = body::whole("");
    insert(response.headers_mut(), &[("connection", "upgrade")]);
    response.headers_mut().insert(header::UPGRADE, protocol);
    response
}

fn cacheable(count: usize) -> Response<Body> {
    let mut response = Response::new(body::whole(format!("answer {count}")));
    let fields = [
        ("cache-control", "public, max-age=3600"),
        ("etag", "\"v1\""),
        ("expires", "0"),
    ];
    insert(response.headers_mut(), &fields);
    response
}

fn hop() -> Response<Body> {
    let mut response = Response::new(body::whole("hop"));
    let fields = [
        ("connection", "x-only-here"),
        ("x-only-here", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("set-cookie", "a=1"),
        ("x-kept", "yes"),
    ];
    insert(response.headers_mut(), &fields);
    response
}

fn trailers() -> Response<Body> {
    let mut trailers = HeaderMap::new();
    insert(&mut trailers, &[("x-checksum", "abc")]);
    let mut response = Response::new(body::with_trailers("with trailers", trailers));
    insert(response.headers_mut(), &[("trailer", "x-checksum")]);
    response
}

fn insert(headers: &mut HeaderMap, fields: &[(&'static str, &'static str)]) {
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::script;

    #[test]
    fn a_script_is_found_behind_any_prefix() {
        assert_eq!(script("/status/500"), ["status", "500"]);
        assert_eq!(script("/paid/v2/gate/a"), ["gate", "a"]);
        assert!(script("/anything/else").is_empty());
    }
}
