//! TLS of listeners and upstreams, made of the files that the settings name.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mqway_transport::Url;
use mqway_transport::tls::{self, ClientSetup, Identity, Pem, ServerSetup};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};

use crate::failure::Failure;
use crate::settings::{ClientAuth, Listener, Upstream};

/// No certificate, key or bundle of authorities is longer than this, in bytes; what is, is another file.
const MAX_FILE: u64 = 16 * 1024 * 1024;

/// The TLS of a listener at `url`.
///
/// # Errors
/// One line about the file that is missing or unusable.
pub fn server(listener: &Listener, url: &Url) -> Result<Arc<ServerConfig>, Failure> {
    let (Some(cert), Some(key)) = (&listener.cert, &listener.key) else {
        return Err(Failure::usage(format_args!(
            "listener {url} needs a certificate and its private key; name their files with --cert and --key"
        )));
    };
    let (cert, key) = (File::read(cert)?, File::read(key)?);
    let client_ca = listener.client_ca.as_deref().map(File::read).transpose()?;
    let client_crl = listener.client_crl.as_deref().map(File::read).transpose()?;
    let (ca, crls) = (client_ca.iter().map(File::pem).collect(), client_crl.iter().map(File::pem).collect());
    let when = listener.client_auth.or(client_ca.as_ref().map(|_| ClientAuth::Required));
    if client_crl.is_some() && matches!(when, None | Some(ClientAuth::None)) {
        return Err(Failure::usage(format_args!(
            "listener {url} has a client_crl and asks for no certificates; name their authorities with --client-ca"
        )));
    }
    let client_auth = match when {
        None | Some(ClientAuth::None) => tls::ClientAuth::None,
        Some(ClientAuth::Optional) => tls::ClientAuth::Optional { ca, crls },
        Some(ClientAuth::Required) => tls::ClientAuth::Required { ca, crls },
    };
    let setup = ServerSetup {
        client_auth,
        alpn: names(listener.alpn.as_deref()),
        ..ServerSetup::new(Identity { chain: cert.pem(), key: key.pem() })
    };
    setup.build().map_err(|error| Failure::usage(format_args!("listener {url}: {error}")))
}

/// The TLS towards an upstream at `url`, and the name that its certificate must bear.
///
/// # Errors
/// One line about the file that is missing or unusable.
pub fn client(upstream: &Upstream, url: &Url) -> Result<(Arc<ClientConfig>, ServerName<'static>), Failure> {
    let insecure = upstream.insecure.unwrap_or(false);
    let ca = upstream.cafile.as_deref().map(File::read).transpose()?;
    let identity = match (&upstream.cert, &upstream.key) {
        (Some(cert), Some(key)) => Some((File::read(cert)?, File::read(key)?)),
        (None, None) => None,
        _ => {
            return Err(Failure::usage(format_args!(
                "a certificate for {url} needs its private key, and the key its certificate; name both files"
            )));
        }
    };
    let system =
        if ca.is_none() && !insecure { rustls_native_certs::load_native_certs().certs } else { Vec::new() };
    let setup = ClientSetup {
        roots: &system,
        ca: ca.iter().map(File::pem).collect(),
        identity: identity.as_ref().map(|(cert, key)| Identity { chain: cert.pem(), key: key.pem() }),
        alpn: names(upstream.alpn.as_deref()),
        insecure,
        ..ClientSetup::default()
    };
    let name =
        tls::server_name(upstream.server_name.as_deref().unwrap_or(&url.host)).map_err(Failure::usage)?;
    let config = setup.build().map_err(|error| Failure::usage(format_args!("upstream {url}: {error}")))?;
    Ok((config, name))
}

/// A file in memory, with its name for messages.
struct File {
    name: String,
    bytes: Vec<u8>,
}

impl File {
    fn read(path: impl AsRef<Path>) -> Result<File, Failure> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let cannot = |why: &dyn std::fmt::Display| Failure::usage(format_args!("cannot read {name}: {why}"));
        let size = fs::metadata(path).map_err(|error| cannot(&error))?.len();
        if size > MAX_FILE {
            return Err(cannot(&"too long for a certificate or a key"));
        }
        let bytes = fs::read(path).map_err(|error| cannot(&error))?;
        Ok(File { name, bytes })
    }

    fn pem(&self) -> Pem<'_> {
        Pem { name: &self.name, bytes: &self.bytes }
    }
}

fn names(alpn: Option<&[String]>) -> Vec<Vec<u8>> {
    alpn.unwrap_or_default().iter().map(|name| name.clone().into_bytes()).collect()
}
