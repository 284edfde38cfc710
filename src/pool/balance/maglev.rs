use crate::units::{Seed, below};

/// A table from keys to members: a look-up costs the same for any number of them, each has its weight's part of the table, and
/// few keys move besides those of a member that comes or goes (Maglev; Eisenbud and others, 2016).
pub struct Maglev(Box<[u32]>);

/// A prime; at a hundred places for each of 655 members a part is exact to a hundredth.
const SIZE: u32 = 65_537;

/// One member's wishes: its own order of all places, and how far it has got.
struct Wishes {
    next: u32,
    skip: u32,
    weight: u64,
    due: u64,
}

impl Maglev {
    /// `members`: a hash of each one's name, and its weight above 0.
    pub fn new(members: impl IntoIterator<Item = (u64, u32)>) -> Self {
        let wishes = members.into_iter().map(|(name, weight)| Wishes {
            next: place(name, 0, SIZE),
            skip: 1 + place(name, 1, SIZE - 1),
            weight: u64::from(weight),
            due: 0,
        });
        let mut wishes: Vec<Wishes> = wishes.collect();
        let Some(heaviest) = wishes.iter().map(|wishes| wishes.weight).max() else {
            return Self(Box::default());
        };
        let mut table = vec![None; SIZE as usize];
        let mut left = SIZE;
        for round in 1_u64.. {
            for (member, wishes) in (0_u32..).zip(&mut wishes) {
                // The heaviest takes a place each round, the others as often as their weights are to it.
                if round * wishes.weight < wishes.due {
                    continue;
                }
                wishes.due += heaviest;
                wishes.take(&mut table, member);
                left -= 1;
                if left == 0 {
                    return Self(table.into_iter().flatten().collect());
                }
            }
        }
        unreachable!("every round takes a place")
    }

    /// The member that a key belongs to, and those that follow in the table: each as often as it has places.
    pub fn owners(&self, key: u64) -> impl Iterator<Item = usize> {
        let start = below(key, self.0.len() as u64);
        let (before, after) = self.0.split_at(usize::try_from(start).unwrap_or(0));
        after.iter().chain(before).map(|member| *member as usize)
    }
}

impl Wishes {
    /// The first place of its order that is free. There is one: the order visits all, `SIZE` being prime.
    fn take(&mut self, table: &mut [Option<u32>], member: u32) {
        loop {
            let place = &mut table[self.next as usize];
            self.next = (self.next + self.skip) % SIZE;
            if place.is_none() {
                *place = Some(member);
                return;
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below a number of 32 bits")]
fn place(name: u64, salt: u8, end: u32) -> u32 {
    let mut bytes = [salt; 9];
    bytes[..8].copy_from_slice(&name.to_le_bytes());
    below(Seed::PUBLIC.hash(&bytes), u64::from(end)) as u32
}
