//! The example of RFC 7677, exchanges with a client made here, and messages of clients that mean no good.

use proptest::prelude::*;
use ring::{digest, hmac, pbkdf2};

use super::*;

const DECOY: Decoy = Decoy([7; 32]);

/// A client as RFC 5802 §3 has it, made without any of the server's code.
struct Client {
    password: String,
    bare: String,
    header: String,
}

impl Client {
    fn new(user: &str, password: &str) -> Client {
        let bare = format!("n={user},r=rOprNGfwEbeRWgbNEkqO");
        Client { password: password.to_owned(), bare, header: "n,,".to_owned() }
    }

    fn first(&self) -> Vec<u8> {
        format!("{}{}", self.header, self.bare).into_bytes()
    }

    /// The final message, and the signature that the server must give.
    fn last(&self, challenge: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let challenge = std::str::from_utf8(challenge).unwrap();
        let mut parts = challenge.split(',').map(|part| &part[2..]);
        let nonce = parts.next().unwrap();
        let salt = STANDARD.decode(parts.next().unwrap()).unwrap();
        let iterations = parts.next().unwrap().parse().unwrap();
        let mut salted = [0; 32];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, &salt, self.password.as_bytes(), &mut salted);
        let mac = |key: &[u8], bytes: &[u8]| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
        };
        let client_key = mac(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, &client_key);
        let without_proof = format!("c={},r={nonce}", STANDARD.encode(&self.header));
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let signature = mac(stored_key.as_ref(), signed.as_bytes());
        let proof: Vec<u8> =
            client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let last = format!("{without_proof},p={}", STANDARD.encode(proof)).into_bytes();
        (last, mac(&mac(&salted, b"Server Key"), signed.as_bytes()))
    }
}

fn users(entries: &[(&str, &str)]) -> ScramUsers {
    let lines: Vec<_> = entries
        .iter()
        .map(|(user, password)| {
            format!("{user}:{}", Verifier::derive(password, 4_096, b"some salt").unwrap())
        })
        .collect();
    ScramUsers::parse(&lines.join("\n"), DECOY).unwrap()
}

fn exchange(client: &Client, users: &ScramUsers) -> Result<String, ScramError> {
    let (exchange, challenge) = Exchange::begin(&client.first(), users, b"some random bytes")?;
    let (last, expected) = client.last(&challenge);
    let (user, proof) = exchange.finish(&last)?;
    assert_eq!(proof, format!("v={}", STANDARD.encode(expected)).into_bytes(), "the server proves itself");
    Ok(user)
}

#[test]
fn the_example_of_rfc_7677() {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::derive("pencil", 4_096, &salt).unwrap();
    // As PostgreSQL stores it.
    let stored = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                  wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    assert_eq!(verifier.to_string(), stored);
    let users = ScramUsers::parse(&format!("user:{stored}"), DECOY).unwrap();
    let first = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    let nonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let (exchange, challenge) = Exchange::begin_with(first, &users, nonce).unwrap();
    assert_eq!(
        String::from_utf8(challenge).unwrap(),
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    let (user, proof) = exchange.finish(last).unwrap();
    assert_eq!(user, "user");
    assert_eq!(String::from_utf8(proof).unwrap(), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
}

#[test]
fn who_knows_the_password_is_let_in_and_nobody_else() {
    let users = users(&[("ann", "secret"), ("bob", "other")]);
    assert_eq!(exchange(&Client::new("ann", "secret"), &users).as_deref(), Ok("ann"));
    assert_eq!(exchange(&Client::new("ann", "other"), &users), Err(ScramError::WrongPassword));
    assert_eq!(exchange(&Client::new("bob", ""), &users), Err(ScramError::WrongPassword));
    assert_eq!(exchange(&Client::new("eve", "secret"), &users), Err(ScramError::UnknownUser));
}

#[test]
fn names_and_passwords_are_compared_in_one_form() {
    // Examples of RFC 4013 §3: a soft hyphen is nothing, a Roman nine is IX, a compatibility form its letter.
    let users = users(&[("IX", "a\u{AA}"), ("a,b=c", "x y"), ("co:lon", "z")]);
    assert_eq!(users.len(), 3);
    assert_eq!(exchange(&Client::new("I\u{AD}X", "aa"), &users).as_deref(), Ok("IX"));
    assert_eq!(exchange(&Client::new("\u{2168}", "aa"), &users).as_deref(), Ok("IX"));
    assert_eq!(exchange(&Client::new("a=2Cb=3Dc", "x y"), &users).as_deref(), Ok("a,b=c"));
    assert_eq!(exchange(&Client::new("co:lon", "z"), &users).as_deref(), Ok("co:lon"));
    assert_eq!(Verifier::derive("\u{7}", 4_096, b"some salt"), Err(VerifierError::Password));
    assert_eq!(Verifier::derive("\u{AD}", 4_096, b"some salt"), Err(VerifierError::Password));
}

#[test]
fn who_is_not_there_cannot_be_told_from_who_is() {
    let users = users(&[("ann", "secret"), ("bob", "other")]);
    let challenge = |users: &ScramUsers, user: &str, nonce: &[u8]| {
        let (_, challenge) = Exchange::begin(&Client::new(user, "").first(), users, nonce).unwrap();
        String::from_utf8(challenge).unwrap()
    };
    let salt =
        |user: &str, nonce: &[u8]| challenge(&users, user, nonce).split(',').nth(1).unwrap().to_owned();
    assert_eq!(salt("eve", b"one nonce"), salt("eve", b"another"), "the same salt each time");
    assert_ne!(salt("eve", b"one nonce"), salt("mallory", b"one nonce"), "another one for each");
    assert!(challenge(&users, "eve", b"x").ends_with(",i=4096"), "as many iterations as the others have");
    let other = ScramUsers::parse("", Decoy([8; 32])).unwrap();
    assert_ne!(challenge(&users, "eve", b"x"), challenge(&other, "eve", b"x"));
}

#[test]
fn channel_binding_is_what_it_should_be() {
    let users = users(&[("ann", "secret")]);
    let with = |header: &str| Client { header: header.to_owned(), ..Client::new("ann", "secret") };
    for good in ["n,,", "y,,", "n,a=ann,"] {
        assert_eq!(exchange(&with(good), &users).as_deref(), Ok("ann"), "{good}");
    }
    assert_eq!(exchange(&with("p=tls-exporter,,"), &users), Err(ScramError::ChannelBinding));
    assert_eq!(exchange(&with("n,a=root,"), &users), Err(ScramError::OtherIdentity));
    // Somebody in between who has changed «y» to «n» is found out.
    let client = with("y,,");
    let (exchange, challenge) = Exchange::begin(&with("n,,").first(), &users, b"nonce").unwrap();
    let (last, _) = client.last(&challenge);
    assert!(matches!(exchange.finish(&last), Err(ScramError::Malformed(_))));
}

#[test]
fn a_final_message_is_good_for_its_own_exchange_alone() {
    let users = users(&[("ann", "secret")]);
    let client = Client::new("ann", "secret");
    let (_, challenge) = Exchange::begin(&client.first(), &users, b"first nonce").unwrap();
    let (last, _) = client.last(&challenge);
    let (second, _) = Exchange::begin(&client.first(), &users, b"second nonce").unwrap();
    assert_eq!(second.finish(&last), Err(ScramError::WrongNonce));
}

#[test]
fn malformed_messages_are_refused() {
    let users = users(&[("ann", "secret")]);
    let first = |text: &str| Exchange::begin(text.as_bytes(), &users, b"nonce").err();
    for text in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,n=ann",
        "n,,r=abc",
        "n,,n=,r=abc",
        "n,,n=ann,r=",
        "n,,n=ann,r=a c",
        "x,,n=ann,r=abc",
        "n,b=ann,n=ann,r=abc",
        "n,,n=a=nn,r=abc",
        "n,,n=a=2c,r=abc",
        "n,,n=\u{7},r=abc",
        "N,,n=ann,r=abc",
    ] {
        assert!(matches!(first(text), Some(ScramError::Malformed(_))), "{text}");
    }
    assert_eq!(first("n,,m=x,n=ann,r=abc"), Some(ScramError::Extension));
    assert_eq!(first("n,,n=ann,r=abc,later=1"), None);
    assert!(matches!(
        first(&format!("n,,n=ann,r={}", "x".repeat(MAX_MESSAGE))),
        Some(ScramError::Malformed(_))
    ));
    assert!(Exchange::begin(b"n,,n=\xFF,r=abc", &users, b"nonce").is_err());
    let proof = STANDARD.encode([0; 32]);
    for (text, error) in [
        (format!("c=biws,r=abcbm9uY2U=,p={proof}"), ScramError::WrongPassword),
        (format!("c=biws,r=abcbm9uY2U=,x=1,p={proof}"), ScramError::WrongPassword),
        (format!("c=biws,m=1,r=abcbm9uY2U=,p={proof}"), ScramError::Extension),
        (format!("c=biws,r=abc,p={proof}"), ScramError::WrongNonce),
        (format!("r=abcbm9uY2U=,c=biws,p={proof}"), ScramError::Malformed("its channel binding is missing")),
        ("c=biws,r=abcbm9uY2U=".to_owned(), ScramError::Malformed("its proof is missing")),
        ("c=biws,r=abcbm9uY2U=,p=AAAA".to_owned(), ScramError::Malformed("its proof is malformed")),
    ] {
        let (exchange, _) = Exchange::begin(b"n,,n=ann,r=abc", &users, b"nonce").unwrap();
        assert_eq!(exchange.finish(text.as_bytes()), Err(error), "{text}");
    }
}

#[test]
fn files_say_which_line_is_wrong() {
    let good = Verifier::derive("x", 4_096, b"some salt").unwrap().to_string();
    let text = format!("# users\n\nann:{good}\nbob:$argon2id$v=19$x\nann : no\n");
    assert_eq!(ScramUsers::parse(&text, DECOY).unwrap().len(), 1);
    let keys = "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
    for (line, error) in [
        ("ann:SCRAM-SHA-256$4096:c2FsdHNhbHQ=$AAAA:BBBB".to_owned(), VerifierError::Malformed),
        ("ann:SCRAM-SHA-256$many:c2FsdHNhbHQ=$AAAA:BBBB".to_owned(), VerifierError::Malformed),
        ("ann:SCRAM-SHA-256$4096".to_owned(), VerifierError::Malformed),
        (format!("ann:SCRAM-SHA-256$4095:c2FsdHNhbHQ=${keys}"), VerifierError::Iterations),
        (format!("ann:SCRAM-SHA-256$4000000000:c2FsdHNhbHQ=${keys}"), VerifierError::Iterations),
        (format!("ann:SCRAM-SHA-256$4096:c2Fs${keys}"), VerifierError::Salt),
    ] {
        let refused = ScramUsers::parse(&format!("# users\n{line}"), DECOY).unwrap_err();
        assert_eq!(refused, (2, error.to_string()), "{line}");
    }
}

proptest! {
    #[test]
    fn any_messages_end_well(first in "[ny],,n=.{0,20},r=.{0,20}", last in "c=biws,r=.{0,20},p=.{0,50}") {
        let users = users(&[("ann", "secret")]);
        if let Ok((exchange, _)) = Exchange::begin(first.as_bytes(), &users, b"nonce") {
            prop_assert!(exchange.finish(last.as_bytes()).is_err());
        }
    }

    #[test]
    fn any_bytes_end_well(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let users = ScramUsers::parse("", DECOY).unwrap();
        prop_assert!(Exchange::begin(&bytes, &users, b"nonce").is_err());
    }
}
