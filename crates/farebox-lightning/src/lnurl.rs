//! Lightning Address (LNURL-pay) as a backend.
