//! Where the server is and how it is reached: the flags of the commands that dial by the engine.

use std::path::PathBuf;

use clap::ArgAction::SetTrue;
use clap::builder::FalseyValueParser;
use mqway_transport::url::Scheme;

use crate::settings::Upstream;

/// A server, and how to get there.
#[derive(Debug, clap::Args)]
pub struct DialFlags {
    /// The server: tcp://, tls://, ws://, wss:// or unix://, or host:port for TCP [default: tcp://localhost]
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// The server, as mosquitto's tools take it
    #[arg(short = 'L', long = "url", value_name = "URL", env = "MQWAY_URL")]
    server: Option<String>,
    /// The server's name or address, for TCP
    #[arg(short = 'h', long, value_name = "HOST", env = "MQWAY_HOST")]
    host: Option<String>,
    /// The server's TCP port
    #[arg(short, long, value_name = "PORT", env = "MQWAY_PORT")]
    port: Option<u16>,
    /// Certificates of the authorities that sign the server's, in PEM, instead of the system's
    #[arg(long, value_name = "FILE", env = "MQWAY_CAFILE")]
    cafile: Option<PathBuf>,
    /// Our certificate chain, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_CERT")]
    cert: Option<PathBuf>,
    /// Private key of our certificate, in PEM
    #[arg(long, value_name = "FILE", env = "MQWAY_KEY")]
    key: Option<PathBuf>,
    /// Believe any certificate of the server: anyone on the way can read and change everything
    #[arg(long, env = "MQWAY_INSECURE", action = SetTrue, value_parser = FalseyValueParser::new())]
    insecure: bool,
    /// Offer this application protocol in the TLS handshake; repeat it for more
    #[arg(long, value_name = "NAME", env = "MQWAY_ALPN", value_delimiter = ' ')]
    alpn: Vec<String>,
    /// Send this header field with the WebSocket handshake; repeat it for more
    #[arg(long, value_name = "'NAME: VALUE'", env = "MQWAY_HEADER", value_delimiter = '\n')]
    header: Vec<String>,
    /// Offer this WebSocket subprotocol instead of mqtt; repeat it for more, or leave it empty to offer none
    #[arg(long, value_name = "NAME", env = "MQWAY_SUBPROTOCOL", value_delimiter = ' ')]
    subprotocol: Vec<String>,
    /// Dial through this proxy, http://host:port or socks5://host:port, or "none" for none
    /// [default: from HTTPS_PROXY, ALL_PROXY, NO_PROXY]
    #[arg(long, value_name = "URL", env = "MQWAY_PROXY")]
    proxy: Option<String>,
}

impl DialFlags {
    /// The server, in the words of the configuration.
    pub fn upstream(&self) -> Upstream {
        // No conflict between them: one may come from the environment, and the command line must win.
        let url = match (&self.url, &self.host, self.port, &self.server) {
            (Some(url), ..) | (None, None, None, Some(url)) => url.clone(),
            (None, host, port, _) => {
                let host = host.as_deref().unwrap_or("localhost");
                let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
                format!("tcp://{host}:{}", port.unwrap_or(Scheme::Tcp.default_port()))
            }
        };
        let some = |words: &[String]| (!words.is_empty()).then(|| words.to_vec());
        Upstream {
            url: Some(url),
            cafile: self.cafile.clone(),
            cert: self.cert.clone(),
            key: self.key.clone(),
            insecure: Some(self.insecure),
            alpn: some(&self.alpn),
            server_name: None,
            headers: some(&self.header),
            subprotocols: some(&self.subprotocol),
            proxy: self.proxy.clone(),
        }
    }
}
