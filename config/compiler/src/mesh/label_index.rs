//! What has labels, found by selectors without looking at everything.

use istio_api::scalar::Labels;
use std::collections::{BTreeMap, HashMap};

/// Things of namespaces that have labels, each by its place in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct LabelIndex<'r> {
    labels: Vec<BTreeMap<&'r str, &'r str>>,
    /// Of each namespace, and under the empty name of all.
    by_label: HashMap<(&'r str, &'r str, &'r str), Vec<usize>>,
}

impl<'r> LabelIndex<'r> {
    /// Adds one. Of two labels of a key the latter stands.
    pub(crate) fn add(&mut self, namespace: &'r str, labels: impl Iterator<Item = (&'r String, &'r String)>) {
        let place = self.labels.len();
        let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.as_str(), value.as_str())).collect();
        for (key, value) in &labels {
            self.by_label.entry((namespace, *key, *value)).or_default().push(place);
            self.by_label.entry(("", *key, *value)).or_default().push(place);
        }
        self.labels.push(labels);
    }

    /// Those of a namespace, or of any (`""`), that have all of these labels, in order; none when there are no labels.
    pub(crate) fn selected<'i>(&'i self, namespace: &'i str, selector: &'i Labels) -> impl Iterator<Item = usize> + 'i {
        let places = selector.iter().map(move |(key, value)| {
            let places = self.by_label.get(&(namespace, key.as_str(), value.as_str()));
            places.map_or(&[][..], Vec::as_slice)
        });
        let fewest = places.min_by_key(|places| places.len()).unwrap_or_default();
        fewest.iter().copied().filter(|place| self.has(*place, selector))
    }

    fn has(&self, place: usize, selector: &Labels) -> bool {
        let labels = self.labels.get(place);
        labels
            .is_some_and(|labels| selector.iter().all(|(key, value)| labels.get(key.as_str()) == Some(&value.as_str())))
    }
}
