//! Definition of configuration types: one text gives the struct, its reader and its serialiser.

use crate::{At, FromNode, Node};

/// Reads the fields of one object; afterwards every field nobody asked for is a fault.
pub struct FieldReader<'n, 'a> {
    fields: &'n [(std::borrow::Cow<'a, str>, Node<'a>)],
}

impl<'n, 'a> FieldReader<'n, 'a> {
    /// Starts on `node`, which must be an object whose keys are all in `known`; unknown ones are faults.
    #[inline(never)]
    pub fn start(node: &'n Node<'a>, known: &[&str], at: &mut At) -> Option<Self> {
        let Node::Object(fields) = node else {
            return at.fault(node, "expected an object");
        };
        for (key, value) in fields.iter().filter(|(key, _)| !known.contains(&key.as_ref())) {
            at.key(key, |at| at.fault::<()>(value, format!("unknown field, expected one of {}", known.join(", "))));
        }
        Some(Self { fields })
    }

    /// Reads the field `name`. `default` is what an absent (or null) field gives; `None` makes it required.
    ///
    /// Not inlined, and `default` a function wherever it can be one: so there is one copy for each type of field, not for
    /// each field.
    #[inline(never)]
    pub fn read<T: FromNode, D: FnOnce() -> Option<T>>(
        &mut self,
        name: &'static str,
        default: D,
        at: &mut At,
    ) -> Option<T> {
        match self.find(name) {
            Some(value) => at.field(name, |at| T::from_node(value, at)),
            None => default().or_else(|| missing(name, at)),
        }
    }

    /// Reads the field `name` into `slot`, which keeps what it has when the field is absent. False after a fault.
    ///
    /// For types with many fields that all have a default: it costs a module a fraction of what [`FieldReader::read`]
    /// does.
    #[inline(never)]
    pub fn read_into<T: FromNode>(&mut self, name: &'static str, slot: &mut T, at: &mut At) -> bool {
        let Some(value) = self.find(name) else {
            return true;
        };
        match at.field(name, |at| T::from_node(value, at)) {
            Some(value) => *slot = value,
            None => return false,
        }
        true
    }

    #[inline(never)]
    fn find(&self, name: &str) -> Option<&'n Node<'a>> {
        let (_, value) = self.fields.iter().find(|(key, _)| key == name)?;
        (!matches!(value, Node::Null)).then_some(value)
    }
}

#[inline(never)]
fn missing<T>(name: &'static str, at: &mut At) -> Option<T> {
    at.field(name, |at| at.fault("nothing", "required field is missing"))
}

/// For serde's `skip_serializing_if`.
pub fn is_absent<T: FromNode>(value: &T) -> bool {
    value.is_absent()
}

/// Defines configuration structs: fields with their JSON names, all faults of an object reported at once, unknown
/// fields refused. Natively each struct is also `serde::Serialize`, with the same names.
///
/// ```
/// plugin_config::object! {
///     /// How long to hold a request.
///     #[derive(Clone, Debug, PartialEq)]
///     pub struct Delay {
///         /// The time to hold.
///         pub fixed_delay: plugin_config::Duration = "fixedDelay",
///         /// The share of requests to hold; none when absent.
///         pub percentage: Option<plugin_config::Percent> = "percentage",
///         /// How often to try.
///         pub attempts: u32 = "attempts" or 2,
///     }
/// }
/// let delay: Delay = plugin_config::from_slice(br#"{"fixedDelay": "5s"}"#)?;
/// assert_eq!((delay.percentage, delay.attempts), (None, 2));
/// let faults = plugin_config::from_slice::<Delay>(br#"{"attempts": -1, "percent": 5}"#).unwrap_err();
/// assert_eq!(faults.iter().count(), 3);
/// # Ok::<(), plugin_config::Faults>(())
/// ```
#[macro_export]
macro_rules! object {
    ($(
        $(#[$attr:meta])*
        $vis:vis struct $name:ident {
            $(
                $(#[$field_attr:meta])*
                $field_vis:vis $field:ident: $type:ty = $key:literal $(or $default:expr)?
            ),* $(,)?
        }
    )*) => {$(
        $(#[$attr])*
        #[cfg_attr(not(target_family = "wasm"), derive($crate::serde::Serialize))]
        #[cfg_attr(not(target_family = "wasm"), serde(crate = "plugin_config::serde"))]
        $vis struct $name {
            $(
                $(#[$field_attr])*
                #[cfg_attr(not(target_family = "wasm"), serde(rename = $key, skip_serializing_if = "plugin_config::is_absent"))]
                $field_vis $field: $type,
            )*
        }

        impl $crate::FromNode for $name {
            fn from_node(node: &$crate::Node<'_>, at: &mut $crate::At) -> Option<Self> {
                #[allow(unused_mut, unused_variables, reason = "an object may have no fields")]
                let mut fields = $crate::FieldReader::start(node, &[$($key),*], at)?;
                $(
                    let $field = fields.read::<$type, _>($key, $crate::object!(@default $type $(, $default)?), at);
                )*
                Some(Self { $($field: $field?),* })
            }
        }
    )*};
    (@default $type:ty) => { <$type as $crate::FromNode>::absent };
    (@default $type:ty, $default:expr) => { || Some($default) };
}

/// Defines an enum of fixed words (`ALLOW`, `DENY` …), compared to the letter.
///
/// ```
/// plugin_config::keyword! {
///     /// What a policy does.
///     pub enum Action {
///         /// Lets the request pass.
///         Allow = "ALLOW",
///         /// Refuses it.
///         Deny = "DENY",
///     }
/// }
/// assert_eq!(plugin_config::from_slice::<Action>(br#""DENY""#)?, Action::Deny);
/// # Ok::<(), plugin_config::Faults>(())
/// ```
#[macro_export]
macro_rules! keyword {
    ($(
        $(#[$attr:meta])*
        $vis:vis enum $name:ident {
            $(
                $(#[$variant_attr:meta])*
                $variant:ident = $word:literal
            ),* $(,)?
        }
    )*) => {$(
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        $vis enum $name {
            $(
                $(#[$variant_attr])*
                $variant,
            )*
        }

        impl $name {
            /// The word as written in a configuration.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl $crate::FromNode for $name {
            fn from_node(node: &$crate::Node<'_>, at: &mut $crate::At) -> Option<Self> {
                match node {
                    $($crate::Node::String(word) if word == $word => Some(Self::$variant),)*
                    other => at.fault(other, concat!("expected one of" $(, " ", $word)*)),
                }
            }
        }

        #[cfg(not(target_family = "wasm"))]
        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}
