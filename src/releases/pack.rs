//! Declared objects as they are kept: compressed, many together.
//!
//! A block is the text of some objects one after the other, each a header with its names and then its
//! own JSON, compressed by zstd. Alone, objects would compress worse; all of a large manifest
//! together would take too long to be read. Where a model is known, the text of another block that is
//! like this one, only what differs from it takes room.
//!
//! Invariants
//! - A block keeps its model: it can always be read.
//! - What can not be read is an error, and never an object that is not there.
//!
//! Start at [`Packed::new`].

use std::sync::Arc;

use helm_guard_core::helm::identity::DeclaredObject;
use serde::{Deserialize, Serialize};
use zstd_safe::{CCtx, CParameter, DCtx, compress_bound};

use super::object_key::ObjectKey;

/// Bytes of text in a block, but for objects that are larger: some 60 us to read.
const BLOCK: usize = 64 << 10;

/// zstd's. Levels above it take three to six times as long for a twentieth less.
const LEVEL: i32 = 3;

/// Allocators have few sizes for large pieces, and round up by a tenth on average. This one they all
/// have.
const PIECE: usize = 2048;

/// Why kept objects can not be read: nothing that a record or a request could bring about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    /// The block does not decompress to what it was made from.
    #[error("failed to read declared objects: their block does not decompress")]
    Block,
    /// There is no object at this place of it.
    #[error("failed to read a declared object: there is none where it should be")]
    Object,
    /// Only its key is kept.
    #[error("failed to read a declared object: there is no memory to keep it")]
    LeftOut,
}

/// Text that others are like, for as long as one of them is kept.
pub type Model = Arc<[u8]>;

/// Where an object is: the number of its block, and the byte of its text at which it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    block: u32,
    at: u32,
}

impl Place {
    /// As one number.
    pub fn number(self) -> u64 {
        u64::from(self.block) << 32 | u64::from(self.at)
    }
}

/// An object of a [`Packed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its key.
    pub key: ObjectKey,
    /// Where it is. Of objects of one name, the later in the manifest is at the later place.
    pub place: Place,
}

/// Objects, packed.
#[derive(Debug, Default)]
pub struct Packed {
    /// Sorted.
    entries: Box<[Entry]>,
    blocks: Box<[Block]>,
    /// Only the keys are kept.
    is_outline: bool,
}

#[derive(Debug)]
struct Block {
    /// Bytes of text.
    length: u32,
    pieces: Box<[Box<[u8]>]>,
    model: Option<Model>,
}

/// The names of an object, and the length of its JSON. Owned when read, borrowed when written.
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
    /// Packs objects in the order given, each under its key. `model` says what the text of a block
    /// is like, if anything is: it gets the block's number and the block, which may become the model
    /// of others.
    pub fn new(
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
            entries.push(Entry {
                key: *key,
                place: Place {
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

    /// The same keys without the objects.
    #[must_use]
    pub fn outline(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            blocks: Box::default(),
            is_outline: true,
        }
    }

    /// The objects, sorted by their keys.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of the blocks, without their models.
    pub fn bytes(&self) -> usize {
        let pieces = self.blocks.iter().flat_map(|block| &block.pieces);
        pieces.map(|piece| piece.len()).sum()
    }

    /// The object at a place.
    pub fn object(&self, place: Place) -> Result<DeclaredObject, PackError> {
        if self.is_outline {
            return Err(PackError::LeftOut);
        }
        let block = usize::try_from(place.block).ok();
        let block = block.and_then(|block| self.blocks.get(block));
        let text = block.ok_or(PackError::Object)?.text()?;
        read(&text, place)
    }

    /// All objects in their order.
    pub fn objects(&self) -> Result<Vec<DeclaredObject>, PackError> {
        if self.is_outline {
            return Err(PackError::LeftOut);
        }
        let mut places: Vec<Place> = self.entries.iter().map(|entry| entry.place).collect();
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
    /// As what must never happen: no block can be read any more.
    pub(super) fn break_blocks(&mut self) {
        for block in &mut self.blocks {
            block.length += 1;
        }
    }
}

/// A block's text while it is put together.
#[derive(Default)]
pub struct Draft {
    text: Vec<u8>,
    /// Where Secrets are: they are no part of a model, which is kept as it is.
    secrets: Vec<std::ops::Range<usize>>,
}

impl Draft {
    /// Its text as a model of others, without Secrets.
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
        // A failure, which there is none of but for want of memory, makes a block that is not readable.
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
    // Known anyway.
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

fn read(text: &[u8], place: Place) -> Result<DeclaredObject, PackError> {
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

/// The objects of a manifest are 16 MiB at most. If there were more, its objects would not be readable.
fn index(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
