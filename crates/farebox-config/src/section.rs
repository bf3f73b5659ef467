//! Tables of the configuration file: each key with what it means and what stands in its place when
//! it is left out; and choices among words.

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

/// Choices among words, each what it is called in the file. Behind `=>` stands what they become, with
/// the same words.
macro_rules! choices {
    ($(
        $(#[$meta:meta])*
        pub enum $name:ident $(=> $built:ty)? { $($(#[$of_word:meta])* $word:ident,)+ }
    )+) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "kebab-case")]
        $(#[$meta])*
        pub enum $name {
            $($(#[$of_word])* $word,)+
        }

        $crate::section::choices!(@ $name, $($built)?, $($word)+);
    )+};
    (@ $name:ident, , $($word:ident)+) => {};
    (@ $name:ident, $built:ty, $($word:ident)+) => {
        impl From<$name> for $built {
            fn from(written: $name) -> Self {
                match written {
                    $($name::$word => Self::$word,)+
                }
            }
        }
    };
}

pub(crate) use choices;
pub(crate) use section;
