//! The text of the state file.
//!
//! What is said of one service, or of one answer, is kept beside it, so that a change writes anew what it has changed, and not
//! what a thousand others have been for days.

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

use super::{
    answers::Answer,
    memory::{Memory, ServiceMemory},
};
use crate::units::Timestamp;

#[derive(Default)]
pub(super) struct StateText {
    services: Texts<ServiceMemory>,
    answers: Texts<Answer>,
}

impl StateText {
    /// All of it; reads back as [`Memory`].
    pub fn of(
        &mut self,
        schema: u32,
        memory: &Memory,
        at: Timestamp,
    ) -> serde_json::Result<Vec<u8>> {
        let Memory {
            services,
            answers,
            last_event,
        } = memory;
        let mut out = Vec::with_capacity(self.services.bytes + self.answers.bytes + (64 << 10));
        out.extend_from_slice(b"{\"schema\":");
        serde_json::to_writer(&mut out, &schema)?;
        out.extend_from_slice(b",\"written\":");
        serde_json::to_writer(&mut out, &at)?;
        out.extend_from_slice(b",\"services\":{");
        let mut kept = self.services.turn();
        for (place, (name, service)) in services.iter().enumerate() {
            push_comma(&mut out, place);
            serde_json::to_writer(&mut out, name)?;
            out.push(b':');
            out.extend_from_slice(kept.text(service)?);
        }
        out.extend_from_slice(b"},\"answers\":[");
        let mut kept = self.answers.turn();
        for (place, answer) in answers.iter().enumerate() {
            push_comma(&mut out, place);
            out.extend_from_slice(kept.text(answer)?);
        }
        out.extend_from_slice(b"],\"last_event\":");
        serde_json::to_writer(&mut out, last_event)?;
        out.extend_from_slice(b"}\n");
        Ok(out)
    }
}

fn push_comma(out: &mut Vec<u8>, place: usize) {
    if place > 0 {
        out.push(b',');
    }
}

/// Texts by the address of what they say; that is held with them, so nothing else can have come to stand there.
struct Texts<T> {
    by_address: HashMap<usize, (Arc<T>, Box<[u8]>)>,
    bytes: usize,
}

impl<T> Default for Texts<T> {
    fn default() -> Self {
        Self {
            by_address: HashMap::new(),
            bytes: 0,
        }
    }
}

/// One time through all of them; what it does not ask for is let go.
struct Turn<'a, T> {
    now: &'a mut Texts<T>,
    before: HashMap<usize, (Arc<T>, Box<[u8]>)>,
}

impl<T: Serialize> Texts<T> {
    fn turn(&mut self) -> Turn<'_, T> {
        let before = std::mem::take(&mut self.by_address);
        self.by_address.reserve(before.len());
        self.bytes = 0;
        Turn { now: self, before }
    }
}

impl<T: Serialize> Turn<'_, T> {
    fn text(&mut self, of: &Arc<T>) -> serde_json::Result<&[u8]> {
        let address = Arc::as_ptr(of).addr();
        let kept = match self.before.remove(&address) {
            Some(kept) => kept,
            None => (of.clone(), serde_json::to_vec(&**of)?.into()),
        };
        self.now.bytes += kept.1.len();
        Ok(&self.now.by_address.entry(address).or_insert(kept).1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Name, Weights};

    fn memory(services: usize) -> Memory {
        let weights: Weights = [("blue", 90), ("green", 10)]
            .map(|(pool, weight)| (pool.parse().unwrap(), weight))
            .into_iter()
            .collect();
        let service = |place| -> (Name, _) {
            let name = format!("s{place:04}").parse().unwrap();
            (name, Arc::new(ServiceMemory::new(weights.clone())))
        };
        Memory {
            services: (0..services).map(service).collect(),
            last_event: 7,
            ..Memory::default()
        }
    }

    fn read(text: &[u8]) -> Memory {
        serde_json::from_slice(text).unwrap()
    }

    #[test]
    fn it_reads_back_as_what_it_was_made_of() {
        let mut text = StateText::default();
        for services in [0, 1, 3] {
            let memory = memory(services);
            let written = text.of(1, &memory, Timestamp::now()).unwrap();
            assert_eq!(read(&written), memory);
            assert!(written.starts_with(b"{\"schema\":1,") && written.ends_with(b"}\n"));
        }
    }

    #[test]
    fn what_has_changed_is_written_anew_and_what_has_gone_is_let_go() {
        let mut text = StateText::default();
        let mut memory = memory(3);
        text.of(1, &memory, Timestamp::now()).unwrap();
        let name: Name = "s0001".parse().unwrap();
        Arc::make_mut(memory.services.get_mut(&name).unwrap()).revision = 42;
        let written = text.of(1, &memory, Timestamp::now()).unwrap();
        assert_eq!(read(&written), memory);
        let gone = memory.services.remove(&name).unwrap();
        let written = text.of(1, &memory, Timestamp::now()).unwrap();
        assert_eq!(read(&written), memory);
        assert_eq!(Arc::strong_count(&gone), 1);
    }
}
