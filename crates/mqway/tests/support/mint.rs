//! Keys and JSON Web Tokens, made by PyJWT.

use super::process::Program;
use super::{SOON, real, root};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A process that makes them, and keeps the keys that sign.
pub struct Mint {
    program: Program,
    answers: usize,
}

/// The public half of a key; of a secret, the secret.
pub struct PublicKey {
    pub jwk: Value,
    pub pem: String,
}

impl Mint {
    pub fn start() -> Mint {
        let mut command = Command::new(real().join("venv/bin/python"));
        command.arg("-u").arg(root().join("tests/clients/mint.py"));
        Mint { program: Program::start(command), answers: 0 }
    }

    /// Makes a key for an algorithm, which is also the identifier by which tokens name it, and sign with it.
    pub fn key(&mut self, name: &str, algorithm: &str) -> PublicKey {
        let made = self.ask(json!({ "act": "key", "name": name, "alg": algorithm }));
        PublicKey { jwk: made["jwk"].clone(), pem: made["pem"].as_str().unwrap().to_owned() }
    }

    /// A token that names its key.
    pub fn token(&mut self, key: &str, algorithm: &str, claims: &Value) -> String {
        self.sign(key, algorithm, json!({ "kid": key }), claims)
    }

    /// A token with these further fields in its header.
    pub fn sign(&mut self, key: &str, algorithm: &str, header: Value, claims: &Value) -> String {
        let command =
            json!({ "act": "sign", "key": key, "alg": algorithm, "header": header, "claims": claims });
        self.ask(command)["token"].as_str().unwrap().to_owned()
    }

    /// A token that says anything in its header, and is signed by HMAC-SHA-256 with this secret, or by nothing.
    pub fn forge(&mut self, header: Value, claims: &Value, secret: Option<&str>) -> String {
        let command = json!({ "act": "forge", "header": header, "claims": claims, "secret": secret });
        self.ask(command)["token"].as_str().unwrap().to_owned()
    }

    fn ask(&mut self, command: Value) -> Value {
        self.program.write_line(&command.to_string());
        self.answers += 1;
        let answers = self.answers;
        let line = self.program.stdout.wait(SOON * 6, |lines| lines.get(answers - 1).cloned());
        let line = line.unwrap_or_else(|| panic!("no answer to {command}"));
        serde_json::from_str(&line).unwrap()
    }
}

/// Claims of a user for so many seconds from now, and others.
pub fn claims(user: &str, seconds: i64, others: Value) -> Value {
    let mut claims = json!({ "sub": user, "exp": now() + seconds });
    claims.as_object_mut().unwrap().extend(others.as_object().cloned().unwrap_or_default());
    claims
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// Whether any part of a token stands in one of these lines.
pub fn is_shown(token: &str, lines: &[String]) -> bool {
    let parts: Vec<_> = token.split('.').filter(|part| part.len() > 8).collect();
    lines.iter().any(|line| parts.iter().any(|part| line.contains(part)))
}
