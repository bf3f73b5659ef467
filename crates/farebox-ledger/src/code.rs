//! The numbers under which closed lists are stored, both ways. Never change one.

macro_rules! codes {
    ($vis:vis $name:ident { $($value:ident = $code:literal,)+ }) => {
        impl $name {
            /// The stored number.
            #[must_use]
            $vis const fn code(self) -> i64 {
                match self {
                    $(Self::$value => $code,)+
                }
            }

            /// The one with this number.
            #[must_use]
            $vis const fn from_code(code: i64) -> Option<Self> {
                match code {
                    $($code => Some(Self::$value),)+
                    _ => None,
                }
            }
        }
    };
}

pub(crate) use codes;
