//! Which routes no request can take, because an earlier one takes it all.

use std::collections::HashMap;

use super::route::{Conditions, FieldCondition, HostPattern};

/// Earlier routes with one host and one path that a route is compared with.
const COMPARED: usize = 256;

/// A host and a path, as routes name them; `None`: every one.
type Key<'c> = (Option<&'c HostPattern>, Option<(&'c [u8], bool)>);

/// The same, for keeps.
type OwnKey = (Option<HostPattern>, Option<(Vec<u8>, bool)>);

/// The routes, by their places, that no request can take, each with an earlier one that takes it.
pub fn unreachable<'c>(routes: impl Iterator<Item = &'c Conditions>) -> Vec<(usize, usize)> {
    let mut known: HashMap<OwnKey, Vec<(usize, &Conditions)>> = HashMap::new();
    let mut found = Vec::new();
    for (number, conditions) in routes.enumerate() {
        let keys = keys(conditions);
        let earlier = |key: &Key<'_>| {
            above(key).find_map(|key| {
                let candidates = known.get(&key)?.iter().take(COMPARED);
                candidates.clone().find(|(_, earlier)| takes_in(earlier, conditions))
            })
        };
        let takers: Option<Vec<_>> = keys.iter().map(earlier).collect();
        if let Some((taker, _)) = takers.and_then(|takers| takers.first().copied()) {
            found.push((number, *taker));
        }
        for (host, path) in keys {
            let key = (host.cloned(), path.map(|(normal, below)| (normal.to_vec(), below)));
            known.entry(key).or_default().push((number, conditions));
        }
    }
    found
}

/// Every pair of host and path that a route names.
fn keys(Conditions { host, path, .. }: &Conditions) -> Vec<Key<'_>> {
    let hosts: Vec<_> = if host.is_empty() { vec![None] } else { host.iter().map(Some).collect() };
    let paths: Vec<Option<(&[u8], bool)>> = match path.is_empty() {
        true => vec![None],
        false => path.iter().map(|one| Some((one.normal.as_slice(), one.below))).collect(),
    };
    hosts.iter().flat_map(|host| paths.iter().map(|path| (*host, *path))).collect()
}

/// Every pair that takes in a pair, itself among them.
fn above((host, path): &Key<'_>) -> impl Iterator<Item = OwnKey> {
    let mut hosts = vec![None];
    if let Some(host) = host {
        let name = match host {
            HostPattern::Exact(name) => name,
            HostPattern::Below(domain) => domain,
        };
        hosts.push(Some((*host).clone()));
        let dots = name.match_indices('.').map(|(at, _)| &name[at + 1..]);
        hosts.extend(dots.map(|domain| Some(HostPattern::Below(domain.to_owned()))));
    }
    let mut paths = vec![None];
    if let Some((normal, below)) = path {
        paths.push(Some((normal.to_vec(), *below)));
        paths.push(Some((normal.to_vec(), true)));
        let slashes = normal.iter().enumerate().filter(|(_, octet)| **octet == b'/');
        paths.extend(slashes.map(|(at, _)| Some((normal[..at].to_vec(), true))));
    }
    hosts
        .into_iter()
        .flat_map(move |host| paths.clone().into_iter().map(move |path| (host.clone(), path)))
}

/// Whether `earlier` matches every request that `later` matches, in what is looked at one by one.
fn takes_in(earlier: &Conditions, later: &Conditions) -> bool {
    let all_of = |one: &[String], other: &[String]| {
        one.is_empty() || (!other.is_empty() && other.iter().all(|item| one.contains(item)))
    };
    let pairs = |one: &[FieldCondition], other: &[FieldCondition]| {
        one.iter().all(|condition| {
            other.iter().any(|known| {
                known.name.eq_ignore_ascii_case(&condition.name)
                    && all_of(&condition.values, &known.values)
            })
        })
    };
    let listens = earlier.listen.is_empty()
        || (!later.listen.is_empty()
            && later
                .listen
                .iter()
                .all(|one| earlier.listen.iter().any(|known| known == one || known.covers(one))));
    let clients = earlier.client.is_empty()
        || (!later.client.is_empty()
            && later
                .client
                .iter()
                .all(|one| earlier.client.iter().any(|known| known.contains(one))));
    listens
        && clients
        && all_of(&earlier.method, &later.method)
        && pairs(&earlier.header, &later.header)
        && pairs(&earlier.query, &later.query)
}

#[cfg(test)]
mod tests {
    use super::super::testing::plan;
    use super::*;

    #[test]
    fn a_route_behind_one_that_takes_all_of_it_is_unreachable() {
        for (conditions, expected) in [
            (["host = 'a'", "host = 'a'"], Some((1, 0))),
            (["host = 'a'", "host = ['a', 'b']"], None),
            (["", "host = 'a'\npath = '/b'"], Some((1, 0))),
            (["host = '*.a'", "host = 'b.c.a'"], Some((1, 0))),
            (["host = '*.a'", "host = 'a'"], None),
            (["path = '/a/*'", "path = '/a/b/*'"], Some((1, 0))),
            (["path = '/a/*'", "path = '/a'"], Some((1, 0))),
            (["path = '/a'", "path = '/a/*'"], None),
            (["path = '/a'\nmethod = 'GET'", "path = '/a'"], None),
            (["path = '/a'\nmethod = ['GET', 'PUT']", "path = '/a'\nmethod = 'PUT'"], Some((1, 0))),
            (["header = { A = true }", "header = { A = '1', B = '2' }"], Some((1, 0))),
            (["header = { A = '1' }", "header = { A = true }"], None),
            (["client = '10.0.0.0/8'", "client = '10.1.0.0/16'"], Some((1, 0))),
            (["client = '10.1.0.0/16'", "client = '10.0.0.0/8'"], None),
            (["listen = ':80'", "listen = [':80', '127.0.0.1:81']"], None),
        ] {
            let found = {
                let route = |conditions: &str| format!("[[route]]\n{conditions}\n");
                let routes = conditions.map(route).concat();
                let top = "listen = [':80', '127.0.0.1:81']\nupstream = 'http://a:1'\n";
                let plan = plan(&format!("{top}{routes}"));
                unreachable(plan.routes.iter().map(|route| &route.conditions))
            }
            .first()
            .copied();
            assert_eq!(found, expected, "{conditions:?}");
        }
    }
}
