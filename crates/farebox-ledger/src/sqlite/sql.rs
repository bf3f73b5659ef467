//! Statements: prepared once, kept, and run.

use rusqlite::{Connection, Params, Row};

use crate::store::StoreError;

pub(super) trait Sql {
    /// Runs a statement, and says how many rows it changed.
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError>;

    /// Changes one row. That it is not there any more means that somebody else wrote.
    fn change_one(
        &self,
        row: &'static str,
        sql: &str,
        values: impl Params,
    ) -> Result<(), StoreError> {
        match self.run(sql, values)? {
            1 => Ok(()),
            _ => Err(StoreError::Corrupt(row)),
        }
    }

    /// Every row that is found.
    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError>;

    /// Every row that is found and can be read; what is wrong with another is told to the log.
    fn readable<T>(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.all(sql, values, |row| match read(row) {
            Err(error) if error.is_of_a_row() => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "a row of the ledger is broken; it is passed over");
                Ok(None)
            }
            read => read.map(Some),
        })?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// The first row that is found, if any is.
    fn first<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError>;
}

impl Sql for Connection {
    fn run(&self, sql: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.prepare_cached(sql)?.execute(values)?)
    }

    fn all<T>(
        &self,
        sql: &str,
        values: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut found = statement.query(values)?;
        let mut all = Vec::new();
        while let Some(row) = found.next()? {
            all.push(read(row)?);
        }
        Ok(all)
    }

    fn first<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.prepare_cached(sql)?;
        let mut found = statement.query(values)?;
        found.next()?.map(read).transpose()
    }
}
