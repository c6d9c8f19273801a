//! A line that mostly has one in it.

use std::collections::VecDeque;

/// First in, first out. The one at the front stands in place, so that a line of one allocates
/// nothing.
#[derive(Debug)]
pub(super) struct Line<T> {
    first: Option<T>,
    /// Empty unless there is a first.
    more: VecDeque<T>,
}

impl<T> Line<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn has_one(&self) -> bool {
        self.first.is_some() && self.more.is_empty()
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    #[inline]
    pub(super) fn push(&mut self, item: T) {
        match self.first {
            None => self.first = Some(item),
            Some(_) => self.more.push_back(item),
        }
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.first.take()?;
        if !self.more.is_empty() {
            self.first = self.more.pop_front();
        }
        Some(item)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.first.iter().chain(&self.more)
    }

    /// Takes all of them.
    pub(super) fn take(&mut self) -> impl Iterator<Item = T> + use<T> {
        self.first.take().into_iter().chain(std::mem::take(&mut self.more))
    }

    /// Takes out those that `leaves` says so of.
    pub(super) fn take_if(&mut self, leaves: impl Fn(&T) -> bool) -> Vec<T> {
        if !self.iter().any(&leaves) {
            return Vec::new();
        }
        let (left, stay) = self.take().partition::<Vec<T>, _>(&leaves);
        stay.into_iter().for_each(|item| self.push(item));
        left
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Line { first: None, more: VecDeque::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_came_first_goes_first() {
        let mut line = Line::default();
        (1..=4).for_each(|n| line.push(n));
        assert_eq!(line.take_if(|n| n % 3 == 1), [1, 4]);
        assert_eq!(line.pop(), Some(2));
        assert!(line.has_one());
        line.push(5);
        assert_eq!(line.take().collect::<Vec<_>>(), [3, 5]);
        assert!(line.is_empty() && line.pop().is_none());
    }
}
