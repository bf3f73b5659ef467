//! Providers that answer something else than what they were asked for.

use std::time::Duration;

use farebox_http::client::CallError;
use farebox_lightning::{
    AnswerFault, CreateInvoice, CreatedInvoice, InvoiceFault, Network, NodeError,
};
use lightning_invoice::Currency;
use serde_json::json;

use crate::provider::{Ask, Described, Draft, Provider, Reply, request};

fn invoice_fault(result: Result<CreatedInvoice, NodeError>) -> InvoiceFault {
    let error = result.unwrap_err();
    assert!(!error.is_temporary(), "{error}");
    match error {
        NodeError::BadInvoice(fault) => fault,
        other => panic!("{other}"),
    }
}

fn answer_fault(result: Result<CreatedInvoice, NodeError>) -> AnswerFault {
    let error = result.unwrap_err();
    assert!(!error.is_temporary(), "{error}");
    match error {
        NodeError::BadAnswer { fault, .. } => fault,
        other => panic!("{other}"),
    }
}

fn call_error(result: Result<CreatedInvoice, NodeError>) -> CallError {
    let error = result.unwrap_err();
    assert!(!error.is_temporary(), "{error}");
    match error {
        NodeError::Call(error) => error,
        other => panic!("{other}"),
    }
}

async fn drafted(draft: impl Fn(&Ask) -> Draft + Send + Sync + 'static) -> InvoiceFault {
    invoice_fault(Provider::drafting(draft).await.invoice().await)
}

async fn called_back(reply: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> AnswerFault {
    answer_fault(Provider::calling_back(reply).await.invoice().await)
}

fn raw(status: u16, headers: &[(&'static str, &str)], body: &str) -> Reply {
    let headers = headers
        .iter()
        .map(|(name, value)| (*name, (*value).to_owned()))
        .collect();
    Reply::Raw {
        status,
        headers,
        body: body.into(),
    }
}

#[tokio::test]
async fn an_invoice_of_another_amount_is_refused() {
    let more = drafted(|ask| Draft {
        msat: Some(ask.amount() + 1),
        ..ask.draft()
    })
    .await;
    assert!(
        matches!(more, InvoiceFault::Amount { asked, found } if asked.get() == 2000 && found.get() == 2001)
    );
    let less = drafted(|ask| Draft {
        msat: Some(ask.amount() - 1),
        ..ask.draft()
    })
    .await;
    assert!(matches!(less, InvoiceFault::Amount { .. }));
}

#[tokio::test]
async fn an_invoice_without_an_amount_is_refused() {
    assert_eq!(
        drafted(|ask| Draft {
            msat: None,
            ..ask.draft()
        })
        .await,
        InvoiceFault::Amountless
    );
}

#[tokio::test]
async fn an_invoice_for_other_metadata_is_refused() {
    let other = |ask: &Ask| Draft {
        description: Described::Hash(b"[]".into()),
        ..ask.draft()
    };
    assert_eq!(drafted(other).await, InvoiceFault::DescriptionHash);
}

#[tokio::test]
async fn an_invoice_for_another_network_is_refused() {
    let fault = drafted(|ask| Draft {
        currency: Currency::Regtest,
        ..ask.draft()
    })
    .await;
    assert_eq!(
        fault,
        InvoiceFault::Network {
            asked: Network::Mainnet,
            found: Network::Regtest
        }
    );
}

#[tokio::test]
async fn an_invoice_that_is_over_or_nearly_so_is_refused() {
    let over = drafted(|ask| Draft {
        age: Duration::from_secs(601),
        ..ask.draft()
    })
    .await;
    assert_eq!(over, InvoiceFault::Expired);
    let nearly = drafted(|ask| Draft {
        expiry: Duration::from_secs(29),
        ..ask.draft()
    })
    .await;
    assert_eq!(nearly, InvoiceFault::Expired);
}

#[tokio::test]
async fn something_that_is_no_invoice_is_refused() {
    let provider = Provider::calling_back(|_| Reply::Json(json!({ "pr": "lnbc1nonsense" }))).await;
    assert!(matches!(
        invoice_fault(provider.invoice().await),
        InvoiceFault::Malformed(_)
    ));
    let long = json!({ "pr": "q".repeat(10_000) });
    let provider = Provider::calling_back(move |_| Reply::Json(long.clone())).await;
    assert!(matches!(
        invoice_fault(provider.invoice().await),
        InvoiceFault::TooLong { .. }
    ));
}

#[tokio::test]
async fn a_repeated_payment_hash_is_refused_and_named() {
    let provider = Provider::drafting(|ask| Draft {
        preimage: [7; 32],
        ..ask.draft()
    })
    .await;
    let backend = provider.backend();
    let first = backend.create_invoice(request(2000)).await.unwrap();
    let error = backend.create_invoice(request(3000)).await.unwrap_err();
    assert!(!error.is_temporary());
    assert!(matches!(
        error,
        NodeError::RepeatedPaymentHash { payment_hash } if payment_hash == first.payment_hash
    ));
}

#[tokio::test]
async fn of_two_that_get_the_same_hash_at_once_only_one_keeps_it() {
    let provider = Provider::drafting(|ask| Draft {
        preimage: [7; 32],
        ..ask.draft()
    })
    .await;
    let backend = provider.backend();
    let create = || backend.create_invoice(request(2000));
    let (one, two, three) = tokio::join!(create(), create(), create());
    assert_eq!(
        [one, two, three]
            .iter()
            .filter(|created| created.is_ok())
            .count(),
        1
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    for status in [301, 302, 307, 308] {
        let provider = Provider::start(move |ask| {
            let honest = format!("{}/cb?amount=2000", ask.base);
            match ask.path.as_str() {
                "/cb" if ask.earlier == 0 => raw(status, &[("location", &honest)], ""),
                _ => ask.honest(),
            }
        })
        .await;
        let result = provider.backend().create_invoice(request(2000)).await;
        assert!(matches!(
            call_error(result),
            CallError::Redirect { status: told, .. } if told == status
        ));
        assert_eq!(provider.seen("/cb").len(), 1);
    }
}

#[tokio::test]
async fn a_callback_that_is_not_http_is_not_called() {
    for callback in [
        "ftp://127.0.0.1/cb",
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/cb",
        "unix:/run/x.sock",
        "//127.0.0.1/cb",
        "https://user:password@example.com/cb",
    ] {
        let provider = Provider::stating("callback", json!(callback)).await;
        let error = provider.invoice().await.unwrap_err();
        assert!(!error.to_string().contains("password"));
        let refused = matches!(
            error,
            NodeError::Call(CallError::Url { .. })
                | NodeError::BadAnswer {
                    fault: AnswerFault::Url,
                    ..
                }
        );
        assert!(refused && !error.is_temporary(), "{callback}: {error}");
    }
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let flooding = |ask: &Ask| match ask.path.as_str() {
        "/cb" => Reply::Flood,
        _ => ask.honest(),
    };
    for provider in [
        Provider::start(flooding).await,
        Provider::start(|_| Reply::Flood).await,
    ] {
        let error = call_error(provider.invoice().await);
        assert!(matches!(error, CallError::TooLarge { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_web_page_is_called_one() {
    let page = |_: &Ask| {
        raw(
            200,
            &[("content-type", "text/html; charset=utf-8")],
            "<html>hi",
        )
    };
    assert_eq!(called_back(page).await, AnswerFault::WebPage);
    let provider = Provider::start(page).await;
    assert_eq!(answer_fault(provider.invoice().await), AnswerFault::WebPage);
}

#[tokio::test]
async fn json_under_another_content_type_is_read() {
    let provider = Provider::start(|ask| match ask.honest() {
        Reply::Json(json) => raw(
            200,
            &[("content-type", "application/octet-stream")],
            &json.to_string(),
        ),
        other => other,
    })
    .await;
    assert!(provider.invoice().await.is_ok());
}

#[tokio::test]
async fn what_is_not_json_is_refused() {
    for body in [
        "",
        "not json",
        "[1,2]",
        "{\"pr\":",
        "\"lnbc1\"",
        &"[".repeat(10_000),
    ] {
        let body = body.to_owned();
        let fault = called_back(move |_| raw(200, &[], &body)).await;
        assert!(
            matches!(fault, AnswerFault::Json { .. } | AnswerFault::Missing(_)),
            "{fault}"
        );
    }
}

#[tokio::test]
async fn a_refusal_is_passed_on_with_its_reason() {
    for status in [200, 400, 404] {
        let body = r#"{"status":"ERROR","reason":"no such\nuser"}"#;
        let provider = Provider::start(move |_| raw(status, &[], body)).await;
        let error = provider.invoice().await.unwrap_err();
        assert!(!error.is_temporary());
        assert_eq!(
            error.to_string(),
            format!("{} refused: no such user", provider.address)
        );
    }
}

#[tokio::test]
async fn an_address_that_does_not_exist_is_told_by_its_status() {
    let provider = Provider::start(|_| raw(404, &[], "not found")).await;
    assert_eq!(
        answer_fault(provider.invoice().await),
        AnswerFault::Status(404)
    );
}

#[tokio::test]
async fn parameters_that_are_no_pay_request_are_refused() {
    let provider = Provider::stating("tag", json!("login")).await;
    assert_eq!(answer_fault(provider.invoice().await), AnswerFault::Tag);
    let provider = Provider::stating("maxSendable", json!(1)).await;
    assert_eq!(answer_fault(provider.invoice().await), AnswerFault::Limits);
    let provider = Provider::stating("metadata", json!("[]")).await;
    assert_eq!(
        answer_fault(provider.invoice().await),
        AnswerFault::Metadata
    );
}

#[tokio::test]
async fn a_callback_that_moved_is_found_again() {
    let provider = Provider::start(|ask| match (ask.path.as_str(), ask.earlier) {
        ("/cb", _) => raw(410, &[], "gone"),
        ("/new", _) => ask.draft().reply(),
        (_, 0) => Reply::Json(ask.parameters()),
        _ => {
            let mut parameters = ask.parameters();
            parameters["callback"] = json!(format!("{}/new", ask.base));
            Reply::Json(parameters)
        }
    })
    .await;
    let backend = provider.backend();
    assert!(backend.create_invoice(request(2000)).await.is_err());
    assert!(backend.create_invoice(request(2000)).await.is_ok());
}
