//! Documents of a file → resources of their kinds.

use crate::document_cache::Key;
use crate::resource::Shape;
use crate::source::{File, Place, Source};
use crate::tree::{Mark, Tree, Value};
use crate::yaml::{self, Defect, Document};
use crate::{Fault, Faults, Kind, MeshConfig, Metadata, Options, Resource, ResourceName, Resources};
use plugin_config::{At, Node, Quoted, read};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// Reads files one after the other.
pub(crate) struct Reader<'o> {
    pub(crate) options: &'o Options,
    pub(crate) resources: Resources,
    pub(crate) faults: Faults,
    /// Where the resources are that were read, by kind, namespace and name.
    pub(crate) known: HashMap<Key, Source>,
}

/// One resource, before its kind is known.
pub(crate) struct Body<'b, 't> {
    file: &'b Arc<File>,
    tree: &'b Tree<'t>,
    source: Source,
    /// What is wrong with its YAML.
    defects: Vec<Defect>,
    group: String,
    version: String,
    kind: String,
}

impl Reader<'_> {
    /// Reads a file.
    pub(crate) fn file(&mut self, file: &Arc<File>) {
        let (documents, end) = yaml::documents(&file.text);
        for document in documents {
            self.document(file, document);
        }
        self.defects(file, None, end);
    }

    fn document(&mut self, file: &Arc<File>, document: Document<'_>) {
        let Document { root, mark, faults } = document;
        if let (Value::Null, []) = (&root.value, faults.as_slice()) {
            return;
        }
        let is_list = root.get("kind").and_then(Tree::text).is_some_and(|kind| kind.ends_with("List"));
        match root.get("items").map(|items| &items.value) {
            Some(Value::List(items)) if is_list => {
                // Which item a defect is in is not known, and hardly matters.
                self.defects(file, None, faults);
                for (i, item) in items.iter().enumerate() {
                    self.item(file, item, mark, Some(format!("items[{i}]")), Vec::new());
                }
            }
            _ => self.item(file, &root, mark, None, faults),
        }
    }

    fn item(&mut self, file: &Arc<File>, tree: &Tree<'_>, document: Mark, item: Option<String>, defects: Vec<Defect>) {
        let source = Source::new(file, document, item);
        let mut at = At::root();
        let Value::Object(_) = &tree.value else {
            at.refuse(tree.node(), "expected a resource: an object with apiVersion, kind and metadata");
            self.defects(file, None, defects);
            return self.faults(&source, None, at);
        };
        let mut text = |field: &'static str| match tree.get(field) {
            Some(value) => at.field(field, |at| read::<String>(&value.node(), at)),
            None => {
                at.field(field, |at| at.refuse("nothing", "required field is missing"));
                String::new()
            }
        };
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if !at.is_good() {
            self.defects(file, None, defects);
            return self.faults(&source, None, at);
        }
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let (group, version) = (group.to_owned(), version.to_owned());
        self.kind(&Body { file, tree, source, defects, group, version, kind });
    }

    /// Reads a resource of this kind. Whether it was one.
    pub(crate) fn read<K: Kind>(&mut self, body: &Body<'_, '_>) -> Option<Resource<K>> {
        let mut at = At::root();
        if !K::VERSIONS.contains(&body.version.as_str()) {
            let expected = K::VERSIONS.join(", ");
            let reason = format!("{} is served as {expected}", K::KIND);
            at.field("apiVersion", |at| at.refuse(Quoted(&body.version), reason));
        }
        let metadata = self.metadata::<K>(body, &mut at);
        let spec = spec::<K>(body, &mut at);
        // As they are written, also when they are no names.
        let written = |field| body.tree.get("metadata").and_then(|metadata| metadata.get(field)).and_then(Tree::text);
        let name = ResourceName {
            kind: K::KIND.to_owned(),
            namespace: written("namespace").unwrap_or(metadata.namespace()).to_owned(),
            name: written("name").unwrap_or_default().to_owned(),
        };
        self.refuse_second::<K>(body, &name, &mut at);
        let read = at.is_good() && body.defects.is_empty();
        self.check(body, &name, &metadata, &spec, at);
        read.then(|| Resource { metadata, spec, source: body.source.clone() })
    }

    fn check<K: Kind>(&mut self, body: &Body<'_, '_>, name: &ResourceName, metadata: &Metadata, spec: &K, mut at: At) {
        at.start_checks();
        in_shape::<K>(&mut at, |at| spec.validate(metadata, at));
        // What is wrong is set right first: only then is it known what was meant.
        if at.is_good() && body.defects.is_empty() {
            let mut warnings = At::root();
            in_shape::<K>(&mut warnings, |at| spec.warn(metadata, at));
            self.faults.warnings.extend(placed(&body.source, Some(name), warnings));
        }
        let shown = |defect: &Defect| Defect {
            value: if K::IS_SECRET { String::new() } else { defect.value.clone() },
            ..defect.clone()
        };
        self.defects(body.file, Some(name), body.defects.iter().map(shown));
        self.faults(&body.source, Some(name), at);
    }

    /// Kubernetes keeps the last resource of a name, and here there would be two: it cannot be known which is meant.
    fn refuse_second<K: Kind>(&mut self, body: &Body<'_, '_>, name: &ResourceName, at: &mut At) {
        if at.is_unread("metadata") || name.name.is_empty() {
            return;
        }
        let key = (K::KIND, name.namespace.clone(), name.name.clone());
        match self.known.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(body.source.clone());
            }
            Entry::Occupied(entry) => {
                let reason = format!("another {} of this name is at {}", K::KIND, entry.get().place("metadata.name"));
                at.field("metadata", |at| at.field("name", |at| at.refuse(Quoted(&name.name), reason)));
            }
        }
    }

    fn metadata<K: Kind>(&self, body: &Body<'_, '_>, at: &mut At) -> Metadata {
        let mut metadata: Metadata = at.field("metadata", |at| match body.tree.get("metadata") {
            Some(tree) => read(&tree.node(), at),
            None => {
                at.refuse("nothing", "required field is missing");
                Metadata::default()
            }
        });
        match (K::NAMESPACED, &metadata.namespace) {
            (true, None) => metadata.namespace = Some(self.options.namespace.clone()),
            (false, Some(namespace)) => {
                let reason = format!("a {} has no namespace", K::KIND);
                at.field("metadata", |at| at.field("namespace", |at| at.refuse(Quoted(namespace.as_str()), reason)));
            }
            _ => {}
        }
        metadata
    }

    /// Reads the MeshConfig in a text, whose fields stand where `source` says.
    pub(crate) fn mesh_config(&mut self, text: &str, metadata: Metadata, source: Source) {
        let name = ResourceName {
            kind: "MeshConfig".to_owned(),
            namespace: metadata.namespace().to_owned(),
            name: metadata.name.as_str().to_owned(),
        };
        let (documents, end) = yaml::documents(text);
        let defects = documents.iter().flat_map(|document| &document.faults).chain(&end);
        for defect in defects {
            let place = source.place_of(defect.mark);
            self.faults.faults.push(fault(defect.clone(), Some(&name), place));
        }
        let mut at = At::root();
        let empty = Node::Object(Vec::new());
        let node = documents.first().map(|document| document.root.node()).filter(|node| *node != Node::Null);
        let mesh: MeshConfig = read(&node.unwrap_or(empty), &mut at);
        at.start_checks();
        mesh.validate(&mut at);
        if at.is_good() {
            let mut warnings = At::root();
            mesh.warn(&mut warnings);
            self.faults.warnings.extend(placed(&source, Some(&name), warnings));
        }
        self.faults(&source, Some(&name), at);
        self.resources.mesh_configs.push(Resource { metadata, spec: mesh, source });
    }

    /// What is not looked at.
    pub(crate) fn skip(&mut self, body: &Body<'_, '_>) {
        let api_version =
            if body.group.is_empty() { body.version.clone() } else { format!("{}/{}", body.group, body.version) };
        self.resources.skip(&api_version, &body.kind, body.source.place("$"));
    }

    /// A kind that Istio's groups do not have.
    pub(crate) fn refuse_kind(&mut self, body: &Body<'_, '_>) {
        let mut at = At::root();
        at.field("kind", |at| at.refuse(Quoted(&body.kind), format!("{} has no such kind", body.group)));
        self.faults(&body.source, None, at);
    }

    fn defects(
        &mut self,
        file: &Arc<File>,
        resource: Option<&ResourceName>,
        defects: impl IntoIterator<Item = Defect>,
    ) {
        self.faults.faults.extend(defects.into_iter().map(|defect| {
            let place = Place::new(file, defect.mark);
            fault(defect, resource, place)
        }));
    }

    fn faults(&mut self, source: &Source, resource: Option<&ResourceName>, at: At) {
        let faults = placed(source, resource, at);
        self.faults.faults.extend(faults);
    }
}

impl Body<'_, '_> {
    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group == group && self.kind == kind
    }

    pub(crate) fn group(&self) -> &str {
        &self.group
    }
}

/// Goes to where a kind has its fields.
fn in_shape<K: Kind>(at: &mut At, check: impl FnOnce(&mut At)) {
    match K::SHAPE {
        Shape::Spec => at.field("spec", check),
        Shape::Whole => check(at),
    }
}

/// The fields of a resource.
fn spec<K: Kind>(body: &Body<'_, '_>, at: &mut At) -> K {
    let Value::Object(entries) = &body.tree.value else { return K::default() };
    match K::SHAPE {
        Shape::Whole => read(&body.tree.node(), at),
        Shape::Spec => {
            let known = ["apiVersion", "kind", "metadata", "spec", "status"];
            for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_ref())) {
                let reason = "unknown field, expected one of apiVersion, kind, metadata, spec, status";
                at.key(&entry.key, |at| at.refuse(entry.value.node(), reason));
            }
            // An absent spec is an empty one, of which what must be there is missing.
            let nothing = Node::Object(Vec::new());
            let spec = body.tree.get("spec").map_or(nothing, Tree::node);
            at.field("spec", |at| read(&spec, at))
        }
    }
}

/// What is wrong with a text.
fn fault(defect: Defect, resource: Option<&ResourceName>, place: Place) -> Fault {
    Fault {
        resource: resource.cloned(),
        path: String::new(),
        value: defect.value,
        reason: defect.reason.into_owned(),
        place: Some(place),
    }
}

/// Faults with their places.
fn placed(source: &Source, resource: Option<&ResourceName>, at: At) -> Vec<Fault> {
    let faults = at.into_faults();
    let placed = faults.iter().map(|fault| Fault {
        resource: resource.cloned(),
        path: fault.path.clone(),
        value: fault.value.clone(),
        reason: fault.reason.clone().into_owned(),
        place: Some(source.place(&fault.path)),
    });
    placed.collect()
}
