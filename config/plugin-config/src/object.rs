//! Definition of configuration types: one text gives the struct, its fields for the reader, and its serialiser.

use crate::{At, FromNode, Node, ReadNode, joined};

/// A field of an object that is being read: where its value goes.
pub struct Field<'s> {
    name: &'static str,
    required: bool,
    slot: &'s mut dyn ReadNode,
}

impl<'s> Field<'s> {
    /// A field that must be there, unless its type can do without.
    pub fn new<T: FromNode>(name: &'static str, slot: &'s mut T) -> Self {
        Self { name, required: T::REQUIRED, slot }
    }

    /// A field that may be absent: then its place keeps what it has.
    pub fn optional(name: &'static str, slot: &'s mut dyn ReadNode) -> Self {
        Self { name, required: false, slot }
    }
}

/// A value that JSON has as an object of fixed fields.
pub trait Object {
    /// The fields, and where their values go.
    fn fields(&mut self) -> Vec<Field<'_>>;
}

/// Reads an object. Unknown fields are faults, and missing ones.
///
/// One function over a table, and not code for each type: a module has a hundred fields and holds this once.
pub fn read_object(object: &mut dyn Object, node: &Node<'_>, at: &mut At) {
    read_fields(&mut object.fields(), node, at);
}

/// Reads the fields of an object.
pub fn read_fields(fields: &mut [Field<'_>], node: &Node<'_>, at: &mut At) {
    read_fields_or(fields, node, at, refuse_unknown);
}

/// As [`read_object`], of an object of which only these fields are looked at.
pub fn read_known(object: &mut dyn Object, node: &Node<'_>, at: &mut At) {
    read_fields_or(&mut object.fields(), node, at, |_, _, _, _| {});
}

/// What becomes of a field that is not known.
type Unknown = fn(&str, &Node<'_>, &[Field<'_>], &mut At);

// Inlined, so that a module, where nothing calls `read_known`, has no call by pointer.
#[inline(always)]
fn read_fields_or(fields: &mut [Field<'_>], node: &Node<'_>, at: &mut At, unknown: Unknown) {
    let Node::Object(entries) = node else {
        at.refuse(node, "expected an object");
        return;
    };
    for (key, value) in entries {
        match fields.iter_mut().find(|field| field.name == key) {
            Some(_) if matches!(value, Node::Null) => {}
            Some(Field { name, required, slot }) => {
                *required = false;
                at.field(name, |at| slot.read_node(value, at));
            }
            None => unknown(key, value, fields, at),
        }
    }
    for field in fields.iter().filter(|field| field.required) {
        at.field(field.name, |at| at.refuse("nothing", "required field is missing"));
    }
}

fn refuse_unknown(key: &str, value: &Node<'_>, fields: &[Field<'_>], at: &mut At) {
    let mut reason = String::from("unknown field, expected one of ");
    reason.push_str(&joined(&mut fields.iter().map(|field| field.name), ", "));
    at.key(key, |at| at.refuse(value, reason));
}

/// For serde's `skip_serializing_if`.
#[cfg(not(target_family = "wasm"))]
pub fn is_absent<T: FromNode>(value: &T) -> bool {
    value.is_absent()
}

/// Defines configuration structs: fields with their JSON names, all faults of an object reported at once, unknown
/// fields refused. Each struct has a [`Default`], with what absent fields are; natively it is also `serde::Serialize`,
/// with the same names.
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
            ),* $(,)? $(; $others:ident)?
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

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::object!(@default $($default)?),)* }
            }
        }

        impl $crate::Object for $name {
            fn fields(&mut self) -> Vec<$crate::Field<'_>> {
                vec![$($crate::object!(@field $key, &mut self.$field $(, $default)?)),*]
            }
        }

        impl $crate::ReadNode for $name {
            fn read_node(&mut self, node: &$crate::Node<'_>, at: &mut $crate::At) {
                $crate::object!(@read self, node, at $(, $others)?);
            }
        }

        impl $crate::FromNode for $name {}
    )*};
    (@read $object:expr, $node:expr, $at:expr) => { $crate::read_object($object, $node, $at) };
    (@read $object:expr, $node:expr, $at:expr, others) => { $crate::read_known($object, $node, $at) };
    (@default) => { Default::default() };
    (@default $default:expr) => { $default };
    (@field $key:literal, $slot:expr) => { $crate::Field::new($key, $slot) };
    (@field $key:literal, $slot:expr, $default:expr) => { $crate::Field::optional($key, $slot) };
}

/// Defines an enum of fixed words (`ALLOW`, `DENY` …), compared to the letter. Its default is the first.
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
            /// Every word, in order.
            const ALL: [(&'static str, Self); [$($word),*].len()] = [$(($word, Self::$variant)),*];

            /// The word as written in a configuration.
            $vis const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                let [(_, first), ..] = Self::ALL;
                first
            }
        }

        impl $crate::ReadNode for $name {
            fn read_node(&mut self, node: &$crate::Node<'_>, at: &mut $crate::At) {
                let word = match node {
                    $crate::Node::String(text) => Self::ALL.iter().find(|(word, _)| word == text),
                    _ => None,
                };
                match word {
                    Some((_, value)) => *self = *value,
                    None => {
                        at.refuse(node, concat!("expected one of" $(, " ", $word)*));
                    }
                }
            }
        }

        impl $crate::FromNode for $name {}

        #[cfg(not(target_family = "wasm"))]
        impl $crate::serde::Serialize for $name {
            fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    )*};
}
