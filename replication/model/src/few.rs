//! A short list stored in place, so that a state is copied without touching the heap.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// At most `N` values. Places behind the last one hold the default, so that equal lists are equal bytes.
///
/// The capacities are limits of the model, not of the protocol: a list that overflows ends the search with a panic
/// rather than losing a message unnoticed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Few<T, const N: usize> {
    items: [T; N],
    len: u8,
}

impl<T: Copy + Default, const N: usize> Few<T, N> {
    /// Adds a value at the end.
    pub fn push(&mut self, item: T) {
        assert!(usize::from(self.len) < N, "the bounds of this search need more than {N} places in a list");
        self.items[usize::from(self.len)] = item;
        self.len += 1;
    }

    /// Takes the last value away.
    pub fn pop(&mut self) {
        assert!(self.len > 0, "nothing is taken from an empty list");
        self.remove(usize::from(self.len) - 1);
    }

    /// Takes one value out and keeps the order of the others.
    pub fn remove(&mut self, index: usize) {
        let len = usize::from(self.len);
        self.items.copy_within(index + 1..len, index);
        self.items[len - 1] = T::default();
        self.len -= 1;
    }
}

impl<T: Copy + Default + Ord, const N: usize> Few<T, N> {
    /// Adds a value in its place of the order, once: what is in flight is a set, whoever sent first.
    pub fn insert(&mut self, item: T) {
        if let Err(index) = self.binary_search(&item) {
            self.push(item);
            let len = usize::from(self.len);
            self.items[index..len].rotate_right(1);
        }
    }

    /// Replaces the first value that `same` finds, or inserts.
    pub fn replace(&mut self, same: impl Fn(&T) -> bool, item: T) {
        if let Some(index) = self.iter().position(same) {
            self.remove(index);
        }
        self.insert(item);
    }
}

impl<T: Copy + Default, const N: usize> Default for Few<T, N> {
    fn default() -> Self {
        Few { items: [T::default(); N], len: 0 }
    }
}

impl<T, const N: usize> Deref for Few<T, N> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.items[..usize::from(self.len)]
    }
}

impl<T: Hash, const N: usize> Hash for Few<T, N> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        hasher.write_u8(self.len);
        for item in &**self {
            item.hash(hasher);
        }
    }
}

impl<T: fmt::Debug, const N: usize> fmt::Debug for Few<T, N> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_list().entries(&**self).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_insertion_is_forgotten() {
        let (mut one, mut other) = (Few::<u8, 4>::default(), Few::default());
        [3, 1, 2, 1].into_iter().for_each(|item| one.insert(item));
        [2, 3, 1].into_iter().for_each(|item| other.insert(item));
        assert_eq!(*one, [1, 2, 3]);
        assert!(one == other);
    }

    #[test]
    fn what_was_removed_leaves_no_trace() {
        let mut list = Few::<u8, 4>::default();
        [5, 6, 7].into_iter().for_each(|item| list.push(item));
        list.remove(1);
        list.pop();
        let mut fresh = Few::default();
        fresh.push(5);
        assert!(list == fresh);
        list.replace(|item| *item == 5, 9);
        assert_eq!(*list, [9]);
    }

    #[test]
    #[should_panic(expected = "need more than 2 places")]
    fn an_overflow_is_not_silent() {
        let mut list = Few::<u8, 2>::default();
        (0..3).for_each(|item| list.push(item));
    }
}
