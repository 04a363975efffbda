#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod acl;
pub mod bans;
pub mod certificate;
pub mod hook;
pub mod http;
pub mod identity;
pub mod jwks;
pub mod jwt;
pub mod password;
pub mod pool;
pub mod rates;
pub mod rewrite;
pub mod scram;
pub mod token;
pub mod web;
pub mod webhook;

#[cfg(test)]
mod fake_server;
