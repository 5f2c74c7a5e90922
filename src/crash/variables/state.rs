//! A walked stack in; what a location expression asks about one of its frames out.

use super::image::Image;
use crate::address::{Avma, LoadBias, Svma};
use crate::crash::unwind::{FoundBy, RawFrame};
use crate::dwarf::DebugInfo;
use crate::dwarf::variables::{CallerFrame, FrameState};

/// One frame, the innermost of `frames`, with those that called it.
#[derive(Clone, Copy)]
pub struct FrameView<'f, 'm> {
    frames: &'f [RawFrame],
    image: Image<'f, 'm>,
}

impl<'f, 'm> FrameView<'f, 'm> {
    /// The frame, if there is one.
    pub fn new(frames: &'f [RawFrame], image: Image<'f, 'm>) -> Option<Self> {
        (!frames.is_empty()).then_some(Self { frames, image })
    }

    /// The frame as it was found.
    pub fn raw(&self) -> &'f RawFrame {
        &self.frames[0]
    }

    /// The debug info of its code, and the address in that file to look up.
    pub fn info(&self) -> Option<(&'f DebugInfo<'m>, Svma)> {
        self.image.code().debug_info_at(self.raw().lookup_address())
    }
}

impl<'m> FrameState<'m> for FrameView<'_, 'm> {
    fn register(&self, number: u16) -> Option<u64> {
        self.raw().registers.get(number)
    }

    fn memory(&self, at: Avma, size: u8) -> Result<u64, String> {
        self.image.unsigned(at, size)
    }

    fn cfa(&self) -> Option<Avma> {
        self.raw().cfa
    }

    fn bias(&self) -> LoadBias {
        let module = self.image.code().module_at(self.raw().lookup_address());
        module.map(|(module, _)| module.mapped.bias).unwrap_or_default()
    }

    fn caller(&self) -> Option<CallerFrame<'_, 'm>> {
        // What a signal has interrupted made no call, and a guess is no witness.
        let caller = Self::new(&self.frames[1..], self.image)?;
        let is_call = !self.raw().is_signal_frame && caller.raw().is_return_address;
        let is_sure = matches!(caller.raw().found_by, FoundBy::Cfi | FoundBy::ReturnAddress);
        let (info, lookup) = caller.info().filter(|_| is_call && is_sure)?;
        Some(CallerFrame { info, return_address: Svma(lookup.0.wrapping_add(1)), state: Box::new(caller) })
    }
}
