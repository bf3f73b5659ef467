//! Tables whose keys belong to several types. serde's own `flatten` reads them from a copy that no
//! longer knows where each value stands, and takes every key; here each type takes its keys as they
//! come, and a key that nobody takes is unknown.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// A type that stands in a table together with others.
pub(crate) trait Part: Default {
    /// Reads the value of `key` where it is one of this type's, and says whether it was.
    fn take<'de, A: MapAccess<'de>>(&mut self, key: &str, table: &mut A) -> Result<bool, A::Error>;
}

/// Reads a whole table.
pub(crate) fn read<'de, T: Part, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_map(Table(PhantomData))
}

struct Table<T>(PhantomData<T>);

impl<'de, T: Part> Visitor<'de> for Table<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<T, A::Error> {
        let mut part = T::default();
        while let Some(key) = table.next_key::<String>()? {
            if !part.take(&key, &mut table)? {
                table.next_value::<IgnoredAny>()?;
            }
        }
        Ok(part)
    }
}

/// Tables like those of `section!` that stand in one table with others: all keys of the type behind
/// `with` are their own too.
macro_rules! parts {
    ($(
        $(#[$meta:meta])*
        pub struct $name:ident $(with $inner:ident: $other:ty)? {
            $($(#[$of_key:meta])* pub $key:ident: $type:ty $(= $default:expr)?,)+
        }
    )+) => {$(
        #[derive(Clone, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
        #[serde(default)]
        $(#[$meta])*
        pub struct $name {
            $(
                /// What has its keys in the same table.
                #[serde(flatten)]
                pub $inner: $other,
            )?
            $($(#[$of_key])* pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self {
                    $($inner: Default::default(),)?
                    $($key: $crate::section::section!(@ $($default)?),)+
                }
            }
        }

        impl $crate::parts::Part for $name {
            fn take<'de, A: serde::de::MapAccess<'de>>(
                &mut self,
                key: &str,
                table: &mut A,
            ) -> Result<bool, A::Error> {
                match key {
                    $(stringify!($key) => self.$key = table.next_value()?,)+
                    _ => {
                        $(if self.$inner.take(key, table)? {
                            return Ok(true);
                        })?
                        return Ok(false);
                    }
                }
                Ok(true)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::parts::read(deserializer)
            }
        }
    )+};
}

pub(crate) use parts;
