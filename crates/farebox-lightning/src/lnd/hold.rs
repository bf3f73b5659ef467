//! Held payments: LND keeps the payer's HTLCs until we give the preimage or let go. It gives them
//! back by itself some blocks before they expire, so what is left is said in blocks at each look.

use async_trait::async_trait;
use farebox_core::{Msat, PaymentHash, Preimage};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::Lnd;
use super::answer::{self, Denial, InvoiceJson, base64};
use super::invoices::{AddedJson, HeldJson};
use crate::answer::JudgeAnswer;
use crate::{AnswerFault, CreatedInvoice, HoldInvoice, HoldState, InvoiceRequest, NodeError};
use farebox_http::client::Answer;

/// LND's own default for its last hop, about 13 hours: enough for any call, and little to wait for a
/// payer whose money is stuck.
const HOLD_BLOCKS: u32 = 80;

#[derive(Deserialize)]
struct HeightJson {
    block_height: u32,
}

#[async_trait]
impl HoldInvoice for Lnd {
    async fn create_hold_invoice(
        &self,
        hash: PaymentHash,
        request: InvoiceRequest,
    ) -> Result<CreatedInvoice, NodeError> {
        self.node.limits.check(request.amount)?;
        let mut body = self.invoice_json(&request);
        body.held = Some(HeldJson {
            hash: base64(hash.as_bytes()),
            cltv_expiry: HOLD_BLOCKS.to_string(),
        });
        let answer = self
            .node
            .client
            .post_json("/v2/invoices/hodl", &body)
            .await?;
        let added: AddedJson = answer::read(&answer)?;
        let created = self
            .node
            .rules
            .check_own(&request, &added.payment_request)?;
        if created.payment_hash == hash {
            Ok(created)
        } else {
            Err(answer.bad(AnswerFault::OtherInvoice))
        }
    }

    async fn hold_state(&self, hash: PaymentHash) -> Result<HoldState, NodeError> {
        let Some((invoice, answer)) = self.find_invoice(hash).await? else {
            return Ok(HoldState::Unknown);
        };
        let bad = |fault| answer.bad(fault);
        match invoice.state.as_str() {
            "OPEN" => Ok(HoldState::Open),
            "CANCELED" => Ok(HoldState::Canceled),
            "SETTLED" => Ok(HoldState::Settled {
                received: invoice.received(),
            }),
            "ACCEPTED" => accepted(&invoice, self.block_height().await?).map_err(bad),
            _ => Err(bad(AnswerFault::Missing("state"))),
        }
    }

    async fn wait_while_open(&self, hash: PaymentHash) -> Result<HoldState, NodeError> {
        match self.hold_state(hash).await? {
            HoldState::Open => self.wait_for_change(hash).await?,
            known => return Ok(known),
        }
        self.hold_state(hash).await
    }

    async fn settle_invoice(&self, preimage: Preimage) -> Result<(), NodeError> {
        let body = json!({ "preimage": base64(preimage.reveal()) });
        let answer = self
            .node
            .client
            .post_json("/v2/invoices/settle", &body)
            .await?;
        let settled = |state| matches!(state, HoldState::Settled { .. });
        self.unless(preimage.payment_hash(), settled, &answer).await
    }

    async fn cancel_invoice(&self, hash: PaymentHash) -> Result<(), NodeError> {
        let body = json!({ "payment_hash": base64(hash.as_bytes()) });
        let answer = self
            .node
            .client
            .post_json("/v2/invoices/cancel", &body)
            .await?;
        let canceled = |state| matches!(state, HoldState::Canceled);
        self.unless(hash, canceled, &answer).await
    }
}

impl Lnd {
    async fn block_height(&self) -> Result<u32, NodeError> {
        let answer = self.node.client.get("/v1/getinfo").await?;
        let info: HeightJson = answer::read(&answer)?;
        Ok(info.block_height)
    }

    /// The stream begins with the state at this moment, so no change falls between.
    async fn wait_for_change(&self, hash: PaymentHash) -> Result<(), NodeError> {
        let path = format!("/v2/invoices/subscribe/{}", answer::base64_for_path(hash));
        let mut lines = self.node.client.stream(Method::GET, &path, None).await?;
        if !lines.status().is_success() {
            let answer = lines.collect().await?;
            return Ok(answer::check(&answer)?);
        }
        while let Some(line) = lines.next().await {
            match answer::read_line::<InvoiceJson>(self.node.client.host(), &line?)? {
                Some(invoice) if invoice.state == "OPEN" => {}
                _ => return Ok(()),
            }
        }
        Ok(())
    }

    /// A refusal counts for nothing where the invoice is already what it was to become.
    async fn unless(
        &self,
        hash: PaymentHash,
        is_done: impl Fn(HoldState) -> bool,
        answer: &Answer,
    ) -> Result<(), NodeError> {
        let Err(denial) = answer::check(answer) else {
            return Ok(());
        };
        let may_be_done = matches!(denial, Denial::Refused(_) | Denial::Exists(_));
        if may_be_done && is_done(self.hold_state(hash).await?) {
            return Ok(());
        }
        Err(denial.into())
    }
}

/// The HTLC that expires first decides.
fn accepted(invoice: &InvoiceJson, height: u32) -> Result<HoldState, AnswerFault> {
    let htlcs = invoice
        .htlcs
        .as_deref()
        .ok_or(AnswerFault::Missing("htlcs"))?;
    let held = || htlcs.iter().filter(|htlc| htlc.state == "ACCEPTED");
    let received: u64 = held().fold(0, |sum, htlc| sum.saturating_add(htlc.amt_msat.0));
    let first_expiry = held().map(|htlc| htlc.expiry_height.0).min();
    Ok(HoldState::Accepted {
        received: Msat::new(received).map_err(|_| AnswerFault::Missing("amt_msat"))?,
        blocks_left: first_expiry.unwrap_or(0).saturating_sub(height),
    })
}
