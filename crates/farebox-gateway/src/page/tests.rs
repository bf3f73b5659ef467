use std::time::Duration;

use farebox_core::{Binding, Kind, MethodClass, Msat, RouteName, Terms, TermsEpoch, UnixMillis};

use super::*;

const INVOICE: &str = "lnbc20n1p4srsx5dp523hk6mmjwfhhwfmnypmk2ct5dpjhygrfdcsrcc3724kx60p0vglqpp5ptap2ahvmvllep02es8g8fux3rsdyluvaqapwxyluqrgh073tsnqsp5j59s6k8zevu77qqqqqqqqqqqqpmld4stpg89wam4yr472u0d69kq9qrsgqcqzzsxqzjcrv6ps5h7y8wa5dkurwcpjv2acaf7h2mgxfls3ga5wk625lq69z6qdh9yf77mlulhkpkvc8h0at3p6e7taztr9sqrlkm96qfh9ekr35qqpnyy5e";

fn terms(kind: Kind) -> Terms {
    Terms {
        amount: Msat::new(2_000).unwrap(),
        kind,
        route: RouteName::parse("paid").unwrap(),
        methods: MethodClass::Read,
        binding: Binding::Route,
        epoch: TermsEpoch(1),
        valid_for: Duration::from_secs(3600),
        claim_by: UnixMillis::from_secs(1_800_000_000),
    }
}

fn goods(terms: &Terms, proof: Proof) -> Goods<'_> {
    Goods {
        macaroon: "AgEE\"><script>".to_owned(),
        back: "/a?b=\"&c".to_owned(),
        description: "a <thing>",
        address: "shop.example/a".to_owned(),
        terms,
        price: Msat::new(500).unwrap(),
        each: Each {
            fiat: None,
            is_most: false,
        },
        invoice: INVOICE,
        expires_in: 600,
        proof,
    }
}

/// Reads the drawing as a camera would.
fn scan(svg: &str) -> String {
    const MODULE: usize = 4;
    let side: usize = between(svg, "viewBox=\"0 0 ", " ").parse().unwrap();
    let bars = svg.rsplit_once("<path d=\"").unwrap().1;
    let mut dark = vec![false; side * side];
    for bar in bars.split('z').filter_map(|bar| bar.strip_prefix('M')) {
        let (x, rest) = bar.split_once(' ').unwrap();
        let (y, rest) = rest.split_once('h').unwrap();
        let (width, _) = rest.split_once('v').unwrap();
        let [x, y, width]: [usize; 3] = [x, y, width].map(|number| number.parse().unwrap());
        dark[y * side + x..y * side + x + width].fill(true);
    }
    let shade = |x: usize, y: usize| {
        let is_dark = dark[(y / MODULE) * side + x / MODULE];
        if is_dark { 0 } else { 255 }
    };
    let picture = side * MODULE;
    let mut image = rqrr::PreparedImage::prepare_from_greyscale(picture, picture, shade);
    let grids = image.detect_grids();
    assert_eq!(grids.len(), 1);
    grids[0].decode().unwrap().1
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let rest = text.split_once(start).unwrap().1;
    rest.split_once(end).unwrap().0
}

#[test]
fn the_qr_code_holds_the_invoice() {
    let template::Html(svg) = qr::svg(INVOICE);
    let scanned = scan(&svg);
    assert_eq!(scanned, format!("LIGHTNING:{}", INVOICE.to_uppercase()));
}

#[test]
fn an_invoice_too_long_for_any_code_leaves_the_page_without_one() {
    let template::Html(svg) = qr::svg(&"lnbc1".repeat(900));
    assert_eq!(svg, "");
}

#[test]
fn the_policy_names_exactly_the_script_and_the_style_of_the_page() {
    let terms = terms(Kind::Single);
    let page = payment(&goods(&terms, Proof::Node));
    let policy = POLICY.to_str().unwrap();
    for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
        let text = between(&page, &format!("<{tag}>"), &format!("</{tag}>"));
        let hash = fingerprint(text);
        assert!(
            policy.contains(&format!("{directive} 'sha256-{hash}'")),
            "{tag}"
        );
        assert_eq!(page.matches(&format!("<{tag}")).count(), 1);
    }
    assert!(!page.contains(" style=") && !page.contains(" onclick="));
}

#[test]
fn where_the_node_cannot_tell_the_page_asks_for_the_preimage_and_waits() {
    let terms = terms(Kind::Single);
    let page = payment(&goods(&terms, Proof::Preimage));
    assert!(page.contains("<form class=\"proof\" method=\"post\" action=\"/.farebox/claim\">"));
    assert!(page.contains("name=\"back\" value=\"/a?b=&quot;&amp;c\""));
    assert!(page.contains("value=\"AgEE&quot;&gt;&lt;script&gt;\""));
    assert!(page.contains("data-mode=\"preimage\""));
    assert!(page.contains("<details id=\"by-hand\" open>"));
    assert!(
        !page.contains("http-equiv=\"refresh\""),
        "what is typed would vanish"
    );
    let page = payment(&goods(&terms, Proof::Node));
    assert!(
        page.contains("<details id=\"by-hand\"><summary>"),
        "it is there, but shut"
    );
}

#[test]
fn a_price_in_the_money_of_a_state_is_said_as_it_was_written() {
    let fiat = Some(("usd".parse().unwrap(), "0.0020".parse().unwrap()));
    let page = |kind, is_most| {
        let terms = terms(kind);
        let mut goods = goods(&terms, Proof::Node);
        goods.each = Each { fiat, is_most };
        payment(&goods)
    };
    let single = page(Kind::Single, false);
    assert!(single.contains("\u{2248} 0.002 USD</span>"), "{single}");
    assert!(single.contains("<strong>2 sat</strong>"), "{single}");
    let calls = page(Kind::Calls(3), false);
    assert!(calls.contains("\u{2248} 0.002 USD a request"), "{calls}");
    let metered = page(Kind::Balance, true);
    assert!(metered.contains("\u{2248} at most 0.002 USD a request"));
    assert!(
        metered.contains("a deposit of 2 sat. Each request costs what it uses, at most 0.5 sat")
    );
    let terms = terms(Kind::Single);
    assert!(!payment(&goods(&terms, Proof::Node)).contains('\u{2248}'));
}

#[test]
fn every_place_in_the_templates_is_filled() {
    for kind in [
        Kind::Single,
        Kind::Calls(3),
        Kind::Pass(Duration::from_secs(60)),
        Kind::Balance,
    ] {
        let terms = terms(kind);
        let page = payment(&goods(&terms, Proof::Node));
        assert!(!page.contains("{{") && !page.contains("}}"), "{page}");
    }
}
