//! Which certificate answers to a name: the exact one, then the wildcard's, then the first. Pure.

use std::net::IpAddr;

use foldhash::{HashMap, HashMapExt};

use super::facts::Facts;

/// The certificates of a listener by the names they are for. `C` is whatever a certificate is to the caller.
#[derive(Debug)]
pub(super) struct Names<C> {
    /// The same name may have several, of different kinds of keys, in the order of the file.
    exact: HashMap<Box<str>, Vec<C>>,
    /// By the name without its first label.
    wildcard: HashMap<Box<str>, Vec<C>>,
    first: Vec<C>,
}

/// How a name was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It, or a wildcard that covers it, has a certificate.
    Named,
    /// Nothing has: these are those of a client that asks for nothing.
    Default,
}

impl<C: Clone> Names<C> {
    /// Certificates with their names, in the order of the file. Those of the first one are the default.
    pub(super) fn new<'a>(certificates: impl IntoIterator<Item = (C, &'a [String])>) -> Self
    where
        C: 'a,
    {
        let mut all = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            first: Vec::new(),
        };
        let mut first: Option<&[String]> = None;
        for (certificate, names) in certificates {
            // The default has two kinds of keys where a second certificate is for the very same names.
            if **first.get_or_insert(names) == *names {
                all.first.push(certificate.clone());
            }
            for name in names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut all.wildcard, parent),
                    None => (&mut all.exact, &**name),
                };
                let Some(name) = normal(name) else { continue };
                table
                    .entry(name.into())
                    .or_default()
                    .push(certificate.clone());
            }
        }
        all
    }

    /// Those for a name, at least one if there is any, by preference.
    pub(super) fn find(&self, name: Option<&str>) -> (Found, &[C]) {
        let named = name.and_then(normal).and_then(|name| {
            let exact = self.exact.get(&*name);
            exact.or_else(|| {
                // One label only (RFC 6125 §6.4.3), and never a public one's whole.
                let (_, parent) = name.split_once('.')?;
                self.wildcard.get(parent)
            })
        });
        match named {
            Some(certificates) => (Found::Named, certificates),
            None => (Found::Default, &self.first),
        }
    }
}

/// Lower case, without the dot of a full name. Nothing for what is no name.
pub(super) fn normal(name: &str) -> Option<std::borrow::Cow<'_, str>> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.starts_with('.') || name.ends_with('.') {
        return None;
    }
    Some(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    })
}

/// Whether a certificate names a host, which may be an IP address in any of its forms.
pub(super) fn covers(facts: &Facts, host: &str) -> bool {
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return facts.addresses.contains(&address);
    }
    let Some(host) = normal(host) else {
        return false;
    };
    let parent = host.split_once('.').map(|(_, parent)| parent);
    facts.names.iter().any(|name| {
        *name == *host
            || name
                .strip_prefix("*.")
                .is_some_and(|name| Some(name) == parent)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(of: &[&str]) -> Vec<String> {
        of.iter().map(|name| (*name).to_owned()).collect()
    }

    fn book(certificates: &[(u8, &[&str])]) -> Names<u8> {
        let owned: Vec<_> = certificates
            .iter()
            .map(|(id, of)| (*id, names(of)))
            .collect();
        Names::new(owned.iter().map(|(id, of)| (*id, &**of)))
    }

    #[test]
    fn an_exact_name_comes_before_a_wildcard_and_that_before_the_first() {
        let book = book(&[
            (1, &["first.test"]),
            (2, &["*.shop.test"]),
            (3, &["eu.shop.test"]),
        ]);
        let find = |name| book.find(name);
        assert_eq!(find(Some("eu.shop.test")), (Found::Named, &[3][..]));
        assert_eq!(find(Some("us.shop.test")), (Found::Named, &[2][..]));
        assert_eq!(find(Some("shop.test")), (Found::Default, &[1][..]));
        assert_eq!(find(Some("a.us.shop.test")), (Found::Default, &[1][..]));
        assert_eq!(find(None), (Found::Default, &[1][..]));
    }

    #[test]
    fn case_and_the_last_dot_make_no_difference() {
        let book = book(&[(1, &["first.test"]), (2, &["Shop.Test"])]);
        for name in ["shop.test", "SHOP.TEST", "shop.test.", "Shop.TEST."] {
            assert_eq!(book.find(Some(name)), (Found::Named, &[2][..]), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_finds_the_first_one() {
        let book = book(&[(1, &["first.test"]), (2, &["*.test"])]);
        let long = "a".repeat(300);
        for name in ["", ".", "..", ".test", "test..", "127.0.0.1", &long] {
            assert_eq!(book.find(Some(name)), (Found::Default, &[1][..]), "{name}");
        }
    }

    #[test]
    fn a_name_may_have_a_certificate_for_each_kind_of_key() {
        let book = book(&[
            (1, &["a.test"]),
            (2, &["a.test"]),
            (3, &["b.test"]),
            (4, &["b.test", "c.test"]),
        ]);
        assert_eq!(book.find(Some("a.test")).1, [1, 2]);
        assert_eq!(book.find(Some("b.test")).1, [3, 4]);
        assert_eq!(book.find(None).1, [1, 2]);
    }

    #[test]
    fn without_certificates_nothing_is_found() {
        assert_eq!(book(&[]).find(Some("a.test")), (Found::Default, &[][..]));
    }
}
