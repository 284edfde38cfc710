use super::{Node, Table, Value};

/// What is written in `over` on top of `base`: tables merge per key, everything else replaces.
pub fn merge(base: &Table, over: &Table) -> Table {
    let mut merged = base.clone();
    for (key, place, node) in over.iter() {
        let value = match (base.get(key).map(|node| &node.value), &node.value) {
            (Some(Value::Table(below)), Value::Table(above)) => Value::Table(merge(below, above)),
            (_, value) => value.clone(),
        };
        let node = Node {
            place: node.place,
            value,
        };
        merged.insert(key.to_owned(), place, node);
    }
    merged
}
