//! The storage format of declared objects: compressed, several in a block.
//!
//! A block is the text of some objects in sequence, each a header with its names and then its JSON,
//! compressed by zstd. Single objects would compress worse; a large manifest in one block would take
//! too long to read. With a model, the text of a similar block, only the differences take memory.
//!
//! Invariants
//! - A block holds its model, so it can always be read.
//! - An unreadable object is an error, never a missing object.
//!
//! Start at [`Packed::new`].

use std::sync::Arc;

use helm_guard_core::helm::identity::DeclaredObject;
use serde::{Deserialize, Serialize};
use zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

use super::object_key::ObjectKey;

/// Bytes of text in a block, except for larger objects: some 60 us to read.
const BLOCK: usize = 64 << 10;

/// The zstd level. Higher levels take three to six times as long for 5% less.
const LEVEL: i32 = 3;

/// Allocators have few size classes for large blocks, and round up by a tenth on average. All of
/// them have this size.
const PIECE: usize = 2048;

/// Why stored objects cannot be read. Neither a record nor a request can cause this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The block does not decompress to what it was made from.
    #[error("failed to read declared objects: their block does not decompress")]
    Block,
    /// There is no object at this position.
    #[error("failed to read a declared object: it is missing in its block")]
    Object,
    /// Only its key is stored.
    #[error("failed to read a declared object: only its name is stored")]
    LeftOut,
}

/// The text of a model, for as long as a block that uses it is stored.
pub(crate) type Model = Arc<[u8]>;

/// The position of an object: the number of its block, and the offset in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PackedPlace {
    block: u32,
    at: u32,
}

impl PackedPlace {
    pub(crate) fn number(self) -> u64 {
        u64::from(self.block) << 32 | u64::from(self.at)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PackedObject {
    pub key: ObjectKey,
    /// Its position. Of objects of one name, the later one in the manifest has the later position.
    pub place: PackedPlace,
}

/// Objects, packed.
#[derive(Debug, Default)]
pub(crate) struct Packed {
    /// Sorted.
    entries: Box<[PackedObject]>,
    blocks: Box<[Block]>,
    /// Only the keys are stored.
    is_outline: bool,
}

#[derive(Debug)]
struct Block {
    /// Bytes of text.
    length: u32,
    pieces: Box<[Box<[u8]>]>,
    model: Option<Model>,
}

/// The header: the names of an object, and the length of its JSON. Owned when read, borrowed when written.
#[derive(Serialize, Deserialize)]
struct Header<S> {
    #[serde(rename = "g")]
    group: S,
    #[serde(rename = "v")]
    version: S,
    #[serde(rename = "k")]
    kind: S,
    #[serde(rename = "ns")]
    namespace: Option<S>,
    #[serde(rename = "n")]
    name: S,
    #[serde(rename = "s")]
    source: Option<S>,
    #[serde(rename = "l")]
    line: u32,
    #[serde(rename = "p")]
    keep: bool,
    #[serde(rename = "b")]
    bytes: usize,
}

impl Packed {
    /// Packs objects in the order given, each under its key. `model` returns the model of a block,
    /// if any: it gets the block's number and the block, which may become the model of others.
    pub(crate) fn new(
        objects: &[(ObjectKey, DeclaredObject)],
        mut model: impl FnMut(usize, &Draft) -> Option<Model>,
    ) -> Self {
        let mut entries = Vec::with_capacity(objects.len());
        let mut blocks = Vec::new();
        let mut draft = Draft::default();
        for (key, object) in objects {
            if !draft.text.is_empty() && draft.text.len() + object.json.len() > BLOCK {
                blocks.push(draft.pack(blocks.len(), &mut model));
                draft = Draft::default();
            }
            entries.push(PackedObject {
                key: *key,
                place: PackedPlace {
                    block: index(blocks.len()),
                    at: index(draft.text.len()),
                },
            });
            draft.add(object);
        }
        if !draft.text.is_empty() {
            blocks.push(draft.pack(blocks.len(), &mut model));
        }
        entries.sort_unstable();
        Self {
            entries: entries.into(),
            blocks: blocks.into(),
            is_outline: false,
        }
    }

    /// The same keys, without the objects.
    #[must_use]
    pub(crate) fn outline(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            blocks: Box::default(),
            is_outline: true,
        }
    }

    /// The objects, sorted by their keys.
    pub(crate) fn entries(&self) -> &[PackedObject] {
        &self.entries
    }

    /// Bytes of the blocks, without their models.
    pub(crate) fn bytes(&self) -> usize {
        let pieces = self.blocks.iter().flat_map(|block| &block.pieces);
        pieces.map(|piece| piece.len()).sum()
    }

    /// The object at a position.
    pub(crate) fn object(&self, place: PackedPlace) -> Result<DeclaredObject, PackError> {
        if self.is_outline {
            return Err(PackError::LeftOut);
        }
        let block = usize::try_from(place.block).ok();
        let block = block.and_then(|block| self.blocks.get(block));
        let text = block.ok_or(PackError::Object)?.text()?;
        read(&text, place)
    }

    /// All objects in order.
    pub(crate) fn objects(&self) -> Result<Vec<DeclaredObject>, PackError> {
        if self.is_outline {
            return Err(PackError::LeftOut);
        }
        let mut places: Vec<PackedPlace> = self.entries.iter().map(|entry| entry.place).collect();
        places.sort_unstable();
        let mut objects = Vec::with_capacity(places.len());
        for places in places.chunk_by(|a, b| a.block == b.block) {
            let block = places
                .first()
                .and_then(|place| usize::try_from(place.block).ok());
            let block = block.and_then(|block| self.blocks.get(block));
            let text = block.ok_or(PackError::Object)?.text()?;
            for place in places {
                objects.push(read(&text, *place)?);
            }
        }
        Ok(objects)
    }
}

#[cfg(test)]
impl Packed {
    /// Makes every block unreadable, for tests.
    pub(super) fn break_blocks(&mut self) {
        for block in &mut self.blocks {
            block.length += 1;
        }
    }
}

/// The text of a block under construction.
#[derive(Default)]
pub(crate) struct Draft {
    text: Vec<u8>,
    /// The ranges of Secrets: a model, which is stored as text, does not contain them.
    secrets: Vec<std::ops::Range<usize>>,
}

impl Draft {
    /// Its text as a model for others, without Secrets.
    pub(super) fn model(&self) -> Vec<u8> {
        let mut model = Vec::with_capacity(self.text.len());
        let mut from = 0;
        for secret in &self.secrets {
            model.extend_from_slice(self.text.get(from..secret.start).unwrap_or_default());
            from = secret.end;
        }
        model.extend_from_slice(self.text.get(from..).unwrap_or_default());
        model
    }

    fn add(&mut self, object: &DeclaredObject) {
        let start = self.text.len();
        let header = Header {
            group: &*object.group,
            version: &object.version,
            kind: &object.kind,
            namespace: object.namespace.as_deref(),
            name: &object.name,
            source: object.source.as_deref(),
            line: object.line,
            keep: object.keep,
            bytes: object.json.len(),
        };
        // Writing to memory cannot fail; if it did, the object would not be readable.
        let _ = serde_json::to_writer(&mut self.text, &header);
        self.text.extend_from_slice(object.json.as_bytes());
        if object.group.is_empty() && object.kind == "Secret" {
            self.secrets.push(start..self.text.len());
        }
    }

    fn pack(&self, number: usize, model: &mut impl FnMut(usize, &Draft) -> Option<Model>) -> Block {
        let model = model(number, self);
        // Only fails when out of memory; then the block is unreadable.
        let bytes = compress(&self.text, model.as_deref()).unwrap_or_default();
        Block {
            length: index(self.text.len()),
            pieces: bytes.chunks(PIECE).map(Into::into).collect(),
            model,
        }
    }
}

impl Block {
    fn text(&self) -> Result<Vec<u8>, PackError> {
        let length = usize::try_from(self.length).map_err(|_| PackError::Block)?;
        let text = decompress(&self.pieces.concat(), length, self.model.as_deref());
        text.filter(|text| text.len() == length)
            .ok_or(PackError::Block)
    }
}

fn compress(text: &[u8], model: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut context = CCtx::try_create()?;
    context
        .set_parameter(CParameter::CompressionLevel(LEVEL))
        .ok()?;
    // The length is known anyway.
    context
        .set_parameter(CParameter::ContentSizeFlag(false))
        .ok()?;
    if let Some(model) = model {
        context.ref_prefix(model).ok()?;
    }
    let mut packed = Vec::with_capacity(compress_bound(text.len()));
    context.compress2(&mut packed, text).ok()?;
    Some(packed)
}

fn decompress(packed: &[u8], length: usize, model: Option<&[u8]>) -> Option<Vec<u8>> {
    let mut context = DCtx::try_create()?;
    if let Some(model) = model {
        context.ref_prefix(model).ok()?;
    }
    let mut text = Vec::with_capacity(length);
    context.decompress(&mut text, packed).ok()?;
    Some(text)
}

fn read(text: &[u8], place: PackedPlace) -> Result<DeclaredObject, PackError> {
    let at = usize::try_from(place.at).map_err(|_| PackError::Object)?;
    let text = text.get(at..).ok_or(PackError::Object)?;
    let mut headers = serde_json::Deserializer::from_slice(text).into_iter::<Header<String>>();
    let Some(Ok(header)) = headers.next() else {
        return Err(PackError::Object);
    };
    let start = headers.byte_offset();
    let json = text
        .get(start..start.saturating_add(header.bytes))
        .and_then(|json| str::from_utf8(json).ok())
        .ok_or(PackError::Object)?;
    Ok(DeclaredObject {
        group: header.group,
        version: header.version,
        kind: header.kind,
        namespace: header.namespace,
        name: header.name,
        source: header.source.map(String::into_boxed_str),
        line: header.line,
        keep: header.keep,
        json: json.into(),
    })
}

/// The objects of a manifest are 16 MiB at most. Larger ones would not be readable.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
