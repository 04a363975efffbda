#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod jwt;
pub mod password;
pub mod token;
