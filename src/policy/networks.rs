//! Sets of networks: whether an address is in one of many.
//!
//! Networks become ranges of addresses that neither touch nor overlap, in two sorted arrays: one search by halves finds
//! the only range that an address can be in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Bits before the address in an IPv4-mapped one, `::ffff:0:0/96` (RFC 4291 section 2.5.5.2).
const MAPPED_BITS: u8 = 96;

/// Networks, of which an address is in one or in none.
///
/// With 100,000 random networks, half of them IPv6, a look-up takes some 25 ns for IPv4 and 130 ns for IPv6 (the test
/// `measure`, in release), and the set 2 MB. An index by the first bits is left out: it would cost more memory than the
/// networks of most, and IPv6 addresses in use begin alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkSet {
    v4: Ranges<u32>,
    v6: Ranges<u128>,
}

impl NetworkSet {
    /// Whether the address is in one of the networks; an IPv4-mapped IPv6 address is the IPv4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(address) => self.v4.contains(address.to_bits()),
            IpAddr::V6(address) => self.v6.contains(address.to_bits()),
        }
    }

    /// Ranges that are left where what lies in another one or next to it has become one with it.
    pub fn len(&self) -> usize {
        self.v4.first.len() + self.v6.first.len()
    }

    /// No address is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of memory: 8 a range of IPv4, 32 a range of IPv6.
    pub fn octets(&self) -> usize {
        size_of::<NetworkSet>() + self.v4.octets() + self.v6.octets()
    }
}

impl FromIterator<IpNet> for NetworkSet {
    /// Any number of networks, in any order; bits behind the prefix do not count.
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> NetworkSet {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for network in networks {
            match canonical(network) {
                IpNet::V4(net) => v4.push(bits_v4(net.network())..=bits_v4(net.broadcast())),
                IpNet::V6(net) => v6.push(bits_v6(net.network())..=bits_v6(net.broadcast())),
            }
        }
        // They came from 32 bits and fit there.
        let v4 = Ranges::of(merged(v4), |bits| bits as u32);
        NetworkSet { v4, v6: Ranges::of(merged(v6), |bits| bits) }
    }
}

fn bits_v4(address: Ipv4Addr) -> u128 {
    address.to_bits().into()
}

fn bits_v6(address: Ipv6Addr) -> u128 {
    address.to_bits()
}

/// A network of IPv4-mapped addresses is the one of the IPv4 addresses.
fn canonical(network: IpNet) -> IpNet {
    let mapped = |network: Ipv6Net| {
        let bits = network.prefix_len().checked_sub(MAPPED_BITS)?;
        Ipv4Net::new(network.network().to_ipv4_mapped()?, bits).ok()
    };
    match network {
        IpNet::V6(network) => mapped(network).map_or(IpNet::V6(network), IpNet::V4),
        IpNet::V4(network) => IpNet::V4(network),
    }
}

/// The same addresses in as few ranges as there can be, in order.
fn merged(mut ranges: Vec<RangeInclusive<u128>>) -> Vec<RangeInclusive<u128>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut merged: Vec<RangeInclusive<u128>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            // Above the last address there is none, so what begins later lies within.
            Some(last) if last.end().checked_add(1).is_none_or(|next| *range.start() <= next) => {
                *last = *last.start()..=*last.end().max(range.end());
            }
            _ => merged.push(range),
        }
    }
    merged
}

/// Ranges that neither touch nor overlap, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ranges<T> {
    first: Box<[T]>,
    /// Belongs to the range.
    last: Box<[T]>,
}

impl<T: Copy + Ord> Ranges<T> {
    fn of(ranges: Vec<RangeInclusive<u128>>, bits: impl Fn(u128) -> T) -> Ranges<T> {
        let first = ranges.iter().map(|range| bits(*range.start())).collect();
        let last = ranges.iter().map(|range| bits(*range.end())).collect();
        Ranges { first, last }
    }

    fn contains(&self, address: T) -> bool {
        let behind = self.first.partition_point(|first| *first <= address);
        behind.checked_sub(1).is_some_and(|at| address <= self.last[at])
    }

    fn octets(&self) -> usize {
        size_of_val(&*self.first) + size_of_val(&*self.last)
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::str::FromStr;
    use std::time::Instant;

    use super::*;

    fn set(networks: &[&str]) -> NetworkSet {
        networks.iter().map(|text| IpNet::from_str(text).unwrap()).collect()
    }

    fn v4(bits: u32, prefix: u8) -> IpNet {
        Ipv4Net::new(Ipv4Addr::from_bits(bits), prefix).unwrap().into()
    }

    fn v6(bits: u128, prefix: u8) -> IpNet {
        Ipv6Net::new(Ipv6Addr::from_bits(bits), prefix).unwrap().into()
    }

    #[test]
    fn an_address_is_in_a_network_or_not() {
        let table: &[(&[&str], &str, bool)] = &[
            (&[], "10.0.0.1", false),
            (&["10.0.0.0/8"], "10.0.0.0", true),
            (&["10.0.0.0/8"], "10.255.255.255", true),
            (&["10.0.0.0/8"], "11.0.0.0", false),
            (&["10.0.0.0/8"], "9.255.255.255", false),
            (&["10.1.2.3/8"], "10.9.9.9", true),
            (&["10.0.0.0/8"], "::ffff:10.0.0.1", true),
            (&["10.0.0.0/8"], "::a00:1", false),
            (&["::ffff:10.0.0.0/104"], "10.0.0.1", true),
            (&["::ffff:0:0/96"], "192.0.2.1", true),
            (&["::ffff:10.0.0.1/128"], "10.0.0.2", false),
            (&["::/0"], "2001:db8::1", true),
            (&["::/0"], "10.0.0.1", false),
            (&["0.0.0.0/0"], "255.255.255.255", true),
            (&["0.0.0.0/0"], "0.0.0.0", true),
            (&["0.0.0.0/0"], "::1", false),
            (&["2001:db8::/32"], "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", true),
            (&["2001:db8::/32"], "2001:db9::", false),
            (&["ffff::/16", "255.0.0.0/8"], "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", true),
            (&["10.0.0.0/8", "10.1.0.0/16"], "10.200.0.1", true),
        ];
        for (networks, address, wanted) in table {
            let found = set(networks).contains(IpAddr::from_str(address).unwrap());
            assert_eq!(found, *wanted, "{address} in {networks:?}");
        }
    }

    #[test]
    fn what_covers_another_and_what_touches_it_become_one() {
        let table: &[(&[&str], usize)] = &[
            (&[], 0),
            (&["10.0.0.0/8"], 1),
            (&["10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16"], 1),
            (&["10.0.0.0/9", "10.128.0.0/9"], 1),
            (&["10.0.0.0/32", "10.0.0.2/32"], 2),
            (&["0.0.0.0/0", "255.255.255.255/32"], 1),
            (&["::/0", "ffff::/16"], 1),
            (&["10.0.0.0/8", "::ffff:11.0.0.0/104"], 1),
            (&["0.0.0.0/0", "::/0"], 2),
        ];
        for (networks, wanted) in table {
            let set = set(networks);
            assert_eq!(set.len(), *wanted, "{networks:?}");
            assert_eq!(set.is_empty(), *wanted == 0);
        }
        assert_eq!(set(&["10.0.0.0/8"]).octets(), set(&[]).octets() + 8);
    }

    /// What the naive way says, of networks and an address as they are meant.
    fn naive(networks: &[IpNet], address: IpAddr) -> bool {
        let address = address.to_canonical();
        networks.iter().any(|network| canonical(*network).contains(&address))
    }

    #[test]
    fn it_says_what_a_walk_through_all_networks_says() {
        for seed in 0..300 {
            let mut random = fastrand::Rng::with_seed(seed);
            // Few high bits, so that networks meet; IPv4 at the bottom, IPv4-mapped, and anywhere.
            let bits = |random: &mut fastrand::Rng| {
                let low = u128::from(random.u32(..) & 0xe000_00e0);
                let high = [0, 0xffff << 32, u128::from(random.u8(..)) << 120];
                high[random.usize(..3)] | low
            };
            let networks: Vec<IpNet> = (0..random.usize(..60))
                .map(|_| match random.bool() {
                    true => v4(bits(&mut random) as u32, random.u8(..=32)),
                    false => v6(bits(&mut random), random.u8(..=128)),
                })
                .collect();
            let set: NetworkSet = networks.iter().copied().collect();
            assert!(set.len() <= networks.len());
            let near = networks.iter().flat_map(|net| [net.network(), net.broadcast()]);
            let mut addresses: Vec<IpAddr> = near.collect();
            let anywhere = |_| IpAddr::V6(Ipv6Addr::from_bits(bits(&mut random)));
            addresses.extend((0..100).map(anywhere));
            for address in addresses {
                // The neighbours of an address, too: off by one is what goes wrong.
                let around: [IpAddr; 3] = match address {
                    IpAddr::V4(a) => [-1, 0, 1]
                        .map(|by| Ipv4Addr::from_bits(a.to_bits().wrapping_add_signed(by)).into()),
                    IpAddr::V6(a) => [-1, 0, 1]
                        .map(|by| Ipv6Addr::from_bits(a.to_bits().wrapping_add_signed(by)).into()),
                };
                for address in around {
                    let wanted = naive(&networks, address);
                    assert_eq!(set.contains(address), wanted, "{seed}: {address}");
                }
            }
        }
    }

    /// Random networks, half of them IPv6 in 2000::/3, as long as announced and listed ones are.
    fn many(random: &mut fastrand::Rng, count: usize) -> Vec<IpNet> {
        let global = |random: &mut fastrand::Rng| random.u128(..) >> 3 | 1 << 125;
        let one = |at| match at % 2 {
            0 => v4(random.u32(..), random.u8(16..=32)),
            _ => v6(global(random), random.u8(32..=64)),
        };
        (0..count).map(one).collect()
    }

    #[test]
    #[ignore = "measures"]
    #[expect(clippy::disallowed_methods, reason = "a test has no core whose clock it could ask")]
    fn measure() {
        let mut random = fastrand::Rng::with_seed(1);
        for count in [100, 10_000, 100_000, 1_000_000] {
            let networks = many(&mut random, count);
            let begun = Instant::now();
            let set: NetworkSet = networks.iter().copied().collect();
            let built = begun.elapsed();
            let addresses: Vec<IpAddr> = (0..1 << 16)
                .map(|at| match (at % 2, networks[random.usize(..count)].network()) {
                    (0, IpAddr::V4(address)) => address.into(),
                    (0, IpAddr::V6(address)) => (address.to_bits() | 1).to_be_bytes().into(),
                    _ => many(&mut random, 2)[at / 2 % 2].network(),
                })
                .collect();
            for (name, is_v4) in [("v4", true), ("v6", false)] {
                let some: Vec<IpAddr> =
                    addresses.iter().copied().filter(|one| one.is_ipv4() == is_v4).collect();
                let begun = Instant::now();
                let rounds = 20;
                for _ in 0..rounds {
                    some.iter().for_each(|one| {
                        black_box(set.contains(black_box(*one)));
                    });
                }
                let each = begun.elapsed().as_nanos() as f64 / (rounds * some.len()) as f64;
                println!("{count} {name}: {each:.0} ns a look-up");
            }
            println!("{count}: {} ranges, {} octets, {built:?}", set.len(), set.octets());
        }
    }
}
