//! A map by pid that says "no" at once.
//!
//! A pass asks of every process of the host whether its parent or the leader of its session is one of a few. Nearly all
//! are not, and one bit answers for these; the tree is asked for the others. It decides nothing.

use std::collections::BTreeMap;

/// Bits; pids that share one cost a look into the tree.
const BITS: usize = 4096;

/// Values by pid.
#[derive(Debug)]
pub(super) struct MarkedMap<V> {
    values: BTreeMap<i32, V>,
    marks: [u64; BITS / 64],
}

impl<V> MarkedMap<V> {
    pub(super) fn new() -> Self {
        Self { values: BTreeMap::new(), marks: [0; BITS / 64] }
    }

    /// False: surely not in it.
    fn may_have(&self, pid: i32) -> bool {
        let (word, bit) = place(pid);
        self.marks.get(word).is_some_and(|marks| marks & bit != 0)
    }

    pub(super) fn get(&self, pid: i32) -> Option<&V> {
        if self.may_have(pid) { self.values.get(&pid) } else { None }
    }

    pub(super) fn has(&self, pid: i32) -> bool {
        self.get(pid).is_some()
    }

    /// Whoever is in it already is replaced.
    pub(super) fn insert(&mut self, pid: i32, value: V) {
        let (word, bit) = place(pid);
        if let Some(marks) = self.marks.get_mut(word) {
            *marks |= bit;
        }
        self.values.insert(pid, value);
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }

    /// Ascending by pid.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i32, &V)> {
        self.values.iter().map(|(pid, value)| (*pid, value))
    }
}

impl<V> Extend<(i32, V)> for MarkedMap<V> {
    fn extend<T: IntoIterator<Item = (i32, V)>>(&mut self, more: T) {
        more.into_iter().for_each(|(pid, value)| self.insert(pid, value));
    }
}

/// The word of a pid, and its bit there.
fn place(pid: i32) -> (usize, u64) {
    let at = usize::try_from(pid).unwrap_or(0) % BITS;
    (at / 64, 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_answers_as_its_tree_does(
            inside in prop::collection::btree_map(any::<i32>(), any::<u8>(), 0..200),
            asked in prop::collection::vec(any::<i32>(), 0..200),
            near in -2_i32..3,
        ) {
            let mut map = MarkedMap::new();
            map.extend(inside.clone());
            let twins = inside.keys().flat_map(|pid| [pid.wrapping_add(4096 * near), *pid]);
            for pid in asked.into_iter().chain(twins) {
                prop_assert_eq!(map.get(pid), inside.get(&pid));
                prop_assert!(map.may_have(pid) || !inside.contains_key(&pid));
            }
            prop_assert_eq!(map.len(), inside.len());
            prop_assert!(map.iter().map(|(pid, value)| (pid, *value)).eq(inside));
        }
    }
}
