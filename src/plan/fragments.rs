//! Types in; what a plan does about their values out, worked out once for all arguments and functions that have them.
//!
//! A fragment depends on nothing but the type and how many bytes of it are captured, so that plans are the same whoever asked first.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use super::pointers::Pointer;
use super::{Followed, behind};
use crate::dwarf::types::{TypeId, TypeTable};

/// The fragments of the plans of one run.
pub struct Fragments<'a> {
    types: &'a TypeTable,
    pointers: Memo<(Followed, u32), Arc<[Pointer]>>,
    prices: Memo<(TypeId, u32), u32>,
}

impl<'a> Fragments<'a> {
    /// None yet.
    #[must_use]
    pub fn new(types: &'a TypeTable) -> Self {
        Self { types, pointers: Memo::default(), prices: Memo::default() }
    }

    /// All types.
    #[must_use]
    pub fn types(&self) -> &'a TypeTable {
        self.types
    }

    /// The pointers in the first `captured` bytes of what a pointer leads to.
    #[must_use]
    pub fn pointers_behind(&self, what: Followed, captured: u32) -> Arc<[Pointer]> {
        self.pointers.get((what, captured), || behind::pointers_behind(what, captured, self.types).into())
    }

    /// What an element costs with some of what it leads to.
    #[must_use]
    pub fn element_price(&self, of: TypeId, element: u32) -> u32 {
        self.prices.get((of, element), || behind::element_price(of, element, self.types))
    }
}

/// What was worked out already. Two threads may work out the same at once.
struct Memo<K, V>(RwLock<HashMap<K, V>>);

impl<K, V> Default for Memo<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Copy + Hash + Eq, V: Clone> Memo<K, V> {
    fn get(&self, key: K, work_out: impl FnOnce() -> V) -> V {
        // What is in the map is whole, whoever panicked meanwhile.
        if let Some(known) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let value = work_out();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(key, value.clone());
        value
    }
}
