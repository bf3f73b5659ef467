//! The door through which wallet stubs pay: `POST /pay {"invoice":"lnbc…"}` is answered with
//! `{"preimage":"<64 hex>"}`, or 422 with `{"error":"…"}`.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::background::{Answer, Background, Body};

/// No BOLT 11 invoice comes near this many bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;

type Pay = dyn Fn(&str) -> Result<String, String> + Send + Sync;

/// A pay endpoint on a free loopback port; dropping it closes the port.
#[derive(Debug)]
pub struct PayEndpoint(Background);

impl PayEndpoint {
    /// Serves `pay`, which turns a BOLT 11 invoice into the preimage in hex, or says why not.
    ///
    /// # Errors
    /// When no port or thread is to be had.
    pub fn start(
        pay: impl Fn(&str) -> Result<String, String> + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let pay: Arc<Pay> = Arc::new(pay);
        let handler = Arc::new(move |request| {
            let pay = Arc::clone(&pay);
            Box::pin(async move { answer(request, &*pay).await }) as _
        });
        Background::start("pay-endpoint", handler).map(Self)
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.0.address()
    }

    /// The URL to post invoices to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/pay", self.address())
    }
}

async fn answer(request: Request<Incoming>, pay: &Pay) -> Answer {
    if request.method() != Method::POST || request.uri().path() != "/pay" {
        return Ok(reply(
            StatusCode::NOT_FOUND,
            &json!({ "error": "POST /pay only" }),
        ));
    }
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY_BYTES)
        .collect()
        .await
    else {
        return Ok(reply(
            StatusCode::PAYLOAD_TOO_LARGE,
            &json!({ "error": "too large" }),
        ));
    };
    let asked: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    Ok(match asked["invoice"].as_str().map(pay) {
        Some(Ok(preimage)) => reply(StatusCode::OK, &json!({ "preimage": preimage })),
        Some(Err(reason)) => reply(
            StatusCode::UNPROCESSABLE_ENTITY,
            &json!({ "error": reason }),
        ),
        None => reply(StatusCode::BAD_REQUEST, &json!({ "error": "no invoice" })),
    })
}

fn reply(status: StatusCode, body: &Value) -> Response<Body> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
