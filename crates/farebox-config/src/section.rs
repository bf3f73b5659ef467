//! Tables of the configuration file: each key with what it means and what stands in its place when
//! it is left out.

/// A table whose keys may all be left out. What stands behind a type is the default; without it that
/// of the type.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident {
            $($(#[$of_key:meta])* pub $key:ident: $type:ty $(= $default:expr)?,)+
        }
    ) => {
        #[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(default)]
        #[schemars(deny_unknown_fields)]
        $(#[$meta])*
        pub struct $name {
            $($(#[$of_key])* pub $key: $type,)+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $crate::section::section!(@ $($default)?),)+ }
            }
        }
    };
    (@) => { Default::default() };
    (@ $default:expr) => { $default };
}

pub(crate) use section;
