use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::scram::Verifier;

/// `Sesame` for all: by mosquitto_passwd 2.0 (PBKDF2), by mosquitto_passwd -H sha512, and by the reference
/// implementation of Argon2 with mosquitto 2.1's parameters, scaled down.
const FILES: &str = include_str!("tests/mosquitto.passwd");

fn file(text: &str) -> PasswordFile {
    PasswordFile::parse(text.as_bytes()).unwrap()
}

fn quick(user: &str, password: &str) -> String {
    format!("{user}:{}\n", PasswordHash::quick(password.as_bytes()))
}

#[test]
fn our_own_hashes_are_argon2id_and_verify() {
    let hash = PasswordHash::new(b"s\xFFcret").unwrap();
    let text = hash.to_string();
    assert!(text.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
    assert_eq!(text.parse(), Ok(hash.clone()));
    assert!(hash.verify(b"s\xFFcret") && !hash.verify(b"secret") && !hash.verify(b""));
    assert_ne!(PasswordHash::new(b"s\xFFcret").unwrap(), hash, "a salt of its own");
    assert!(!format!("{hash:?}").contains(text.rsplit('$').next().unwrap()), "not in logs");
}

#[test]
fn files_of_mosquitto_are_read_as_they_are() {
    let file = file(FILES);
    assert_eq!(file.problems(), []);
    assert_eq!(file.len(), 4);
    for user in ["pbkdf2", "sha512", "argon2id", "with blank"] {
        assert_eq!(file.check(user, b"Sesame"), Checked::Right, "{user}");
        assert_eq!(file.check(user, b"sesame"), Checked::WrongPassword, "{user}");
        assert_eq!(file.check(user, b""), Checked::WrongPassword, "{user}");
    }
    assert_eq!(file.check("nobody", b"Sesame"), Checked::UnknownUser);
    assert_eq!(file.check("# a comment", b"Sesame"), Checked::UnknownUser);
}

#[test]
fn a_bad_line_shuts_out_its_user_alone() {
    let good = quick("alice", "a");
    let salt = "c29tZXNhbHRzb21l";
    let digest = "A".repeat(86) + "==";
    let cases = [
        ("bob:", HashError::Unknown),
        ("bob:plain text", HashError::Unknown),
        ("bob:$1$abc$def", HashError::Unknown),
        ("bob:$2b$12$abcdef", HashError::Unknown),
        ("bob:x$6$abc$def", HashError::Unknown),
        ("bob:$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Unknown),
        ("bob:$6$abc", HashError::Malformed),
        (&format!("bob:$6${salt}${digest}$"), HashError::Malformed),
        (&format!("bob:$6$*${digest}"), HashError::Encoding),
        (&format!("bob:$6$${digest}"), HashError::Encoding),
        (&format!("bob:$6${salt}$AAAA"), HashError::Encoding),
        (&format!("bob:$6${}${digest}", "A".repeat(400)), HashError::Encoding),
        (&format!("bob:$7$0${salt}${digest}"), HashError::Cost),
        (&format!("bob:$7$-1${salt}${digest}"), HashError::Malformed),
        (&format!("bob:$7$4000000000${salt}${digest}"), HashError::Cost),
        (&format!("bob:$7$99999999999${salt}${digest}"), HashError::Cost),
        ("bob:$argon2id$v=16$m=64,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Malformed),
        ("bob:$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Malformed),
        ("bob:$argon2id$v=19$m=64,t=1,p=1,x=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Malformed),
        ("bob:$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Cost),
        ("bob:$argon2id$v=19$m=262144,t=5,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Cost),
        ("bob:$argon2id$v=19$m=64,t=4294967295,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Cost),
        ("bob:$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Cost),
        ("bob:$argon2id$v=19$m=64,t=1,p=9$c29tZXNhbHQ$AAAAAAAAAAAAAAAAAAAAAA", HashError::Cost),
        ("bob:$argon2id$v=19$m=64,t=1,p=1$c29t$AAAAAAAAAAAAAAAAAAAAAA", HashError::Encoding),
        ("bob:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA", HashError::Encoding),
    ];
    for (line, error) in cases {
        let file = file(&format!("{line}\n{good}"));
        let what = LineError::Hash { user: "bob".to_owned(), error };
        assert_eq!(file.problems(), [Problem { line: 1, what }], "{line}");
        assert_eq!(file.check("bob", b"plain text"), Checked::UnknownUser, "{line}");
        assert_eq!(file.check("alice", b"a"), Checked::Right, "{line}");
    }
}

#[test]
fn odd_files_are_read_or_refused_but_harm_nobody() {
    assert!(file("").is_empty());
    assert_eq!(file("").check("", b""), Checked::UnknownUser);
    assert_eq!(file(":x\n").problems()[0].what, LineError::NoUser);
    let not_utf8 = [b"\xFF:x\n", quick("a", "b").as_bytes()].concat();
    let not_utf8 = PasswordFile::parse(&not_utf8).unwrap();
    assert_eq!(not_utf8.problems()[0].to_string(), "line 1: is not UTF-8");
    assert_eq!(not_utf8.check("a", b"b"), Checked::Right);

    let twice = file(&(quick("a", "first") + &quick("a", "second")));
    assert_eq!(twice.check("a", b"first"), Checked::WrongPassword);
    assert_eq!(twice.check("a", b"second"), Checked::Right);
    assert_eq!(twice.problems()[0].what, LineError::Twice("a".to_owned()));

    let crlf = file(&quick("a", "b").replace('\n', "\r\n"));
    assert_eq!(crlf.check("a", b"b"), Checked::Right);

    let long = "x".repeat(MAX_LINE + 1);
    assert_eq!(PasswordFile::parse(format!("#\n{long}").as_bytes()).err(), Some(FileError::LineTooLong(2)));
    assert_eq!(PasswordFile::parse(&vec![b'\n'; MAX_FILE + 1]).err(), Some(FileError::TooLong));
}

#[test]
fn an_unknown_user_is_checked_against_each_kind_of_the_file() {
    let file = file(FILES);
    let kinds: std::collections::HashSet<_> =
        (0..200).map(|n| file.stand_in(&n.to_string()).unwrap().to_string()).collect();
    assert_eq!(kinds.len(), 4, "every line stands in for some");
    for n in 0..20 {
        let user = n.to_string();
        assert_eq!(file.stand_in(&user), file.stand_in(&user), "always the same one for a name");
    }
}

#[test]
fn a_file_may_be_asked_from_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<PasswordFile>();
    shared::<Recent>();
}

#[test]
fn what_was_right_lately_is_known_until_it_is_old_or_changed() {
    let old = file(&quick("alice", "a"));
    let recent = Recent::new(8, Duration::from_secs(60)).unwrap();
    let now = Duration::from_secs(1000);
    assert!(!recent.knows(&old, "alice", b"a", now));
    assert_eq!(recent.check(&old, "alice", b"b", now), Checked::WrongPassword);
    assert_eq!(recent.check(&old, "bob", b"a", now), Checked::UnknownUser);
    assert!(!recent.knows(&old, "alice", b"b", now), "what was wrong is not remembered");
    assert_eq!(recent.check(&old, "alice", b"a", now), Checked::Right);
    assert!(recent.knows(&old, "alice", b"a", now + Duration::from_secs(59)));
    assert!(!recent.knows(&old, "alice", b"a", now + Duration::from_secs(60)));
    assert!(!recent.knows(&old, "alice", b"b", now));
    assert!(!recent.knows(&old, "bob", b"a", now));

    let changed = file(&quick("alice", "other"));
    assert!(!recent.knows(&changed, "alice", b"a", now), "the password was changed");
    assert!(!recent.knows(&file(""), "alice", b"a", now), "the user was taken away");
}

#[test]
fn the_memory_of_passwords_is_bounded() {
    let users: String = (0..50).map(|n| quick(&n.to_string(), "x")).collect();
    let file = file(&users);
    for capacity in [0, 1, 7] {
        let recent = Recent::new(capacity, Duration::from_secs(60)).unwrap();
        for n in 0..50 {
            assert_eq!(recent.check(&file, &n.to_string(), b"x", Duration::ZERO), Checked::Right);
            assert!(recent.len() <= capacity);
        }
        assert_eq!(recent.knows(&file, "49", b"x", Duration::ZERO), capacity > 0);
    }
}

#[test]
fn a_change_leaves_all_else_as_it_was() {
    let hash = PasswordHash::quick(b"new");
    let text = b"# mine\n\nalice:old\n\xFF\xFE odd\n bob : old\r\nalice:older\nno end";
    let edited = set(text, "alice", &hash, None).unwrap().unwrap();
    assert!(edited.existed);
    let expected = [
        b"# mine\n\nalice:".as_slice(),
        hash.to_string().as_bytes(),
        b"\n\xFF\xFE odd\n bob : old\r\nno end",
    ]
    .concat();
    assert_eq!(edited.text, expected);

    let edited = set(text, "carol", &hash, None).unwrap().unwrap();
    assert!(!edited.existed);
    assert_eq!(edited.text, [text.as_slice(), format!("\ncarol:{hash}\n").as_bytes()].concat());
    assert_eq!(set(b"", "a", &hash, None).unwrap().unwrap().text, format!("a:{hash}\n").as_bytes());

    let edited = remove(text, "bob");
    assert!(edited.existed);
    assert_eq!(edited.text, b"# mine\n\nalice:old\n\xFF\xFE odd\nalice:older\nno end");
    assert_eq!(remove(text, "dave"), Edited { text: text.to_vec(), existed: false });
}

#[test]
fn a_new_password_leaves_no_old_one_good_for_scram() {
    let hash = PasswordHash::quick(b"new");
    let old = Verifier::derive("old", 4096, &[7; 16]).unwrap();
    let new = Verifier::derive("new", 4096, &[8; 16]).unwrap();
    let text = format!("a:{old}\n{}b:{old}\n", quick("a", "old"));
    assert!(has_scram(text.as_bytes(), "a") && !has_scram(text.as_bytes(), "c"));
    let edited = set(text.as_bytes(), "a", &hash, Some(&new)).unwrap().unwrap();
    assert_eq!(String::from_utf8(edited.text.clone()).unwrap(), format!("a:{hash}\na:{new}\nb:{old}\n"));
    let file = PasswordFile::parse(&edited.text).unwrap();
    assert_eq!(file.problems(), [], "lines for SCRAM are none of its business");
    assert_eq!(file.check("a", b"new"), Checked::Right);
    assert_eq!(file.check("b", b"old"), Checked::UnknownUser);
    let edited = set(&edited.text, "a", &hash, None).unwrap().unwrap();
    assert!(!has_scram(&edited.text, "a"));
}

#[test]
fn names_that_no_line_can_carry_are_refused() {
    let long = "x".repeat(65_536);
    for (name, error) in [
        ("", UserNameError::Empty),
        ("a:b", UserNameError::Colon),
        ("#a", UserNameError::Comment),
        (" a", UserNameError::Blank),
        ("a\u{a0}", UserNameError::Blank),
        ("a\nb", UserNameError::Control),
        ("a\0", UserNameError::Control),
        (&long, UserNameError::TooLong),
    ] {
        assert_eq!(set(b"", name, &PasswordHash::quick(b""), None), Err(error), "{name:?}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = PasswordFile::parse(&text);
        let _ = remove(&text, "a");
    }

    #[test]
    fn no_hash_makes_it_panic(text in "\\$(argon2id|6|7)(\\$[vmtp=0-9,A-Za-z+/]{0,12}){0,5}") {
        if let Ok(hash) = text.parse::<PasswordHash>() {
            prop_assert_eq!(hash.to_string().parse(), Ok(hash));
        }
    }

    #[test]
    fn what_is_set_is_found_and_what_is_removed_is_gone(
        text in "([a-c:#$ \n]{0,8}\n){0,4}",
        user in "[a-c$]{1,2}",
    ) {
        let hash = PasswordHash::quick(b"x");
        let edited = set(text.as_bytes(), &user, &hash, None).unwrap().unwrap();
        let file = PasswordFile::parse(&edited.text).unwrap();
        prop_assert_eq!(file.check(&user, b"x"), Checked::Right);
        let gone = remove(&edited.text, &user);
        prop_assert!(gone.existed);
        prop_assert!(!remove(&gone.text, &user).existed);
    }
}
