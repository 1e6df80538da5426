//! Shared memory: a mapped file, seen as structures of atomics and as bytes.
//!
//! Together with `sys` the only unsafe code of the crate. What always holds: an offset is checked against the mapping
//! before it is used, whatever it was read from; a structure consists of atomics alone, so any bytes are a valid value
//! of it, and another process may change them at any time. Bytes are copied in and out under the ring's protocol, which
//! gives each byte one writer at a time; a process that breaks it can garble records, never this process's memory.
//!
//! How it fails: an offset beyond the mapping panics in tests and reads as the first byte's structure never; callers
//! validate offsets from shared memory before they come here. Truncating the file under a mapping is the one thing that
//! cannot be survived (SIGBUS): the state directory is private to the user for that reason.

use std::fs::File;
use std::io;
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};

/// A structure that may live in shared memory.
///
/// # Safety
/// `repr(C)`, made of atomics (or arrays and structures of them) only, at most 64-byte aligned.
pub(crate) unsafe trait Shared {}

/// A file mapped shared for the life of the value; writable, but where it was opened to look only ([`Shm::map_to_look`]):
/// whoever does that calls nothing that stores.
pub(crate) struct Shm {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and everything in it is reached through atomics or
// through copies under the ring's protocol.
unsafe impl Send for Shm {}
// SAFETY: as above.
unsafe impl Sync for Shm {}

impl Shm {
    /// Maps the first `len` bytes of `file`, which must be at least that long.
    pub fn map(file: &File, len: usize) -> io::Result<Shm> {
        Shm::map_with(file, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// The same for a process that may not write the file: a store is a SIGSEGV.
    pub fn map_to_look(file: &File, len: usize) -> io::Result<Shm> {
        Shm::map_with(file, len, ProtFlags::READ)
    }

    fn map_with(file: &File, len: usize, rights: ProtFlags) -> io::Result<Shm> {
        let flags = MapFlags::SHARED;
        // SAFETY: a new mapping at an address of the kernel's choice aliases no Rust object.
        let base = unsafe { mmap(std::ptr::null_mut(), len, rights, flags, file, 0)? };
        let base = NonNull::new(base.cast()).ok_or_else(|| io::Error::other("mapped at null"))?;
        Ok(Shm { base, len })
    }

    /// The structure at `offset`.
    #[inline]
    pub fn at<T: Shared>(&self, offset: usize) -> &T {
        let end = offset.checked_add(size_of::<T>());
        assert!(end.is_some_and(|end| end <= self.len) && offset.is_multiple_of(align_of::<T>()));
        // SAFETY: inside the mapping and aligned (checked above, the base is page-aligned); `T: Shared` admits any
        // bytes and concurrent change; the reference cannot outlive the mapping.
        unsafe { &*self.base.as_ptr().add(offset).cast::<T>() }
    }

    /// Copies `bytes` to `offset`. The caller has the sole right to write that range.
    #[inline]
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(
            offset
                .checked_add(bytes.len())
                .is_some_and(|end| end <= self.len)
        );
        // SAFETY: inside the mapping; the source is a Rust slice and cannot overlap a range only we may write.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                self.base.as_ptr().add(offset),
                bytes.len(),
            )
        }
    }

    /// Appends `len` bytes at `offset` to `out`.
    #[inline]
    pub fn append_to(&self, offset: usize, len: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(self.bytes(offset, len));
    }

    /// The bytes at `offset`, published and not yet drained, so that nobody writes them while the slice lives.
    #[inline]
    pub fn bytes(&self, offset: usize, len: usize) -> &[u8] {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: inside the mapping; the ring's protocol keeps producers off entries between drained and tail.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), len) }
    }

    /// A copy of `len` bytes at `offset` that somebody may be overwriting: the caller checks afterwards whether it is whole.
    pub fn copy(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        let mut bytes = vec![0; len];
        // SAFETY: the source is inside the mapping and no Rust reference to it exists; the target is ours. Bytes that
        // change under the copy give other bytes, never anything that is not a byte.
        unsafe {
            std::ptr::copy_nonoverlapping(self.base.as_ptr().add(offset), bytes.as_mut_ptr(), len);
        }
        bytes
    }

    /// Makes the pages of a range present and writable now, so that no record pays for a first touch.
    pub fn populate(&self, offset: usize, len: usize) {
        assert!(offset.checked_add(len).is_some_and(|end| end <= self.len));
        // SAFETY: the range is inside our mapping; populating changes no content. Older kernels refuse, which is fine.
        let _ = unsafe {
            madvise(
                self.base.as_ptr().add(offset).cast(),
                len,
                Advice::LinuxPopulateWrite,
            )
        };
    }
}

impl Drop for Shm {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and no reference into it outlives `self`.
        let _ = unsafe { munmap(self.base.as_ptr().cast(), self.len) };
    }
}
