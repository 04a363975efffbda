//! Layers of bytes.
