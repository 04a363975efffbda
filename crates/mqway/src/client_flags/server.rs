//! Which server the flags mean.

use mqway_transport::Url;
use mqway_transport::url::Scheme;

use super::ClientFlags;
use crate::failure::Failure;

/// A server, and the topic that its URL may name, as in mosquitto's `mqtt://host/topic`.
#[derive(Debug)]
pub struct Server {
    /// The URL, with credentials.
    pub text: String,
    /// What it means; it prints without credentials.
    pub url: Url,
    /// The topic, if there is one.
    pub topic: Option<String>,
}

impl Server {
    /// The server that `flags` name. `wants_tls`: there is a flag that makes no sense without TLS.
    pub(super) fn find(flags: &ClientFlags, wants_tls: bool) -> Result<Server, Failure> {
        if let Some(text) = flags.server.as_ref().or(flags.url.as_ref()) {
            return Server::parse(text, wants_tls);
        }
        if let Some(path) = &flags.unix {
            return Server::parse(&format!("unix:{path}"), false);
        }
        let host = flags.host.as_deref().unwrap_or("localhost");
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let tls = wants_tls || flags.port == Some(Scheme::Tls.default_port());
        let scheme = if tls { Scheme::Tls } else { Scheme::Tcp };
        let port = flags.port.unwrap_or(scheme.default_port());
        Server::parse(&format!("{scheme}://{host}:{port}"), false)
    }

    fn parse(text: &str, wants_tls: bool) -> Result<Server, Failure> {
        let (mut text, topic) = split_topic(text);
        // As mosquitto's -L: an authority to trust is not given for nothing. Whoever writes tcp:// means it.
        if wants_tls && let Some(rest) = text.strip_prefix("mqtt://") {
            text = format!("mqtts://{rest}");
        }
        let url = Url::parse_lenient(&text).map_err(Failure::usage)?;
        Ok(Server { text, url, topic })
    }
}

/// Takes the topic off a URL whose scheme has no path.
fn split_topic(text: &str) -> (String, Option<String>) {
    if let Some((scheme, rest)) = text.split_once("://")
        && ["mqtt", "mqtts", "tcp", "tls"].contains(&scheme.to_ascii_lowercase().as_str())
        && let Some((authority, topic)) = rest.split_once('/')
        // A slash in a password that was not encoded: the URL's own message tells how to.
        && !topic.contains('@')
    {
        let topic = (!topic.is_empty()).then(|| topic.to_owned());
        return (format!("{scheme}://{authority}"), topic);
    }
    (text.to_owned(), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, wants_tls: bool) -> (String, Option<String>) {
        let server = Server::parse(text, wants_tls).unwrap();
        (server.url.to_string(), server.topic)
    }

    #[test]
    fn a_path_is_a_topic_where_the_scheme_has_none() {
        let topic = |topic: &str| Some(topic.to_owned());
        assert_eq!(parsed("mqtt://host/a/+/#", false), ("tcp://host:1883".into(), topic("a/+/#")));
        assert_eq!(parsed("mqtts://me:pw@host:1/$SYS", false), ("tls://host:1".into(), topic("$SYS")));
        assert_eq!(parsed("tcp://host/", false), ("tcp://host:1883".into(), None));
        assert_eq!(parsed("ws://host/path", false), ("ws://host:80/path".into(), None));
        assert_eq!(parsed("unix:///a/b", false), ("unix:///a/b".into(), None));
        let told = Server::parse("mqtt://me:p/w@host", false).unwrap_err().message;
        assert!(told.contains("%2F") && !told.contains("p/w"), "{told}");
    }

    #[test]
    fn an_authority_to_trust_asks_for_tls() {
        assert_eq!(parsed("mqtt://host", true).0, "tls://host:8883");
        assert_eq!(parsed("tcp://host", true).0, "tcp://host:1883");
        assert_eq!(parsed("ws://host", true).0, "ws://host:80/mqtt");
    }
}
