//! Which endpoints a provider may register (challenge.md §2.1).

use crate::types::{Endpoint, Ip};

impl Endpoint {
    /// Whether somebody can be reached there: a port, and an address of one machine.
    pub fn is_reachable(&self) -> bool {
        self.port != 0 && is_unicast(self.ip.canonical())
    }

    /// Whether it lies on the public internet, not in a network of its own.
    pub fn is_public(&self) -> bool {
        match self.ip.canonical() {
            Ip::V4(octets) => is_public_v4(octets),
            Ip::V6(octets) => is_public_v6(octets),
        }
    }
}

impl Ip {
    /// An IPv4 address that is mapped into IPv6 (`::ffff:0:0/96`) as what it is.
    fn canonical(self) -> Self {
        match self {
            Self::V6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]) => {
                Self::V4([a, b, c, d])
            }
            other => other,
        }
    }
}

/// Neither unspecified nor multicast nor broadcast.
fn is_unicast(ip: Ip) -> bool {
    match ip {
        Ip::V4([first, ..]) => first != 0 && first < 224,
        Ip::V6(octets) => octets != [0; 16] && octets[0] != 0xff,
    }
}

/// Not one of the special blocks of RFC 6890 that lead to no machine of the internet.
fn is_public_v4(octets: [u8; 4]) -> bool {
    !matches!(
        octets,
        [0 | 10 | 127 | 224..=255, ..] // this network, private, loopback, multicast and above
            | [100, 64..=127, ..] // shared by carriers
            | [169, 254, ..] // link-local
            | [172, 16..=31, ..] // private
            | [192, 168, ..] // private
            | [192, 0, 0 | 2, _] // protocol assignments, documentation
            | [198, 18..=19, ..] // benchmarks
            | [198, 51, 100, _] // documentation
            | [203, 0, 113, _] // documentation
    )
}

/// Global unicast (`2000::/3`) without documentation and tunnels into IPv4.
fn is_public_v6(octets: [u8; 16]) -> bool {
    match octets {
        [0x20, 0x01, 0x0d, 0xb8, ..] => false, // documentation
        [0x20, 0x01, 0x00, 0x00, ..] => false, // Teredo
        [0x20, 0x02, ..] => false,             // 6to4
        [first, ..] => first & 0xe0 == 0x20,
    }
}
