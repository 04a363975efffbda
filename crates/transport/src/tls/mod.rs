//! TLS: configurations from PEM, and the layer of one connection.
