//! One `[[route]]` as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::choice::{
    Amount, CapabilitiesSetting, HeaderText, PathMatch, PriceSetting, ReplaySetting, Texts,
};
use crate::file::{RequestSection, ResponseSection};
use crate::section::{choices, section};
use crate::units::{ByteSize, Lasting, PerPeriod};

section! {
    /// What is sold, for how much, and where requests go.
    #[schemars(extend("required" = ["name", "path", "price", "upstream"]))]
    pub struct RouteSection {
        /// The route's name in tokens, logs and metrics: A-Z, a-z, 0-9, `_` and `-`.
        #[schemars(length(min = 1, max = 64))]
        pub name: String,
        /// Which paths it takes: a prefix such as `"/v1"`, `{ exact = "/x" }` or
        /// `{ regex = "/v[12]/.*" }` (matched against the whole path). Exact wins over a longer
        /// prefix over a shorter one over a regex.
        pub path: PathMatch,
        /// Which host it takes: a name, or `*.example.com`. Default: any.
        pub host: Option<String>,
        /// Where requests go: `http://` or `https://`, host, port, and a path put in front.
        pub upstream: String,
        /// Whether the matched prefix is taken off before the request is forwarded.
        pub strip_prefix: bool,
        /// Headers set on every forwarded request: text, or a secret out of the environment or a
        /// file, such as `{ env = "OPENAI_API_KEY", prefix = "Bearer " }`.
        pub headers: BTreeMap<String, HeaderText>,
        /// Whether the upstream gets the client's `Host` instead of its own.
        pub preserve_host: bool,
        /// HTTP methods it answers; others get 405. Default: all.
        pub http_methods: Option<Vec<String>>,
        /// How it can be paid.
        pub methods: Vec<PaymentMethod> = vec![PaymentMethod::L402],
        /// The price of one request, or of the whole time with `pass`: `"free"`, `{ msat = 2000 }` or
        /// `{ sat = 2 }`. With `calls`, one payment asks for the price times the calls.
        pub price: Option<PriceSetting>,
        /// How many requests one payment buys.
        #[schemars(range(min = 1))]
        pub calls: Option<u32>,
        /// How long one payment buys any number of requests.
        pub pass: Option<Lasting>,
        /// How much one payment deposits; requests draw it down at the price.
        pub balance: Option<Amount>,
        /// What a token is good for: `request` is the method, path, query and body that were
        /// challenged, `route` is any request on the route. Default: `request` for a single call,
        /// `route` for everything else.
        pub bind: Option<BindSetting>,
        /// Whether a token bought for reading can also write.
        pub http_scope: HttpScopeSetting,
        /// How long a token can be spent from its first use on.
        pub valid_for: Lasting = Lasting::seconds(30 * 86_400),
        /// Which answers of the upstream are charged.
        pub charge_on: ChargeOnSetting,
        /// What becomes of the payment when the upstream fails: with `void` it stays on the token for
        /// another attempt; with `cancel` it is only held until the answer is there, and goes back to
        /// the payer otherwise. `cancel` needs a backend that can hold payments, one fixed price for a
        /// single call, and `bind = "request"`.
        pub on_failure: OnFailureSetting,
        /// Whether the document of a 402 carries the invoice and the macaroon as well, for clients that
        /// read only bodies.
        pub challenge_in_body: bool = true,
        /// Whether a person with a browser gets a page with a QR code instead of the bare 402; GET
        /// requests only.
        pub page: bool = true,
        /// How finished answers are kept for clients that lost their connection, or `false`.
        pub replay: ReplaySetting,
        /// How many more requests than the paying account was charged for may cost nothing by the client's own
        /// doing: it left before the first byte, spoilt its own upload, or asked for what is not delivered
        /// yet (304 and the like). The next one is charged. What the upstream fails at never counts.
        pub max_voids: u32 = 3,
        /// The memo of invoices. Default: the route's name.
        pub description: Option<String>,
        /// The longest request body. Default: 1MiB where it goes into a template (`request`), else 8MiB
        /// where tokens are bound to the request, 1GiB where bodies are only streamed through.
        pub max_body: Option<ByteSize>,
        /// How long the upstream may take until its response headers.
        pub timeout: Lasting = Lasting::seconds(600),
        /// How long either side may be silent in the middle of a body.
        pub idle_timeout: Lasting = Lasting::seconds(300),
        /// How long a connection to the upstream may take to be made.
        pub connect_timeout: Lasting = Lasting::seconds(5),
        /// The HTTP version spoken to the upstream.
        pub protocol: ProtocolSetting,
        /// Certificate authorities that the upstream's certificate may come from, PEM, instead of the
        /// public ones.
        pub ca_file: Option<PathBuf>,
        /// Requests that one token, or one key with its children, may have running. Default: no limit.
        #[schemars(range(min = 1))]
        pub max_concurrent: Option<u32>,
        /// Requests that one token, or one key with its children, may make in a period, such as
        /// `"100/1s"`. Default: no limit.
        pub rate: Option<PerPeriod>,
        /// Which pages of other origins may call it. Default: none.
        pub cors: Option<CorsSection>,
        /// What caches are told about paid answers.
        pub cache: CacheSetting,
        /// What may be asked of the route, by name. Tokens carry all of it, and a holder may leave fewer
        /// (`<route>_capabilities=…`); requests that need more are then refused. Default: nothing is named.
        pub capabilities: Option<CapabilitiesSetting>,
        /// How requests are written before they are forwarded. Default: they pass as they came.
        pub request: Option<RequestSection>,
        /// What of the upstream's answers the client gets. Default: all.
        pub response: Option<ResponseSection>,
    }
}

choices! {
    /// How a route can be paid.
    pub enum PaymentMethod {
        /// A Lightning invoice and a macaroon.
        L402,
        /// Ecash in the request: `X-Cashu`, with the change in the answer.
        Cashu,
    }

    /// What a token is good for.
    pub enum BindSetting {
        /// The method, path, query and body that were challenged.
        Request,
        /// Any request on the route.
        Route,
    }

    /// Which HTTP methods a token is good for.
    #[derive(Default)]
    pub enum HttpScopeSetting => farebox_paywall::sale::MethodScope {
        /// Reading or writing, whichever was challenged.
        #[default]
        Class,
        /// All.
        Any,
    }

    /// Which answers of the upstream are charged.
    #[derive(Default)]
    pub enum ChargeOnSetting => farebox_paywall::sale::ChargeOn {
        /// 2xx and 3xx.
        #[default]
        Success,
        /// 4xx as well, save 401, 402, 403 and 407.
        SuccessAndClientError,
        /// Whatever was forwarded, whatever comes back: where the act is what is sold. At a fixed price.
        Forwarded,
    }

    /// What becomes of the payment when the upstream fails.
    #[derive(Default)]
    pub enum OnFailureSetting {
        /// It stays on the token.
        #[default]
        Void,
        /// It goes back to the payer.
        Cancel,
    }

    /// The HTTP version spoken to an upstream.
    #[derive(Default, Hash)]
    pub enum ProtocolSetting => farebox_http::upstream::UpstreamProtocol {
        /// HTTP/1.1 in clear, over TLS what both sides prefer.
        #[default]
        Auto,
        /// HTTP/1.1 only.
        Http1,
        /// HTTP/2 only, in clear with prior knowledge, as gRPC servers expect.
        Http2,
    }

    /// What caches are told about paid answers.
    #[derive(Default)]
    pub enum CacheSetting {
        /// Not to keep them.
        #[default]
        Private,
        /// What the upstream says.
        Upstream,
    }
}

section! {
    /// Which pages of other origins may call a route.
    #[schemars(extend("required" = ["origins"]))]
    pub struct CorsSection {
        /// Origins such as `https://a.example`, or `"*"` for all.
        pub origins: Texts = Texts::Listed(Vec::new()),
        /// Whether pages may send cookies; not with `"*"`.
        pub allow_credentials: bool,
        /// How long browsers may remember the permission.
        pub max_age: Lasting = Lasting::seconds(600),
    }
}
