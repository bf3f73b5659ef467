//! Statements: prepared once, kept, and run.

use rusqlite::{CachedStatement, Connection, Params, Row};

use crate::store::StoreError;

/// One statement for row after row: looked up for the first, and kept to the last.
pub(super) struct Each<'c> {
    connection: &'c Connection,
    sql: &'static str,
    statement: Option<CachedStatement<'c>>,
}

impl<'c> Each<'c> {
    pub(super) const fn of(connection: &'c Connection, sql: &'static str) -> Self {
        Self {
            connection,
            sql,
            statement: None,
        }
    }

    /// Runs it, and says how many rows it changed.
    pub(super) fn run(&mut self, values: impl Params) -> Result<usize, StoreError> {
        let statement = match &mut self.statement {
            Some(statement) => statement,
            none => none.insert(self.connection.prepare_cached(self.sql)?),
        };
        Ok(statement.execute(values)?)
    }

    /// Changes one row, as [`Sql::change_one`] does.
    pub(super) fn change_one(
        &mut self,
        row: &'static str,
        values: impl Params,
    ) -> Result<(), StoreError> {
        one(row, self.run(values)?)
    }
}

const fn one(row: &'static str, changed: usize) -> Result<(), StoreError> {
    match changed {
        1 => Ok(()),
        _ => Err(StoreError::Corrupt(row)),
    }
}

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
        one(row, self.run(sql, values)?)
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
