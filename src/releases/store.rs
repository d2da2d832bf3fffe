//! The data that bodies share: the models of charts, common names and kinds, and the most recently
//! used objects.
//!
//! Releases of one chart are alike, except for their names and some values. So the text of one body
//! serves the next ones of its chart as a model (see [`super::pack`]). With few bodies, a model
//! would take more than it saves.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use helm_guard_core::helm::manifest::OBJECT_BYTES;
use parking_lot::Mutex;

use super::{
    cache::Cache,
    declared_kind::DeclaredKind,
    intern::Interner,
    pack::{Draft, Model},
};

/// Bytes of unpacked objects that are cached.
const CACHE: usize = 8 << 20;

// Every object that a manifest may declare fits, so none is unpacked for every request.
const _: () = assert!(Cache::takes(CACHE, OBJECT_BYTES));

/// The number of bodies of a chart from which on there is a model: it saves a tenth of its size for
/// each body, and most of it if releases differ little.
const MODEL_FROM: usize = 8;

/// Bytes of the models of all charts. The size of a model counts for no release; without a model,
/// bodies have the size that counts in the budget of the index.
const MODELS: usize = 32 << 20;

/// The data that bodies share.
pub struct BodyStore {
    /// The most recently used objects.
    pub cache: Cache,
    /// Names and versions of charts, namespaces.
    pub words: Interner<str>,
    /// The kinds that a manifest declares.
    pub kinds: Interner<[DeclaredKind]>,
    charts: Mutex<Charts>,
    models: Arc<AtomicUsize>,
    bodies: AtomicUsize,
    packed: AtomicUsize,
}

#[derive(Default)]
struct Charts {
    by_label: HashMap<Arc<str>, Arc<ChartModels>>,
    sweep_at: usize,
}

/// A chart in one version, for as long as one of its bodies is stored.
pub(crate) struct ChartModels {
    /// `name-version`.
    pub label: Arc<str>,
    /// By the number of the block.
    models: Mutex<Vec<Option<Model>>>,
    /// Bytes of the models of all charts.
    together: Arc<AtomicUsize>,
}

impl Default for BodyStore {
    fn default() -> Self {
        Self {
            cache: Cache::new(CACHE),
            words: Interner::default(),
            kinds: Interner::default(),
            charts: Mutex::default(),
            models: Arc::default(),
            bodies: AtomicUsize::new(0),
            packed: AtomicUsize::new(0),
        }
    }
}

impl BodyStore {
    /// Memory of declared objects, in bytes: packed ones and models.
    pub fn bytes(&self) -> usize {
        self.packed.load(Relaxed) + self.models.load(Relaxed)
    }

    /// The number of stored bodies.
    pub fn bodies(&self) -> usize {
        self.bodies.load(Relaxed)
    }

    /// What the bodies of one chart have in common, created at its first release.
    pub(super) fn chart(&self, label: &str) -> Arc<ChartModels> {
        let mut charts = self.charts.lock();
        if let Some(known) = charts.by_label.get(label) {
            return Arc::clone(known);
        }
        if charts.by_label.len() >= charts.sweep_at {
            // Under the lock nobody can take a copy of a value that only the table holds.
            charts
                .by_label
                .retain(|_, chart| Arc::strong_count(chart) > 1);
            charts.sweep_at = (2 * charts.by_label.len()).max(64);
        }
        let label: Arc<str> = label.into();
        let chart = Arc::new(ChartModels {
            label: Arc::clone(&label),
            models: Mutex::default(),
            together: Arc::clone(&self.models),
        });
        charts.by_label.insert(label, Arc::clone(&chart));
        chart
    }

    /// Counts a stored body with this many packed bytes.
    pub(super) fn enters(&self, packed: usize) {
        self.bodies.fetch_add(1, Relaxed);
        self.packed.fetch_add(packed, Relaxed);
    }

    /// Counts a dropped body.
    pub(super) fn leaves(&self, packed: usize) {
        self.bodies.fetch_sub(1, Relaxed);
        self.packed.fetch_sub(packed, Relaxed);
    }
}

impl ChartModels {
    /// The model of the block with this number; `draft` becomes the model if one is due. For
    /// holders of the chart.
    pub(super) fn model(self: &Arc<Self>, number: usize, draft: &Draft) -> Option<Model> {
        let mut models = self.models.lock();
        if let Some(Some(model)) = models.get(number) {
            return Some(Arc::clone(model));
        }
        // The table holds it, too.
        let bodies = Arc::strong_count(self) - 1;
        if bodies < MODEL_FROM {
            return None;
        }
        let model = draft.model();
        let before = self.together.load(Relaxed);
        if model.is_empty() || before + model.len() > MODELS {
            return None;
        }
        self.together.fetch_add(model.len(), Relaxed);
        if models.len() <= number {
            models.resize(number + 1, None);
        }
        let model: Model = model.into();
        if let Some(place) = models.get_mut(number) {
            *place = Some(Arc::clone(&model));
        }
        Some(model)
    }

    /// The chart, for callers that only need its name.
    pub(super) fn without_models(&self) -> Arc<Self> {
        Arc::new(Self {
            label: Arc::clone(&self.label),
            models: Mutex::default(),
            together: Arc::clone(&self.together),
        })
    }

    fn bytes(&self) -> usize {
        let models = self.models.lock();
        models.iter().flatten().map(|model| model.len()).sum()
    }
}

impl Drop for ChartModels {
    fn drop(&mut self) {
        self.together.fetch_sub(self.bytes(), Relaxed);
    }
}
