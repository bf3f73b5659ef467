//! Hearing of settlements: one stream of all invoices, from a place in LND's own count of
//! settlements onwards.
//!
//! LND sends nothing, not even the head of its answer, before there is something to tell. So the
//! place asked for is one before the last that is known: that settlement comes again at once, is
//! passed over, and proves that the stream works. Where there is none, a moment without a refusal
//! has to do.

use std::time::Duration;

use async_trait::async_trait;
use http::Method;
use serde::Deserialize;

use super::Lnd;
use super::answer::{self, Denial, InvoiceJson};
use crate::answer::JudgeAnswer;
use crate::lenient::OneOfMany;
use crate::{AnswerFault, NodeError, Settlement, SettlementCursor, WatchEvent, WatchSettlements};
use farebox_http::client::{Lines, TrustedClient};

/// LND refuses at once; whoever was not refused for so long is heard.
const SILENT_CONSENT: Duration = Duration::from_secs(1);

/// Among so many of the newest invoices the last settlement is looked for where none is known.
const NEWEST: u32 = 100;

#[derive(Deserialize)]
struct ListJson {
    #[serde(default)]
    invoices: Vec<OneOfMany<InvoiceJson>>,
}

#[async_trait]
impl WatchSettlements for Lnd {
    /// Where there is no cursor, settlements since the newest one that was found at first count as
    /// new, so that none is lost between two connections.
    async fn watch(
        &self,
        after: Option<SettlementCursor>,
        sink: &mut (dyn FnMut(WatchEvent) + Send),
    ) -> Result<(), NodeError> {
        let mut listener = Listener {
            lnd: self,
            replayed: 0,
            sink,
            listening: false,
        };
        let after = match after {
            Some(SettlementCursor(index)) => index,
            None => listener.begin().await?,
        };
        let lines = listener.subscribe(after).await?;
        listener.listen(lines).await
    }
}

/// One connection, the caller's sink, and what it was told.
struct Listener<'a> {
    lnd: &'a Lnd,
    /// The settlement that comes again, as the first; zero for none.
    replayed: u64,
    sink: &'a mut (dyn FnMut(WatchEvent) + Send),
    listening: bool,
}

impl Listener<'_> {
    /// Where to begin without a place: at the newest settlement there was when this was asked for
    /// the first time. Where there was none to go on from, what has been settled since is told from
    /// the list itself.
    async fn begin(&mut self) -> Result<u64, NodeError> {
        let known = &self.lnd.first_settlement;
        if let Some(first) = known.get().filter(|first| **first != 0) {
            return Ok(*first);
        }
        let settled = newest_settled(&self.lnd.node.client).await?;
        let newest = settled.last().map_or(0, InvoiceJson::settle_index);
        if known.set(newest).is_err() {
            for invoice in &settled {
                self.tell(invoice);
            }
        }
        Ok(newest)
    }

    async fn subscribe(&mut self, after: u64) -> Result<Lines, NodeError> {
        // Zero would mean from now on, and whatever follows on the first settlement would be lost.
        let from = if after > 1 { after - 1 } else { after };
        self.replayed = if from < after { after } else { 0 };
        let path = format!("/v1/invoices/subscribe?settle_index={from}");
        let opening = self.lnd.node.client.stream(Method::GET, &path, None);
        tokio::pin!(opening);
        let lines = match tokio::time::timeout(SILENT_CONSENT, &mut opening).await {
            Ok(lines) => lines?,
            Err(_) => {
                self.hear();
                opening.await?
            }
        };
        if lines.status().is_success() {
            self.hear();
            return Ok(lines);
        }
        let answer = lines.collect().await?;
        let denial = answer::check(&answer).err();
        Err(denial.map_or_else(|| answer.bad(AnswerFault::Missing("result")), Denial::into))
    }

    async fn listen(&mut self, mut lines: Lines) -> Result<(), NodeError> {
        while let Some(line) = lines.next().await {
            let line = line?;
            if !may_be_settled(&line) {
                continue;
            }
            let host = self.lnd.node.client.host();
            if let Some(OneOfMany(invoice)) = answer::read_line(host, &line)? {
                match invoice {
                    Some(invoice) => self.tell(&invoice),
                    None => tell_unread(),
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self) {
        if !self.listening {
            self.listening = true;
            (self.sink)(WatchEvent::Listening);
        }
    }

    fn tell(&mut self, invoice: &InvoiceJson) {
        if invoice.state != "SETTLED" {
            return;
        }
        // Only the first can be the replay: a node set up anew counts from the start again.
        let replayed = std::mem::take(&mut self.replayed);
        if replayed != 0 && invoice.settle_index() == replayed {
            return;
        }
        match settlement(invoice) {
            Ok(settlement) => (self.sink)(WatchEvent::Settled(settlement)),
            Err(_) => tell_unread(),
        }
    }
}

/// The others are heard all the same, and this one is found where somebody asks about it.
fn tell_unread() {
    tracing::warn!("LND tells of an invoice in a form that is not read");
}

/// The settled ones among the newest invoices, in the order of settlement.
async fn newest_settled(client: &TrustedClient) -> Result<Vec<InvoiceJson>, NodeError> {
    let path = format!("/v1/invoices?reversed=true&num_max_invoices={NEWEST}");
    let answer = client.get(&path).await?;
    let ListJson { invoices } = answer::read(&answer)?;
    let mut invoices: Vec<_> = invoices.into_iter().filter_map(|one| one.0).collect();
    invoices.retain(|invoice| invoice.state == "SETTLED");
    invoices.sort_by_key(InvoiceJson::settle_index);
    Ok(invoices)
}

fn settlement(invoice: &InvoiceJson) -> Result<Settlement, AnswerFault> {
    let index = invoice.settle_index();
    Ok(Settlement {
        payment_hash: invoice.hash()?,
        asked: invoice.asked(),
        received: invoice.received(),
        cursor: (index != 0).then_some(SettlementCursor(index)),
    })
}

/// New invoices come on the same stream, one for each challenge: they are not worth reading.
fn may_be_settled(line: &[u8]) -> bool {
    const MARK: &[u8] = b"SETTLED";
    line.windows(MARK.len()).any(|part| part == MARK)
}
