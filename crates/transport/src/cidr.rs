//! Lists of address ranges, as in `10.0.0.0/8`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A range of IP addresses: an address and the number of leading bits that count.
///
/// IPv4 addresses and their IPv6-mapped form (`::ffff:10.0.0.1`) are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    /// The lowest address of the range, IPv4 mapped into IPv6.
    network: u128,
    /// Leading bits of `network` that count: 0 to 128.
    bits: u8,
}

/// Address ranges; an address is in the list if it is in any of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CidrList(Vec<Cidr>);

/// Why a text is not an address range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CidrError {
    text: String,
    why: &'static str,
}

/// Added to the prefix length of IPv4 ranges: IPv4 addresses live in `::ffff:0:0/96`.
const V4_OFFSET: u8 = 96;

impl Cidr {
    /// All addresses that begin with the same `bits` bits as `address`. Of IPv4 addresses, the 96 bits count that are
    /// in front of them in IPv6: a single one has 128. More than 128 are 128.
    pub fn leading(address: IpAddr, bits: u8) -> Cidr {
        let bits = bits.min(128);
        Cidr { network: number(address) & mask(bits), bits }
    }

    /// How many leading bits addresses of the range have in common, counted as in [`Cidr::leading`].
    pub fn leading_bits(&self) -> u8 {
        self.bits
    }

    /// Whether `address` is in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        number(address) & mask(self.bits) == self.network
    }
}

impl CidrList {
    /// Whether `address` is in any of the ranges.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|range| range.contains(address))
    }

    /// Whether there is no range at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<Cidr> for CidrList {
    fn from_iter<I: IntoIterator<Item = Cidr>>(ranges: I) -> CidrList {
        CidrList(ranges.into_iter().collect())
    }
}

impl FromStr for CidrList {
    type Err = CidrError;

    /// Ranges separated by commas or white space; none at all is an empty list.
    fn from_str(text: &str) -> Result<CidrList, CidrError> {
        let words = text.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
        words.map(Cidr::from_str).collect()
    }
}

impl From<IpAddr> for Cidr {
    fn from(address: IpAddr) -> Cidr {
        Cidr { network: number(address), bits: 128 }
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    /// `10.0.0.0/8`, `2001:db8::/32`, or a single address.
    ///
    /// # Errors
    /// Also if bits beyond the prefix are set: `10.1.2.3/8` is more likely a typing error than meant.
    fn from_str(text: &str) -> Result<Cidr, CidrError> {
        let fail = |why| CidrError { text: text.to_owned(), why };
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| fail("not an IP address; write one as 10.0.0.0/8 or 2001:db8::/32"))?;
        let (offset, width) = if address.is_ipv4() { (V4_OFFSET, 32) } else { (0, 128) };
        let bits = match prefix {
            None => width,
            Some(prefix) => prefix
                .parse::<u8>()
                .ok()
                .filter(|&bits| bits <= width && prefix.bytes().all(|b| b.is_ascii_digit()))
                .ok_or_else(|| fail("the prefix length must be 0 to 32 for IPv4, 0 to 128 for IPv6"))?,
        };
        let (network, bits) = (number(address), bits + offset);
        if network & !mask(bits) != 0 {
            return Err(fail(
                "the address has bits set beyond the prefix; clear them or lengthen the prefix",
            ));
        }
        Ok(Cidr { network, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let v6 = Ipv6Addr::from(self.network);
        match v6.to_ipv4_mapped() {
            Some(v4) if self.bits >= V4_OFFSET => write!(f, "{v4}/{}", self.bits - V4_OFFSET),
            _ => write!(f, "{v6}/{}", self.bits),
        }
    }
}

impl fmt::Display for CidrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad address range {:?}: {}", self.text, self.why)
    }
}

impl std::error::Error for CidrError {}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(v6) => v6.into(),
    }
}

fn mask(bits: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(list: &str, address: &str) -> bool {
        list.parse::<CidrList>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_are_made_of_addresses() {
        for (address, bits, range) in [
            ("10.1.2.3", 128, "10.1.2.3/32"),
            ("10.1.2.3", 104, "10.0.0.0/8"),
            ("::ffff:10.1.2.3", 200, "10.1.2.3/32"),
            ("2001:db8::1:2:3:4", 64, "2001:db8::/64"),
            ("2001:db8::1", 0, "::/0"),
        ] {
            let made = Cidr::leading(address.parse().unwrap(), bits);
            assert_eq!(made, range.parse().unwrap(), "{address} {bits}");
            assert_eq!(made.leading_bits(), bits.min(128));
        }
    }

    #[test]
    fn a_range_contains_its_addresses_and_no_others() {
        assert!(contains("10.0.0.0/8", "10.255.1.2"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("192.0.2.7", "192.0.2.7"));
        assert!(!contains("192.0.2.7", "192.0.2.8"));
        assert!(contains("2001:db8::/32, 127.0.0.1", "2001:db8:1::1"));
        assert!(contains("0.0.0.0/0", "255.255.255.255"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("::/0", "1.2.3.4"));
        assert!(!contains("", "1.2.3.4"));
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
    }

    #[test]
    fn bad_ranges_say_why() {
        for (text, why) in [
            ("10.0.0.0/33", "prefix length"),
            ("10.0.0.0/+8", "prefix length"),
            ("10.0.0.0/", "prefix length"),
            ("::/129", "prefix length"),
            ("10.0.0.1/8", "beyond the prefix"),
            ("localhost", "not an IP address"),
        ] {
            let error = text.parse::<Cidr>().unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(text), "{error}");
        }
    }

    #[test]
    fn display_reads_back() {
        for text in ["10.0.0.0/8", "2001:db8::/32", "::/0", "192.0.2.7/32", "0.0.0.0/0"] {
            let range: Cidr = text.parse().unwrap();
            assert_eq!(range.to_string(), text);
        }
    }
}
