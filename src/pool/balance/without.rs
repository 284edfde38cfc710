/// Endpoints that a choice can be asked to avoid.
pub const AVOIDED: usize = 4;

/// The places of members that are not to be drawn, in ascending order. One more than may be avoided: of two choices the second is not
/// the first.
#[derive(Default)]
pub struct Without {
    places: [usize; AVOIDED + 1],
    count: usize,
}

impl Without {
    pub fn of(places: impl Iterator<Item = usize>) -> Self {
        let mut without = Self::default();
        for place in places.take(AVOIDED) {
            without.add(place);
        }
        without
    }

    pub fn add(&mut self, place: usize) {
        let end = self.sorted().partition_point(|other| *other < place);
        if self.sorted().get(end) != Some(&place) && self.count < self.places.len() {
            self.places[end..=self.count].rotate_right(1);
            self.places[end] = place;
            self.count += 1;
        }
    }

    pub fn has(&self, place: usize) -> bool {
        self.sorted().contains(&place)
    }

    pub fn sorted(&self) -> &[usize] {
        &self.places[..self.count]
    }
}
