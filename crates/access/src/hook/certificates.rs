use mqway_hooks::{Authenticate, Client, Denial, Later, Login, Verdict};

use crate::certificate::Naming;

/// Takes the user name from the client's certificate, which TLS has verified. A client without one is none of its
/// business.
pub struct Certificates {
    naming: Naming,
}

impl Certificates {
    /// The name is this part of the certificate.
    pub fn new(naming: Naming) -> Certificates {
        Certificates { naming }
    }
}

impl Authenticate for Certificates {
    fn name(&self) -> &str {
        "certificate"
    }

    fn authenticate(&self, client: &mut Client, _login: &mut Login<'_>, _later: Later<'_>) -> Verdict {
        let tls = client.facts.tls.as_ref();
        let Some(certificate) = tls.and_then(|tls| tls.peer_certificates.first()) else {
            return Verdict::Pass;
        };
        match self.naming.user_of(certificate) {
            Ok(user) => {
                client.user_name = Some(user.into());
                Verdict::Allow
            }
            Err(error) => Verdict::Deny(Denial::not_authorized(error.to_string()).say(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mqway_codec::{Connect, Version};
    use mqway_hooks::{Hooks, Rehearsal};
    use mqway_transport::facts::TlsFacts;

    use super::*;

    #[test]
    fn a_certificate_says_who_it_is() {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "device 7");
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        let mut hooks = Hooks::new();
        hooks.anonymous = false;
        hooks.add_authenticate(Arc::new(Certificates::new(Naming::Fingerprint)));
        let mut rehearsal = Rehearsal::new(hooks);
        let connect = Connect::new(Version::V5, "c");
        rehearsal.login(&connect).unwrap_err();
        let tls = TlsFacts { peer_certificates: vec![certificate.clone()], ..TlsFacts::default() };
        rehearsal.client.facts.tls = Some(tls);
        rehearsal.login(&connect).unwrap();
        let name = crate::certificate::fingerprint(&certificate);
        assert_eq!(rehearsal.client.user_name.as_deref(), Some(&*name));
    }
}
