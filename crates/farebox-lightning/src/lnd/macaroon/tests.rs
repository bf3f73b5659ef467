use super::*;

/// What LND 0.20.1 wrote on a regtest chain as `invoice.macaroon`.
const INVOICE_MACAROON: &str = concat!(
    "0201036c6e640258030a10c233dcbf13498e462599e5789955a8e51201301a160a076164647265737312",
    "0472656164120577726974651a170a08696e766f69636573120472656164120577726974651a0f0a076f",
    "6e636861696e12047265616400000620327a38eb7eacb0aeae3b72dbb2bc059e59898dbbc88b6402bf18",
    "385e55460920",
);

fn listed(macaroon: &Macaroon) -> (Vec<String>, Vec<String>) {
    match macaroon.access() {
        Access::Listed {
            permissions,
            conditions,
        } => (
            permissions.iter().map(Permission::name).collect(),
            conditions,
        ),
        Access::Unknown => panic!("not understood"),
    }
}

fn field(number: u8, value: &[u8]) -> Vec<u8> {
    let length = u8::try_from(value.len()).unwrap();
    [&[number, length], value].concat()
}

fn protobuf(number: u8, value: &[u8]) -> Vec<u8> {
    field(number << 3 | 2, value)
}

/// A macaroon as LND writes it, its signature left blank.
fn written(operations: &[(&str, &[&str])], conditions: &[&str]) -> Vec<u8> {
    let mut identifier = vec![BAKERY_VERSION];
    identifier.extend(protobuf(1, &[7; 16]));
    identifier.extend(protobuf(2, b"0"));
    for (entity, actions) in operations {
        let mut operation = protobuf(1, entity.as_bytes());
        for action in *actions {
            operation.extend(protobuf(2, action.as_bytes()));
        }
        identifier.extend(protobuf(3, &operation));
    }
    let mut packet = vec![2];
    packet.extend(field(1, b"lnd"));
    packet.extend(field(2, &identifier));
    packet.push(0);
    for condition in conditions {
        packet.extend(field(2, condition.as_bytes()));
        packet.push(0);
    }
    packet.push(0);
    packet.extend(field(6, &[0; 32]));
    packet
}

fn access(operations: &[(&str, &[&str])]) -> Access {
    Macaroon::read(&written(operations, &[])).unwrap().access()
}

#[test]
fn the_invoice_macaroon_of_lnd_receives_and_does_nothing_else() {
    let macaroon = Macaroon::read(INVOICE_MACAROON.as_bytes()).unwrap();
    let (permissions, conditions) = listed(&macaroon);
    assert_eq!(
        permissions,
        [
            "address:read",
            "address:write",
            "invoices:read",
            "invoices:write",
            "onchain:read"
        ]
    );
    assert!(conditions.is_empty());
    assert!(macaroon.access().allows(&Need::RECEIVING));
    assert!(!macaroon.access().allows(&Need::PAYING));
    assert!(!macaroon.access().allows(&Need::HOLDING));
}

#[test]
fn the_file_and_its_text_in_hex_are_the_same_macaroon() {
    let binary = hex::decode(INVOICE_MACAROON).unwrap();
    let text = format!(" {}\n", INVOICE_MACAROON.to_uppercase());
    for written in [binary.as_slice(), text.as_bytes()] {
        let read = Macaroon::read(written).unwrap();
        assert_eq!(read.to_hex().reveal(), INVOICE_MACAROON);
    }
}

#[test]
fn permissions_by_method_count_like_the_general_ones() {
    let by_method: &[&str] = &[
        "/routerrpc.Router/SendPaymentV2",
        "/routerrpc.Router/TrackPaymentV2",
    ];
    assert!(access(&[("uri", by_method)]).allows(&Need::PAYING));
    let half = access(&[("uri", &by_method[..1])]);
    let missing: Vec<_> = half.missing(&Need::PAYING).iter().map(Need::name).collect();
    assert_eq!(missing, ["offchain:read"]);
    assert!(access(&[("offchain", &["read", "write"])]).allows(&Need::PAYING));
    assert!(!access(&[("offchain", &["read"])]).allows(&Need::PAYING));
    assert!(
        !access(&[("offchain:write", &["read"]), ("write", &["offchain"])]).allows(&Need::PAYING)
    );
}

#[test]
fn conditions_are_told_by_their_first_word_only() {
    let conditions = ["time-before 2030-01-01T00:00:00Z", "ipaddr 10.0.0.1"];
    let bytes = written(&[("invoices", &["read"])], &conditions);
    let (permissions, conditions) = listed(&Macaroon::read(&bytes).unwrap());
    assert_eq!(permissions, ["invoices:read"]);
    assert_eq!(conditions, ["time-before", "ipaddr"]);
}

#[test]
fn a_macaroon_of_an_unknown_format_is_taken_for_able() {
    let strange = [
        &[2][..],
        &field(2, &[9, 1, 1]),
        &[0, 0],
        &field(6, &[0; 32]),
    ]
    .concat();
    let access = Macaroon::read(&strange).unwrap().access();
    assert_eq!(access, Access::Unknown);
    assert!(access.allows(&Need::PAYING));
}

#[test]
fn other_bytes_are_no_macaroon_and_are_not_shown() {
    for bytes in [
        &b""[..],
        b"secret-text",
        b"deadbeef",
        b"-----BEGIN CERTIFICATE-----",
        &[2],
        &[2, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
        &vec![2; MAX_MACAROON + 1],
    ] {
        let error = Macaroon::read(bytes).unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
    let macaroon = Macaroon::read(INVOICE_MACAROON.as_bytes()).unwrap();
    assert!(!format!("{macaroon:?}").contains("0201"));
}

#[test]
fn every_cut_of_a_macaroon_is_read_or_refused_and_never_more_able() {
    let whole = written(
        &[("invoices", &["read", "write"]), ("info", &["read"])],
        &["a b"],
    );
    for length in 0..whole.len() {
        if let Ok(macaroon) = Macaroon::read(&whole[..length]) {
            let (permissions, _) = listed(&macaroon);
            assert_eq!(permissions.len(), 3, "cut at {length}");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_reading_panic(bytes: Vec<u8>) {
        let behind_version = [&[2][..], &bytes].concat();
        for bytes in [bytes, behind_version] {
            if let Ok(macaroon) = Macaroon::read(&bytes) {
                let _ = macaroon.access();
            }
        }
    }
}
