//! `exportTo`: who sees a resource.

use crate::Metadata;
use crate::scalar::DnsLabel;
use plugin_config::{At, Faults, FromNode, Node, Quoted, ReadNode, read};
use std::collections::BTreeSet;

/// Namespaces that see a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ExportTo {
    /// Nothing is said: the mesh's default (`defaultVirtualServiceExportTo` and its kin), else every one.
    #[default]
    Unset,
    /// `*`: every one.
    All,
    /// `~`: none. A ServiceEntry's alone.
    None,
    /// `.` for its own, and others by name.
    Namespaces {
        /// Whether its own is one.
        own: bool,
        /// Those with a name.
        named: BTreeSet<DnsLabel>,
    },
}

impl ExportTo {
    /// What a Service's annotation `networking.istio.io/exportTo` says: names, separated by commas.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of_annotation(text: &str) -> Result<Self, Faults> {
        let names = text.split(',').map(|name| Node::String(name.trim().into()));
        let mut at = At::root();
        let read = read(&Node::List(names.collect()), &mut at);
        if at.is_good() { Ok(read) } else { Err(at.into_faults()) }
    }

    /// Checks what a resource says in its field `exportTo`; only a ServiceEntry may say `~`.
    pub(crate) fn check(&self, metadata: &Metadata, none_allowed: bool, at: &mut At) {
        let reason = match self {
            Self::None if !none_allowed => "\"~\" is for ServiceEntries alone",
            Self::Namespaces { own: true, named } if named.iter().any(|name| name.as_str() == metadata.namespace()) => {
                "names its own namespace twice: by \".\" and by name"
            }
            _ => return,
        };
        at.field("exportTo", |at| at.refuse("", reason));
    }
}

impl ReadNode for ExportTo {
    fn read_node(&mut self, node: &Node<'_>, at: &mut At) {
        let texts: Vec<String> = read(node, at);
        let (mut own, mut named) = (false, BTreeSet::new());
        for (i, text) in texts.iter().enumerate() {
            at.index(i, |at| match text.as_str() {
                "*" | "~" if texts.len() > 1 => at.refuse(Quoted(text), "cannot stand beside other namespaces"),
                "*" => *self = Self::All,
                "~" => *self = Self::None,
                "." if std::mem::replace(&mut own, true) => at.refuse(Quoted(text), "is there twice"),
                "." => {}
                name => match DnsLabel::new(name) {
                    None => {
                        at.refuse(Quoted(name), "expected the name of a namespace, \".\" for its own, or \"*\" for all")
                    }
                    Some(name) if named.contains(&name) => at.refuse(Quoted(text), "is there twice"),
                    Some(name) => {
                        named.insert(name);
                    }
                },
            });
        }
        if own || !named.is_empty() {
            *self = Self::Namespaces { own, named };
        }
    }
}

impl FromNode for ExportTo {
    const REQUIRED: bool = false;

    fn is_absent(&self) -> bool {
        *self == Self::Unset
    }
}

impl serde::Serialize for ExportTo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unset => serializer.collect_seq(std::iter::empty::<&str>()),
            Self::All => serializer.collect_seq(["*"]),
            Self::None => serializer.collect_seq(["~"]),
            Self::Namespaces { own, named } => {
                serializer.collect_seq(own.then_some(".").into_iter().chain(named.iter().map(DnsLabel::as_str)))
            }
        }
    }
}
