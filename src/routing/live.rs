//! `LiveTable`: the one swapped pointer; load once per request.

use super::table::RoutingTable;
use arc_swap::{ArcSwap, Guard};
use std::sync::Arc;

/// The table in force. Readers never wait; a swap is seen by the next request.
#[derive(Debug)]
pub struct LiveTable(ArcSwap<RoutingTable>);

impl LiveTable {
    /// Starts with a table.
    #[must_use]
    pub fn new(table: RoutingTable) -> Self {
        Self(ArcSwap::from_pointee(table))
    }

    /// The table for one request; call once and pass the reference down.
    #[inline]
    #[must_use]
    pub fn load(&self) -> Guard<Arc<RoutingTable>> {
        self.0.load()
    }

    /// Puts a new table in force.
    pub fn publish(&self, table: Arc<RoutingTable>) {
        self.0.store(table);
    }
}
