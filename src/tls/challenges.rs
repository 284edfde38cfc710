//! Proofs that we hold a name, shown while an authority looks for them (RFC 8555 §8, RFC 8737).

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use super::certificate::Certificate;

/// What the whole process shows at the moment: mostly nothing, and then a look costs one load.
#[derive(Default)]
pub struct Challenges {
    shown: AtomicUsize,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    /// By the last segment of the path that is asked for over HTTP.
    tokens: BTreeMap<String, String>,
    /// By the name that is asked for in a handshake.
    certificates: BTreeMap<String, Certificate>,
}

/// A proof is shown for as long as this is held.
pub struct Shown {
    among: Arc<Challenges>,
    what: What,
}

enum What {
    Token(String),
    Certificate(String),
}

impl Challenges {
    /// The path under which authorities ask for tokens.
    pub const PATH: &str = "/.well-known/acme-challenge/";

    /// What is to be answered to a request for this path, where anything is shown there.
    pub fn answer(&self, path: &str) -> Option<String> {
        if self.shown.load(Relaxed) == 0 {
            return None;
        }
        let token = path.strip_prefix(Self::PATH)?;
        self.all().tokens.get(token).cloned()
    }

    pub(super) fn certificate(&self, name: &str) -> Option<Certificate> {
        let name = super::names::normal(name)?;
        self.all().certificates.get(&*name).cloned()
    }

    pub fn show_token(self: &Arc<Self>, token: &str, authorization: &str) -> Shown {
        self.all()
            .tokens
            .insert(token.to_owned(), authorization.to_owned());
        self.show(What::Token(token.to_owned()))
    }

    pub fn show_certificate(self: &Arc<Self>, name: &str, certificate: Certificate) -> Shown {
        self.all().certificates.insert(name.to_owned(), certificate);
        self.show(What::Certificate(name.to_owned()))
    }

    fn show(self: &Arc<Self>, what: What) -> Shown {
        self.shown.fetch_add(1, Relaxed);
        Shown {
            among: self.clone(),
            what,
        }
    }

    /// Each change is one insertion or removal: a panic elsewhere leaves it sound.
    fn all(&self) -> MutexGuard<'_, All> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut all = self.among.all();
        match &self.what {
            What::Token(token) => drop(all.tokens.remove(token)),
            What::Certificate(name) => drop(all.certificates.remove(name)),
        }
        self.among.shown.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_for_as_long_as_it_is_held() {
        let challenges = Arc::new(Challenges::default());
        let asked = "/.well-known/acme-challenge/abc";
        assert_eq!(challenges.answer(asked), None);
        let shown = challenges.show_token("abc", "abc.thumb");
        assert_eq!(challenges.answer(asked).as_deref(), Some("abc.thumb"));
        for other in [
            "/",
            "/abc",
            "/.well-known/acme-challenge/",
            "/.well-known/acme-challenge/abc/d",
        ] {
            assert_eq!(challenges.answer(other), None, "{other}");
        }
        drop(shown);
        assert_eq!(challenges.answer(asked), None);
    }
}
