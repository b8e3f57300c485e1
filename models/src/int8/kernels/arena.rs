//! The memory of a program: one block of aligned bytes, and the raw view of it that the kernels work through.
//!
//! [`Arena`] is the safe owner. [`Memory`] exists for the time of one run: threads of a team read and write
//! different bytes of the arena at the same time, which no slice of the whole can express. It hands out slices
//! of exactly the bytes that are read or written; that nobody writes what another thread touches is what
//! [`super::check`] proves of a program before it ever runs.

use std::marker::PhantomData;

/// As wide as a cache line and the widest vector register.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Zeroed bytes, aligned to 64.
pub(crate) struct Arena {
    lines: Box<[Line]>,
    length: usize,
}

impl Arena {
    /// An arena of `length` bytes, all zero.
    pub(crate) fn new(length: usize) -> Self {
        Self { lines: vec![Line([0; 64]); length.div_ceil(64)].into_boxed_slice(), length }
    }

    /// The number of bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// All bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the lines are at least `length` plain bytes without gaps.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.length) }
    }

    /// All bytes, to write.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the borrow is the only one.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.length) }
    }

    /// `count` floats of the processor's byte order from a byte on.
    ///
    /// # Panics
    /// When they do not lie in the arena or do not begin at a multiple of 4.
    pub(crate) fn floats(&self, offset: usize, count: usize) -> &[f32] {
        assert!(offset.is_multiple_of(4), "floats begin at a multiple of 4, not at {offset}");
        let length = count.checked_mul(4).expect("that many floats fit no memory");
        let bytes = &self.bytes()[offset..][..length];
        // SAFETY: the bytes are there, begin at a multiple of 4 of an aligned block, and any bytes are floats.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), count) }
    }

    /// The view for one run.
    pub(super) fn memory(&mut self) -> Memory<'_> {
        Memory { base: self.lines.as_mut_ptr().cast(), length: self.length, arena: PhantomData }
    }
}

/// An arena while a program runs. Copies of it may be used by several threads at a time.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    base: *mut u8,
    length: usize,
    arena: PhantomData<&'a mut [u8]>,
}

// SAFETY: the pointer is to bytes that the arena's borrower lent out for 'a. All access is through unsafe
// functions, whose callers promise that no two threads touch the same byte while one of them writes it.
unsafe impl Send for Memory<'_> {}
// SAFETY: as above.
unsafe impl Sync for Memory<'_> {}

impl<'a> Memory<'a> {
    /// The bytes from `at` on.
    ///
    /// # Safety
    /// They lie in the arena, and nobody writes them while the slice lives.
    #[inline(always)]
    pub(super) unsafe fn read(self, at: usize, length: usize) -> &'a [u8] {
        debug_assert!(at <= self.length && length <= self.length - at, "{length} bytes at {at}");
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.base.add(at), length) }
    }

    /// The bytes from `at` on, to write.
    ///
    /// # Safety
    /// They lie in the arena, and nobody else reads or writes them while the slice lives.
    #[inline(always)]
    pub(super) unsafe fn write(self, at: usize, length: usize) -> &'a mut [u8] {
        debug_assert!(at <= self.length && length <= self.length - at, "{length} bytes at {at}");
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(at), length) }
    }

    /// `count` floats from `at` on, to write.
    ///
    /// # Safety
    /// As for [`Memory::write`], and `at` is a multiple of 4.
    #[inline(always)]
    pub(super) unsafe fn write_floats(self, at: usize, count: usize) -> &'a mut [f32] {
        debug_assert!(at.is_multiple_of(4) && at <= self.length && count <= (self.length - at) / 4);
        // SAFETY: the caller's promise; the arena begins at a multiple of 64.
        unsafe { std::slice::from_raw_parts_mut(self.base.add(at).cast(), count) }
    }
}
