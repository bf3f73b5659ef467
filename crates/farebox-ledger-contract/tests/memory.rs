//! The store in memory shows what every store does, and serves two engines at once.

mod every {
    farebox_ledger_contract::every_store!(farebox_ledger_contract::Memory::in_haste());
}

mod shared {
    farebox_ledger_contract::shared_store!(farebox_ledger_contract::Memory::default());
}
