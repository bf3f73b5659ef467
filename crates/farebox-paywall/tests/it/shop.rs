//! A seller with a ledger, a node and a keyring, and what buyers do: they ask, pay and ask again.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use farebox_core::{
    Clock, HoldId, KeyHash, Kind, Msat, Preimage, RequestDigest, RequestId, RouteName, Secret,
    UnixMillis,
};
use farebox_http::body_budget::Holder;
use farebox_http::client_addr::AddressPrefix;
use farebox_http::drain::Drain;
use farebox_http::limits::{ChallengeRates, Rate};
use farebox_ledger::{
    AccountName, ChargeQuery, ChargeView, HeldLimits, KeyLimits, OpenChild, OpenKey, OpenOptions,
    Opened, TopUpBy,
};
use farebox_lightning::AmountLimits;
use farebox_lightning::backends::{Backends, NamedBackend};
use farebox_lightning::follow::Settlements;
use farebox_lightning::mock::MockOptions;
use farebox_paywall::admit::{Admission, Debt, Payment, Verdict};
use farebox_paywall::ask::{Ask, BodyFacts, Fingerprint, PaymentRules};
use farebox_paywall::challenge::{Challenge, Offered, ToHold};
use farebox_paywall::credential::{Presented, Reader};
use farebox_paywall::due::Due;
use farebox_paywall::error::{EcashError, Error, Owed};
use farebox_paywall::gauge::{Ending, Form};
use farebox_paywall::keyring::Keyring;
use farebox_paywall::keys::KeySecret;
use farebox_paywall::payer::{Credential, Known, Payer};
use farebox_paywall::price::Quote;
use farebox_paywall::sale::Sale;
use farebox_paywall::settle::Settlement;
use farebox_paywall::{Parts, Paywall};
use farebox_testkit::ManualClock;
use farebox_testkit::mock_node::TestNode;
use farebox_wire::macaroon::Macaroon;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use sha2::{Digest, Sha256};

/// How long an invoice can be paid.
pub(crate) const EXPIRY: Duration = Duration::from_secs(600);
/// Behind the node's preimages, so that another node can have the same.
const NODE: [u8; 32] = [7; 32];

/// How many calls may wait for their payment.
const ROOM: HeldLimits = HeldLimits {
    max_calls: 1,
    max_bytes: 1_000,
};

/// A seller.
pub(crate) struct Shop {
    pub(crate) paywall: Paywall,
    pub(crate) node: Arc<TestNode>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) rules: PaymentRules,
    reader: Reader,
    _drain: Drain,
    _folder: tempfile::TempDir,
}

/// A request, and what it is paid with.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) route: RouteName,
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) headers: HeaderMap,
    body: Bytes,
    sha256: [u8; 32],
    pays: Option<String>,
}

/// A token that was paid for.
pub(crate) struct Bought {
    pub(crate) macaroon: Macaroon,
    pub(crate) preimage: Preimage,
    /// What was paid, in msat.
    pub(crate) paid: u64,
}

/// What became of a payment, in msat: it was charged, is held, or is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Books {
    pub(crate) charged: u64,
    pub(crate) held: u64,
    pub(crate) left: u64,
}

/// What came of a request. What was held for it has gone back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Free,
    Pass,
    Accepted,
    /// So many msat were held.
    Held(u64),
    /// It was charged so many msat before.
    Finished(u64),
    Owed(Owed),
}

fn stranger() -> Holder {
    Holder::Stranger(AddressPrefix::of(Ipv4Addr::LOCALHOST.into()))
}

impl Shop {
    /// A seller whose node takes every amount, and who makes as many invoices as are asked for.
    pub(crate) fn open() -> Self {
        Self::with(AmountLimits::ANY, 10_000)
    }

    /// A seller whose node takes such amounts, and who makes `challenges` invoices an hour.
    pub(crate) fn with(limits: AmountLimits, challenges: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::<ManualClock>::default();
        let node = Arc::new(node(&clock, limits));
        let options = OpenOptions::new(folder.path().join("farebox.db"), as_clock(&clock));
        let secret = folder.path().join("farebox.secret");
        let hour = Duration::from_secs(3600);
        let rate = Rate::new(NonZeroU32::MIN, hour, NonZeroU32::new(challenges).unwrap());
        let (drain, signal) = Drain::new();
        let parts = Parts {
            ledger: farebox_ledger::open(&options).unwrap().0,
            keyring: Arc::new(Keyring::open(&secret, None, clock.now()).unwrap()),
            clock: as_clock(&clock),
            settlements: Settlements::new(),
            challenges: ChallengeRates {
                per_prefix: rate,
                global: rate,
            },
            drain: signal,
        };
        let backend = NamedBackend {
            name: "alice".to_owned(),
            node: Arc::new(node.backend()),
        };
        Self {
            paywall: Paywall::new(parts),
            node,
            clock,
            rules: PaymentRules {
                node: Some(Arc::new(Backends::new(vec![backend]).unwrap())),
                mints: Default::default(),
                request_form: Default::default(),
                invoice_expiry: EXPIRY,
                strict_settlement: false,
            },
            reader: Reader::default(),
            _drain: drain,
            _folder: folder,
        }
    }

    /// A key that spends the money of another one, within these limits.
    pub(crate) async fn open_child(&self, parent: KeyHash, limits: KeyLimits) -> KeySecret {
        let child = KeySecret::draw().unwrap();
        let open = OpenChild {
            parent,
            child: child.hash(),
            public_id: child.public_id(),
            limits,
            created_at: self.clock.now(),
            note: None,
        };
        let opened = self.paywall.ledger.open_child(open).await.unwrap();
        assert!(matches!(opened, Opened::Opened(_)), "{opened:?}");
        child
    }

    /// A node that knows the preimages of ours, and whose payments ours has never heard of.
    pub(crate) fn twin(&self) -> TestNode {
        node(&self.clock, AmountLimits::ANY)
    }

    /// What the paywall knows of a request.
    pub(crate) fn ask<'a>(&'a self, sale: &'a Sale, request: &'a Request) -> Ask<'a> {
        let now = self.clock.now();
        Ask {
            rules: &self.rules,
            route: &request.route,
            sale,
            request: RequestId::new(now, serial()),
            hold: HoldId::new(now, serial()),
            received_at: now,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            holder: stranger(),
            thread: 0,
            method: &request.method,
            path: request.path,
            query: None,
            headers: &request.headers,
            body: BodyFacts::Read {
                length: request.body.len() as u64,
                sha256: &request.sha256,
                bytes: Some(&request.body),
            },
        }
    }

    /// Who pays for a request, by what it came with.
    pub(crate) async fn payer(&self, sale: &Sale, request: &Request) -> Result<Payer, Error> {
        let mut headers = HeaderMap::new();
        if let Some(line) = &request.pays {
            headers.insert(AUTHORIZATION, line.parse().unwrap());
        }
        let credential = match self.reader.take(&mut headers, &self.paywall.keyring) {
            Ok(Presented::Nothing) => Credential::None(Owed::Nothing),
            Ok(Presented::L402(token)) => Credential::Token(token),
            Ok(Presented::Key(key)) => Credential::Key(key),
            Ok(Presented::BadKey(fault)) => return Err(fault.into()),
            Ok(Presented::Ecash(text)) => Credential::Ecash(text),
            Ok(Presented::AmbiguousEcash) => return Err(EcashError::Ambiguous.into()),
            Err(error) => Credential::None(Owed::Unproven(error)),
        };
        self.paywall
            .payer(credential, &self.ask(sale, request))
            .await
    }

    /// What a request costs its payer.
    pub(crate) async fn price(
        &self,
        payer: &Payer,
        sale: &Sale,
        request: &Request,
    ) -> Result<Quote, Error> {
        let ask = self.ask(sale, request);
        self.paywall.reads(payer, &ask)?;
        self.paywall.price(payer, &ask).await
    }

    /// From who pays to what is held.
    pub(crate) async fn call(&self, sale: &Sale, request: &Request) -> Result<Verdict, Error> {
        let payer = self.payer(sale, request).await?;
        let quote = self.price(&payer, sale, request).await?;
        let ask = self.ask(sale, request);
        let fingerprint = match payer.knows(ask.headers) {
            Known::Not => Fingerprint::None,
            Known::Told | Known::Exactly => Fingerprint::Whole(request.digest()),
        };
        self.paywall.admit(payer, quote, fingerprint, &ask).await
    }

    /// What comes of a request, if nothing is delivered.
    pub(crate) async fn outcome(&self, sale: &Sale, request: &Request) -> Outcome {
        match self.call(sale, request).await.unwrap() {
            Verdict::Admitted(admission) => match admission.payment {
                Payment::Free => Outcome::Free,
                Payment::Pass { .. } | Payment::FirstOfPass { .. } => Outcome::Pass,
                Payment::Accepted => Outcome::Accepted,
                Payment::Held { hold, .. } => Outcome::Held(hold.charge().get()),
            },
            Verdict::Finished(finished) => Outcome::Finished(finished.receipt.charged.get()),
            Verdict::Owed(debt) => Outcome::Owed(debt.owed),
        }
    }

    /// Why a request is neither admitted nor challenged.
    pub(crate) async fn refusal(&self, sale: &Sale, request: &Request) -> Error {
        match self.call(sale, request).await {
            Ok(_) => panic!("this was not refused"),
            Err(error) => error,
        }
    }

    /// A request that is admitted.
    pub(crate) async fn admission(&self, sale: &Sale, request: &Request) -> Admission {
        match self.call(sale, request).await.unwrap() {
            Verdict::Admitted(admission) => admission,
            Verdict::Finished(_) => panic!("it was served before"),
            Verdict::Owed(debt) => panic!("something is owed: {:?}", debt.owed),
        }
    }

    /// A request for which money is held, forwarded.
    pub(crate) async fn serve(&self, sale: &Sale, request: &Request) -> Settlement {
        forwarded(self.admission(sale, request).await)
    }

    /// What is owed for a request.
    pub(crate) async fn debt(&self, sale: &Sale, request: &Request) -> Result<Debt, Error> {
        match self.call(sale, request).await? {
            Verdict::Owed(debt) => Ok(debt),
            Verdict::Admitted(_) | Verdict::Finished(_) => panic!("nothing is owed"),
        }
    }

    /// What whoever owes something is asked to pay.
    pub(crate) async fn demand(&self, sale: &Sale, request: &Request) -> Result<Challenge, Error> {
        let hold = sale.offer.holds_payment().then(|| ToHold {
            request: request.body.to_vec(),
            limits: ROOM,
        });
        let due = self.due(sale, request).await?;
        let digest = sale.offer.binds_request().then(|| request.digest());
        let ask = self.ask(sale, request);
        let challenge = self.paywall.challenge(due.at_most, digest, hold, &ask);
        challenge.await
    }

    /// What is due for a request. What was sold before and is used up has a price for nobody in
    /// particular.
    async fn due(&self, sale: &Sale, request: &Request) -> Result<Due, Error> {
        let debt = self.debt(sale, request).await?;
        if let Some(due) = debt.due {
            return Ok(due);
        }
        let nobody = Payer::nobody(debt.owed);
        Ok(self.price(&nobody, sale, request).await?.due().unwrap())
    }

    /// The invoice for a request.
    pub(crate) async fn offer(&self, sale: &Sale, request: &Request) -> Box<Offered> {
        match self.demand(sale, request).await.unwrap() {
            Challenge::Invoice(offered) => offered,
            Challenge::Price { .. } => panic!("there is no invoice"),
        }
    }

    /// Pays what is asked for a request.
    pub(crate) async fn buy(&self, sale: &Sale, request: &Request) -> Bought {
        let offered = self.offer(sale, request).await;
        let preimage = self.node.pay(offered.invoice.as_str()).unwrap();
        Bought::of(&offered, preimage)
    }

    /// A prepaid key without money.
    pub(crate) async fn open_key(&self) -> KeySecret {
        let secret = KeySecret::draw().unwrap();
        let open = OpenKey {
            key: secret.hash(),
            public_id: secret.public_id(),
            created_at: self.clock.now(),
            note: None,
        };
        self.paywall.ledger.open_key(open).await.unwrap();
        secret
    }

    /// Pays for a key, without asking whether that has arrived.
    pub(crate) async fn top_up(&self, key: KeyHash, amount: u64) {
        let view = self.paywall.ledger.key(key).await.unwrap().unwrap();
        let invoices = &self.paywall.invoices;
        let invoice = invoices.for_key(
            &self.rules,
            &view,
            TopUpBy::Holder,
            stranger(),
            msat(amount),
        );
        let (invoice, _) = invoice.await.unwrap();
        self.node.pay(&invoice.bolt11).unwrap();
    }

    /// What became of the payment for a token. All of it is somewhere, and the books are right.
    pub(crate) async fn books(&self, bought: &Bought) -> Books {
        let ledger = &self.paywall.ledger;
        ledger.flush().await.unwrap();
        let account = bought.preimage.payment_hash().account();
        let view = ledger.account(account).await.unwrap().unwrap();
        let transfers = ledger.transfers(account, None, 100).await.unwrap();
        let payer = AccountName::Payer(account);
        let spent = transfers.iter().filter(|it| it.debit == payer);
        let charged = spent.map(|it| it.amount.get()).sum();
        // A pass is bought, and no call of it has a receipt.
        if !matches!(view.terms.kind, Kind::Pass(_)) {
            assert_eq!(self.charged(payer).await, charged);
        }
        let books = Books::of(charged, view.balance, view.held);
        self.check(books, bought.paid).await;
        books
    }

    /// The same of all that was deposited on a key.
    pub(crate) async fn key_books(&self, key: KeyHash) -> Books {
        let ledger = &self.paywall.ledger;
        ledger.flush().await.unwrap();
        let view = ledger.key(key).await.unwrap().unwrap();
        let charged = self.charged(AccountName::Key(key)).await;
        assert_eq!(view.spent.get(), charged);
        let books = Books::of(charged, view.balance, view.held);
        self.check(books, view.deposited.get()).await;
        books
    }

    /// The charges of a token, the latest first.
    pub(crate) async fn charges(&self, bought: &Bought) -> Vec<ChargeView> {
        self.paywall.ledger.flush().await.unwrap();
        let account = bought.preimage.payment_hash().account();
        self.charges_of(AccountName::Payer(account)).await
    }

    async fn charges_of(&self, account: AccountName) -> Vec<ChargeView> {
        let query = ChargeQuery {
            account: Some(account),
            ..ChargeQuery::default()
        };
        let page = self.paywall.ledger.charges(query, 100).await.unwrap();
        page.charges
    }

    async fn charged(&self, account: AccountName) -> u64 {
        let charges = self.charges_of(account).await;
        charges.iter().map(|charge| charge.charged.get()).sum()
    }

    async fn check(&self, books: Books, paid: u64) {
        assert_eq!(books.charged + books.held + books.left, paid, "{books:?}");
        let trial = self.paywall.ledger.trial_balance().await.unwrap();
        assert!(trial.is_sound(), "{trial:?}");
    }

    /// Whether anything was ever credited for a token.
    pub(crate) async fn is_credited(&self, bought: &Bought) -> bool {
        let account = bought.preimage.payment_hash().account();
        let view = self.paywall.ledger.account(account).await.unwrap();
        view.is_some()
    }
}

impl Request {
    /// A request for reading.
    pub(crate) fn get(path: &'static str) -> Self {
        Self::of(Method::GET, path, Bytes::new())
    }

    /// A request with a body.
    pub(crate) fn post(path: &'static str, body: impl Into<Bytes>) -> Self {
        Self::of(Method::POST, path, body.into())
    }

    fn of(method: Method, path: &'static str, body: Bytes) -> Self {
        Self {
            route: RouteName::parse("data").unwrap(),
            method,
            path,
            headers: HeaderMap::new(),
            sha256: Sha256::digest(&body).into(),
            body,
            pays: None,
        }
    }

    /// The same with this method.
    pub(crate) fn by(&self, method: Method) -> Self {
        Self {
            method,
            ..self.clone()
        }
    }

    /// The same, paid for with a token.
    pub(crate) fn with(&self, bought: &Bought) -> Self {
        self.paid_by(bought.line(&bought.macaroon))
    }

    /// The same, paid for with a prepaid key.
    pub(crate) fn with_key(&self, key: &KeySecret) -> Self {
        self.paid_by(format!("Bearer {}", key.reveal()))
    }

    /// The same with this `Authorization`.
    pub(crate) fn paid_by(&self, line: String) -> Self {
        Self {
            pays: Some(line),
            ..self.clone()
        }
    }

    /// The same under an idempotency key.
    pub(crate) fn named(&self, key: &'static str) -> Self {
        let mut named = self.clone();
        let name = HeaderName::from_static("idempotency-key");
        named.headers.insert(name, HeaderValue::from_static(key));
        named
    }

    fn digest(&self) -> RequestDigest {
        RequestDigest::of_request(self.method.as_str(), self.path, None, &self.sha256)
    }
}

impl Bought {
    /// A challenge and the proof that it was paid.
    pub(crate) fn of(offered: &Offered, preimage: Preimage) -> Self {
        Self {
            macaroon: offered.macaroon.clone(),
            preimage,
            paid: offered.terms.amount.get(),
        }
    }

    /// The `Authorization` of this token, narrowed or not.
    pub(crate) fn line(&self, macaroon: &Macaroon) -> String {
        let preimage = hex::encode(self.preimage.reveal());
        format!("L402 {}:{preimage}", macaroon.to_base64())
    }

    /// The `Authorization` of this token with one restriction more.
    pub(crate) fn narrowed(&self, caveat: &str) -> String {
        let mut macaroon = self.macaroon.clone();
        macaroon.attenuate(caveat);
        self.line(&macaroon)
    }
}

impl Books {
    fn of(charged: u64, balance: Msat, held: Msat) -> Self {
        Self {
            charged,
            held: held.get(),
            left: balance.saturating_sub(held).get(),
        }
    }
}

/// The money side of the answer to a request for which money is held.
pub(crate) fn forwarded(admission: Admission) -> Settlement {
    match admission.payment {
        Payment::Held { hold, gauge, .. } => to_upstream(Settlement::of(hold, gauge)),
        Payment::FirstOfPass { hold, .. } => to_upstream(Settlement::of(hold, None)),
        Payment::Free | Payment::Pass { .. } | Payment::Accepted => panic!("nothing is held"),
    }
}

fn to_upstream(mut settlement: Settlement) -> Settlement {
    settlement.forwarded(true);
    settlement
}

/// Gives an answer with these header fields and pieces, which ends so, as whoever serves does.
pub(crate) fn answer(
    settlement: &mut Settlement,
    fields: &[(&'static str, &'static str)],
    pieces: &[&'static str],
    ending: Ending,
) {
    let fields = fields.iter().map(|&(name, value)| {
        let value = HeaderValue::from_static(value);
        (HeaderName::from_static(name), value)
    });
    let mut fields = HeaderMap::from_iter(fields);
    let form = settlement.gauge().map(|gauge| {
        gauge.request(&mut HeaderMap::new());
        gauge.head(StatusCode::OK, &mut fields)
    });
    if form == Some(Form::Whole) {
        let (gauge, held) = settlement.read().unwrap();
        if ending == Ending::Complete {
            let whole = gauge.whole(pieces.concat().as_bytes(), held);
            settlement.settle(whole.billed);
        }
    } else {
        for piece in pieces {
            if let Some(gauge) = settlement.gauge() {
                gauge.frame(Bytes::from_static(piece.as_bytes()));
            }
            settlement.went_on();
        }
    }
    settlement.end(ending);
}

pub(crate) fn msat(amount: u64) -> Msat {
    Msat::new(amount).unwrap()
}

/// When something happens so long after `clock`.
pub(crate) fn in_seconds(clock: &ManualClock, seconds: u64) -> UnixMillis {
    clock.now().plus(Duration::from_secs(seconds))
}

fn node(clock: &Arc<ManualClock>, limits: AmountLimits) -> TestNode {
    let options = MockOptions {
        limits,
        secret: Some(Secret::new(NODE)),
        ..MockOptions::new(as_clock(clock))
    };
    TestNode::with_options(options)
}

fn as_clock(clock: &Arc<ManualClock>) -> Arc<dyn Clock> {
    Arc::<ManualClock>::clone(clock)
}

/// Ten bytes that nobody had before.
fn serial() -> [u8; 10] {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let mut random = [0; 10];
    random[2..].copy_from_slice(&SERIAL.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    random
}
