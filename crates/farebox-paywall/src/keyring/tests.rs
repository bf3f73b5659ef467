use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;

const NOW: UnixMillis = UnixMillis::from_secs(1_800_000_000);
const STRONG: &str = "9f1c3a7be4580d26c1aa73905f2e88d4b6073519ecf04d8262ab91d7f83e5c40";
const OTHER: &str = "40c5e38f7d19ba6228d40fce193507b6d4882e5f9073aac1260d58e4b7a31c9f";

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn keys(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("keys.json")
}

fn open(path: &Path) -> Result<Keyring, KeyringError> {
    Keyring::open(path, None, NOW)
}

fn imported(text: &str) -> ImportedSecret {
    ImportedSecret::parse(text).unwrap()
}

/// What stands for a root key in comparisons: the signature of a token made with it.
fn mark(keyring: &Keyring, epoch: KeyEpoch) -> Option<(Vec<u8>, ClaimPolicy)> {
    let (root_key, claims) = keyring.root_key(epoch, b"identifier")?;
    let caveats = std::iter::empty::<&[u8]>();
    let token = farebox_wire::macaroon::Macaroon::issue(&root_key, "", b"identifier", caveats);
    Some((token.to_bytes().to_vec(), claims))
}

#[test]
fn the_first_start_makes_a_file_for_its_owner_only_and_later_ones_read_it() {
    let folder = folder();
    let first = open(&keys(&folder)).unwrap();
    assert_eq!(
        fs::metadata(keys(&folder)).unwrap().permissions().mode() & 0o7777,
        0o600
    );
    let second = open(&keys(&folder)).unwrap();
    assert_eq!(first.signing_epoch(), KeyEpoch(1));
    assert_eq!(mark(&first, KeyEpoch(1)), mark(&second, KeyEpoch(1)));
    assert!(mark(&first, KeyEpoch(1)).is_some());
}

#[test]
fn two_servers_never_share_a_secret() {
    let (one, other) = (folder(), folder());
    let marks = [&one, &other].map(|folder| mark(&open(&keys(folder)).unwrap(), KeyEpoch(1)));
    assert_ne!(marks[0], marks[1]);
}

#[test]
fn a_rotation_signs_with_a_new_epoch_and_keeps_the_old_ones() {
    let folder = folder();
    let new = open(&keys(&folder)).unwrap();
    let old = open(&keys(&folder)).unwrap();
    assert_eq!(new.rotate(Rotation::Routine, NOW).unwrap(), KeyEpoch(2));
    assert_eq!(new.signing_epoch(), KeyEpoch(2));
    assert_eq!(mark(&new, KeyEpoch(1)), mark(&old, KeyEpoch(1)));
    assert_ne!(mark(&new, KeyEpoch(2)), mark(&new, KeyEpoch(1)));
    assert_eq!(
        mark(&open(&keys(&folder)).unwrap(), KeyEpoch(2)),
        mark(&new, KeyEpoch(2))
    );
}

#[test]
fn an_emergency_leaves_of_all_older_epochs_only_what_was_claimed() {
    let folder = folder();
    let keyring = open(&keys(&folder)).unwrap();
    keyring.rotate(Rotation::Routine, NOW).unwrap();
    keyring.rotate(Rotation::Emergency, NOW).unwrap();
    let expected = [
        ClaimPolicy::ClaimedOnly,
        ClaimPolicy::ClaimedOnly,
        ClaimPolicy::Open,
    ];
    for keyring in [keyring, open(&keys(&folder)).unwrap()] {
        assert_eq!(
            [1, 2, 3].map(|epoch| keyring.claim_policy(KeyEpoch(epoch))),
            expected
        );
        assert_eq!(
            mark(&keyring, KeyEpoch(1)).unwrap().1,
            ClaimPolicy::ClaimedOnly
        );
        assert_eq!(keyring.claim_policy(KeyEpoch(9)), ClaimPolicy::ClaimedOnly);
    }
}

#[test]
fn a_serving_process_sees_a_rotation_after_a_reload() {
    let folder = folder();
    let serving = open(&keys(&folder)).unwrap();
    let rotated = open(&keys(&folder)).unwrap();
    rotated.rotate(Rotation::Routine, NOW).unwrap();
    assert!(mark(&serving, KeyEpoch(2)).is_none());
    serving.reload().unwrap();
    assert_eq!(mark(&serving, KeyEpoch(2)), mark(&rotated, KeyEpoch(2)));
}

#[test]
fn a_reload_never_loses_an_epoch_that_was_sold_under() {
    let folder = folder();
    let serving = open(&keys(&folder)).unwrap();
    fs::remove_file(keys(&folder)).unwrap();
    for _ in 0..2 {
        let error = serving.reload().unwrap_err();
        assert!(matches!(
            error,
            KeyringError::File {
                fault: KeyringFault::EpochLost { epoch: KeyEpoch(1) },
                ..
            }
        ));
        assert!(mark(&serving, KeyEpoch(1)).is_some());
        open(&keys(&folder)).unwrap();
    }
}

#[test]
fn a_keyring_belongs_to_a_store_whose_newest_tokens_it_can_have_signed() {
    let folder = folder();
    assert!(Keyring::find(&keys(&folder)).unwrap().is_none());
    let keyring = open(&keys(&folder)).unwrap();
    let (before, after) = (
        UnixMillis::new(NOW.get() - 1),
        UnixMillis::new(NOW.get() + 1),
    );
    assert!(keyring.belongs_to((KeyEpoch(1), NOW)) && keyring.belongs_to((KeyEpoch(1), after)));
    // Made after the last of them was used: it is another secret of the same number.
    assert!(!keyring.belongs_to((KeyEpoch(1), before)));
    assert!(!keyring.belongs_to((KeyEpoch(2), after)));
    keyring.rotate(Rotation::Routine, after).unwrap();
    assert!(keyring.belongs_to((KeyEpoch(1), before)));
    assert!(!keyring.belongs_to((KeyEpoch(2), NOW)));
    let secret = imported(STRONG);
    let kept = Keyring::in_memory(&secret, NOW);
    assert!(
        kept.belongs_to((KeyEpoch(0), before)),
        "it may be older than the file"
    );
}

#[test]
fn a_renewed_keyring_signs_after_all_that_was_given_up() {
    let folder = folder();
    let renew = |beyond| Keyring::renew(&keys(&folder), KeyEpoch(beyond), NOW).unwrap();
    let made = renew(3);
    assert_eq!(made.signing_epoch(), KeyEpoch(4));
    assert!(made.belongs_to((KeyEpoch(3), UnixMillis::new(0))));
    let again = renew(1);
    assert_eq!(again.signing_epoch(), KeyEpoch(5));
    assert_eq!(mark(&again, KeyEpoch(4)), mark(&made, KeyEpoch(4)));
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let folder = folder();
    open(&keys(&folder)).unwrap();
    for mode in [0o640, 0o604, 0o660, 0o700, 0o644] {
        fs::set_permissions(keys(&folder), fs::Permissions::from_mode(mode)).unwrap();
        let error = open(&keys(&folder)).unwrap_err();
        assert!(
            matches!(error, KeyringError::File { fault: KeyringFault::LoosePermissions { mode: found }, .. } if found == mode)
        );
        assert!(error.to_string().contains("chmod 600"));
    }
    fs::set_permissions(keys(&folder), fs::Permissions::from_mode(0o400)).unwrap();
    assert!(open(&keys(&folder)).is_ok());
}

fn written(text: &str) -> Result<Keyring, KeyringError> {
    let folder = folder();
    fs::write(keys(&folder), text).unwrap();
    fs::set_permissions(keys(&folder), fs::Permissions::from_mode(0o600)).unwrap();
    open(&keys(&folder))
}

fn one(epoch: u32, secret: &str) -> String {
    format!(r#"{{"epoch":{epoch},"secret":"{secret}","claims":"open","created_at_ms":1}}"#)
}

#[test]
fn only_a_whole_keyring_of_this_version_is_read() {
    let keyring = |version, epochs: &[String]| {
        written(&format!(
            r#"{{"version":{version},"epochs":[{}]}}"#,
            epochs.join(",")
        ))
    };
    assert!(keyring(1, &[one(0, STRONG), one(7, OTHER)]).is_ok());
    assert!(matches!(
        keyring(2, &[]),
        Err(KeyringError::File {
            fault: KeyringFault::Version { found: 2 },
            ..
        })
    ));
    assert!(matches!(
        keyring(1, &[]),
        Err(KeyringError::File {
            fault: KeyringFault::Epochs,
            ..
        })
    ));
    let falling = keyring(1, &[one(7, STRONG), one(7, OTHER)]);
    assert!(matches!(
        falling,
        Err(KeyringError::File {
            fault: KeyringFault::Epochs,
            ..
        })
    ));
    let weak = keyring(1, &[one(7, &"00".repeat(32))]);
    assert!(matches!(
        weak,
        Err(KeyringError::File {
            fault: KeyringFault::BadSecret {
                epoch: KeyEpoch(7),
                ..
            },
            ..
        })
    ));
    let extra = format!(r#"{{"version":1,"epochs":[{}],"x":1}}"#, one(1, STRONG));
    for text in ["", "{}", "[]", &extra[..extra.len() - 3], &extra] {
        assert!(
            matches!(
                written(text),
                Err(KeyringError::File {
                    fault: KeyringFault::Malformed { .. },
                    ..
                })
            ),
            "{text}"
        );
    }
}

#[test]
fn a_file_larger_than_any_keyring_is_not_read() {
    assert!(matches!(
        written(&" ".repeat(600_000)),
        Err(KeyringError::File {
            fault: KeyringFault::TooLarge,
            ..
        })
    ));
    let folder = folder();
    assert!(matches!(
        open(folder.path()),
        Err(KeyringError::File {
            fault: KeyringFault::NotAFile,
            ..
        })
    ));
}

#[test]
fn errors_never_show_a_secret() {
    let broken = format!(r#"{{"version":1,"epochs":[{{"secret":"{STRONG}"}}]}}"#);
    let error = written(&broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&STRONG[..8]));
    let keyring = Keyring::in_memory(&imported(STRONG), NOW);
    assert!(!format!("{keyring:?} {:?}", imported(STRONG)).contains(&STRONG[..8]));
}

#[test]
fn an_imported_secret_is_epoch_zero_and_the_file_rules_from_then_on() {
    let folder = folder();
    let setting = imported(STRONG);
    let first = Keyring::open(&keys(&folder), Some(&setting), NOW).unwrap();
    assert_eq!(first.signing_epoch(), IMPORTED_EPOCH);
    let rotated = first.rotate(Rotation::Routine, NOW).unwrap();
    let again = Keyring::open(&keys(&folder), Some(&setting), NOW).unwrap();
    assert_eq!(again.signing_epoch(), rotated);
    let without = open(&keys(&folder)).unwrap();
    assert_eq!(mark(&without, IMPORTED_EPOCH), mark(&first, IMPORTED_EPOCH));
}

#[test]
fn importing_into_a_keyring_adds_an_old_epoch_and_another_import_is_refused() {
    let folder = folder();
    let own = open(&keys(&folder)).unwrap();
    let both = Keyring::open(&keys(&folder), Some(&imported(STRONG)), NOW).unwrap();
    assert_eq!(both.signing_epoch(), own.signing_epoch());
    assert!(mark(&both, IMPORTED_EPOCH).is_some());
    let error = Keyring::open(&keys(&folder), Some(&imported(OTHER)), NOW).unwrap_err();
    assert!(matches!(
        error,
        KeyringError::File {
            fault: KeyringFault::ImportConflict,
            ..
        }
    ));
}

#[test]
fn a_secret_in_memory_signs_but_does_not_rotate() {
    let keyring = Keyring::in_memory(&imported(STRONG), NOW);
    assert!(mark(&keyring, IMPORTED_EPOCH).is_some());
    keyring.reload().unwrap();
    assert!(mark(&keyring, IMPORTED_EPOCH).is_some());
    let error = keyring.rotate(Rotation::Routine, NOW).unwrap_err();
    assert!(matches!(error, KeyringError::InMemory));
}

#[test]
fn a_file_that_is_gone_is_not_made_anew_by_a_rotation() {
    let folder = folder();
    let keyring = open(&keys(&folder)).unwrap();
    fs::remove_file(keys(&folder)).unwrap();
    let error = keyring.rotate(Rotation::Emergency, NOW).unwrap_err();
    assert!(matches!(
        error,
        KeyringError::File {
            fault: KeyringFault::Vanished,
            ..
        }
    ));
    assert!(!keys(&folder).exists());
}

#[test]
fn an_unknown_epoch_has_no_root_key() {
    let keyring = Keyring::in_memory(&imported(STRONG), NOW);
    assert!(mark(&keyring, KeyEpoch(1)).is_none());
    assert!(mark(&keyring, KeyEpoch(u32::MAX)).is_none());
}

#[test]
fn servers_that_start_at_once_get_the_same_secret() {
    let folder = folder();
    let path = keys(&folder);
    let marks: Vec<_> = std::thread::scope(|scope| {
        let start = || scope.spawn(|| mark(&open(&path).unwrap(), KeyEpoch(1)));
        let threads = [start(), start(), start(), start()];
        threads.map(|thread| thread.join().unwrap()).into()
    });
    assert!(marks.iter().all(|mark| *mark == marks[0]));
}

#[test]
fn rotations_that_race_are_all_kept() {
    let folder = folder();
    let keyring = open(&keys(&folder)).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| keyring.rotate(Rotation::Routine, NOW).unwrap());
        }
    });
    keyring.reload().unwrap();
    assert_eq!(keyring.signing_epoch(), KeyEpoch(5));
}

#[test]
fn a_half_written_leftover_of_a_crash_does_not_matter() {
    let folder = folder();
    fs::write(folder.path().join("keys.json.new"), "{\"vers").unwrap();
    let keyring = open(&keys(&folder)).unwrap();
    assert_eq!(
        fs::metadata(keys(&folder)).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(keyring.reload().is_ok());
    assert!(!folder.path().join("keys.json.new").exists());
}

fn hex_of(bytes: impl IntoIterator<Item = u8>) -> String {
    hex::encode(bytes.into_iter().collect::<Vec<_>>())
}

#[test]
fn known_and_made_up_secrets_are_refused() {
    use sha2::{Digest, Sha256};
    let check = |text: &str, weakness| {
        assert_eq!(
            ImportedSecret::parse(text).unwrap_err(),
            ImportError::Weak(weakness),
            "{text}"
        );
    };
    check(&"00".repeat(32), WeakSecret::Repeats);
    check(&"ff".repeat(32), WeakSecret::Repeats);
    check(&"deadbeef".repeat(8), WeakSecret::Repeats);
    check(&"0123456789abcdef".repeat(4), WeakSecret::Sequence);
    check(
        &format!("{}{}", hex::encode("changeme"), "00".repeat(24)),
        WeakSecret::Repeats,
    );
    check(&hex_of(0..32), WeakSecret::Sequence);
    check(&hex_of((0..32).rev()), WeakSecret::Sequence);
    check(&hex_of((0..32).map(|n| n * 8)), WeakSecret::Sequence);
    check(
        &hex_of(*b"the quick brown fox jumps over a"),
        WeakSecret::Text,
    );
    check(
        &hex::encode(Sha256::digest("secret")),
        WeakSecret::KnownWord,
    );
    check(&hex::encode(Sha256::digest("")), WeakSecret::KnownWord);
}

#[test]
fn a_secret_is_exactly_64_hex_digits() {
    for bad in [
        "",
        "secret",
        "changeme",
        "c2VjcmV0",
        &STRONG[2..],
        &format!("{STRONG}00"),
        "zz",
    ] {
        assert_eq!(
            ImportedSecret::parse(bad).unwrap_err(),
            ImportError::NotHex,
            "{bad}"
        );
    }
    assert!(ImportedSecret::parse(&format!("{STRONG}\n")).is_ok());
    assert!(ImportedSecret::parse(&STRONG.to_uppercase()).is_ok());
}

#[test]
fn derived_secrets_differ_by_purpose_epoch_and_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let keyring = Keyring::open(&path, None, UnixMillis::new(0)).unwrap();
    let first = keyring.signing_epoch();
    let second = keyring
        .rotate(Rotation::Routine, UnixMillis::new(1))
        .unwrap();
    let derived =
        |epoch, purpose, data: &[u8]| *keyring.derive(epoch, purpose, data).unwrap().reveal();
    let all = [
        derived(first, Purpose::Claim, b"one"),
        derived(first, Purpose::Claim, b"two"),
        derived(first, Purpose::HeldPreimage, b"one"),
        derived(second, Purpose::Claim, b"one"),
    ];
    for (place, one) in all.iter().enumerate() {
        assert!(all[place + 1..].iter().all(|other| other != one));
    }
    assert_eq!(derived(first, Purpose::Claim, b"one"), all[0]);
    assert!(
        keyring
            .derive(KeyEpoch(99), Purpose::Claim, b"one")
            .is_none()
    );
}
