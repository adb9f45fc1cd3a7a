//! Keys and values of every slot, in memory that stays where it is.
//!
//! One mapping for each layer and side, `[slots, kv_heads, max_len, head_dim]`; pages that no token
//! has reached take no memory. A *view* is the values over some slots that follow each other: a
//! pointer into each mapping and a smaller first extent, given to the runtime as past and as present
//! alike. No reference to the memory ever exists, because the runtime writes to it: contents move by
//! raw copies between two runs.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::c_void;
use std::ptr;

use memmap2::{MmapMut, MmapRaw};
use ort::sys::OrtValue;

use super::call::{Graph, Value};
use super::layout::Layout;

/// The buffers of all layers, with the values over them.
pub(super) struct KvCache {
    /// Values over the mappings; declared first, so that they are gone before these are.
    views: HashMap<(usize, usize), View>,
    mappings: Vec<MmapRaw>,
    layout: Layout,
    /// Room for one head of one slot, in an exchange.
    spare: Vec<u8>,
}

/// Values over slots that follow each other: key and value of each layer.
struct View {
    _values: Vec<Value>,
    pointers: Vec<*mut OrtValue>,
}

// === impl KvCache ===

impl KvCache {
    /// Reserves the memory.
    pub(super) fn new(layout: &Layout) -> std::io::Result<Self> {
        let bytes = layout.slots * layout.slot_bytes();
        let mappings = (0..2 * layout.layers)
            .map(|_| MmapMut::map_anon(bytes).map(MmapRaw::from))
            .collect::<std::io::Result<Vec<MmapRaw>>>()?;
        Ok(Self {
            views: HashMap::new(),
            mappings,
            layout: layout.clone(),
            spare: Vec::new(),
        })
    }

    /// Returns the values over `count` slots from `first` on; the same ones each time.
    ///
    /// They are valid as long as this cache, and nothing of it may be moved while a run has them.
    pub(super) fn view(
        &mut self,
        graph: &Graph,
        first: usize,
        count: usize,
    ) -> ort::Result<&[*mut OrtValue]> {
        if first + count > self.layout.slots || count == 0 {
            return Err(ort::Error::new(format!(
                "{count} slots from {first} on, of {}",
                self.layout.slots
            )));
        }
        if !self.views.contains_key(&(first, count)) {
            let view = self.make_view(graph, first, count)?;
            self.views.insert((first, count), view);
        }
        Ok(&self.views[&(first, count)].pointers)
    }

    fn make_view(&self, graph: &Graph, first: usize, count: usize) -> ort::Result<View> {
        let layout = &self.layout;
        let shape =
            [count, layout.kv_heads, layout.max_len, layout.head_dim].map(|extent| extent as i64);
        let slot_bytes = layout.slot_bytes();
        let mut values = Vec::with_capacity(self.mappings.len());
        for mapping in &self.mappings {
            // SAFETY: these slots lie within the mapping, as was checked; it begins at a page and
            // outlives the value, which is dropped before it.
            let value = unsafe {
                let data = mapping.as_mut_ptr().add(first * slot_bytes);
                graph.value_over(
                    data.cast::<c_void>(),
                    count * slot_bytes,
                    &shape,
                    layout.cache.tensor_type(),
                )
            }?;
            values.push(value);
        }
        Ok(View {
            pointers: values.iter().map(Value::as_ptr).collect(),
            _values: values,
        })
    }

    /// Copies the first `len` tokens of one slot to another.
    pub(super) fn copy(&mut self, from: usize, to: usize, len: usize) {
        let bytes = self.token_bytes(len);
        for (from, to) in self.heads(from, to) {
            // SAFETY: both lie within a mapping, with room for `max_len` tokens each, and in
            // different slots, so they do not overlap; no run is in progress, because that would
            // have this cache borrowed.
            unsafe { ptr::copy_nonoverlapping(from, to, bytes) };
        }
    }

    /// Exchanges the first `len` tokens of two slots.
    pub(super) fn exchange(&mut self, a: usize, b: usize, len: usize) {
        let bytes = self.token_bytes(len);
        let mut spare = std::mem::take(&mut self.spare);
        spare.resize(bytes, 0);
        for (a, b) in self.heads(a, b) {
            // SAFETY: as in `copy`; the room beside them is as long.
            unsafe {
                ptr::copy_nonoverlapping(a, spare.as_mut_ptr(), bytes);
                ptr::copy_nonoverlapping(b, a, bytes);
                ptr::copy_nonoverlapping(spare.as_ptr(), b, bytes);
            }
        }
        self.spare = spare;
    }

    /// Returns the bytes of some tokens in one head, and no more than there are.
    fn token_bytes(&self, len: usize) -> usize {
        let layout = &self.layout;
        len.min(layout.max_len) * layout.head_dim * layout.cache.size()
    }

    /// Returns where each head of two slots begins; nothing if they are the same, or are not there.
    fn heads(&self, a: usize, b: usize) -> impl Iterator<Item = (*mut u8, *mut u8)> + use<'_> {
        let layout = &self.layout;
        let there = a != b && a < layout.slots && b < layout.slots;
        let head_bytes = layout.max_len * layout.head_dim * layout.cache.size();
        let heads = if there { layout.kv_heads } else { 0 };
        self.mappings.iter().flat_map(move |mapping| {
            (0..heads).map(move |head| {
                let at = |slot: usize| {
                    // SAFETY: the slot and the head are there, so this lies within the mapping.
                    unsafe {
                        mapping
                            .as_mut_ptr()
                            .add((slot * layout.kv_heads + head) * head_bytes)
                    }
                };
                (at(a), at(b))
            })
        })
    }
}
