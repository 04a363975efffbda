//! Web services that decide, and that are told what happens.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use mqway_access::http::WhenDown;
use serde::Deserialize;

use crate::quantity::{Bytes, Seconds};

/// A web service that says who may connect, and what each may do.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WebService {
    pub url: Option<String>,
    pub questions: Option<Vec<String>>,
    pub token_sources: Option<Vec<String>>,
    pub when_down: Option<WhenDown>,
    pub timeout: Option<Seconds>,
    pub headers: Option<Vec<String>>,
    pub headers_file: Option<PathBuf>,
    pub cafile: Option<PathBuf>,
    pub cache_allow: Option<Seconds>,
    pub cache_deny: Option<Seconds>,
    pub cache_longest: Option<Seconds>,
    pub max_cache: Option<Bytes>,
    pub max_parallel: Option<NonZeroUsize>,
    pub max_waiting: Option<NonZeroUsize>,
    pub max_waiting_bytes: Option<Bytes>,
}

/// A web service that is told what happens.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Webhooks {
    pub url: Option<String>,
    pub events: Option<Vec<String>>,
    pub topics: Option<Vec<String>>,
    pub max_payload: Option<Bytes>,
    pub timeout: Option<Seconds>,
    pub headers: Option<Vec<String>>,
    pub headers_file: Option<PathBuf>,
    pub cafile: Option<PathBuf>,
    pub batch: Option<NonZeroUsize>,
    pub linger: Option<Seconds>,
    pub max_waiting: Option<NonZeroUsize>,
    pub max_waiting_bytes: Option<Bytes>,
    pub longest_pause: Option<Seconds>,
    pub give_up: Option<Seconds>,
}
