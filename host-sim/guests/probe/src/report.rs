//! Reports calls, one line each: the callback, the function, its arguments, and its results.

use crate::host;
use std::cell::{Cell, UnsafeCell};
use std::fmt::{Display, Write};

/// An address outside the guest's memory.
pub const NOWHERE: u32 = 0xffff_0000;
/// The value of a cell to which the host has not written.
const UNTOUCHED: u64 = 0x7e57_ab1e_7e57_ab1e;
const WARN: u32 = 3;

thread_local! {
    static ALLOCATION: Cell<Allocation> = const { Cell::new(Allocation::Works) };
}

/// What the guest's allocator returns to the host.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Allocation {
    Works,
    Fails,
    /// An address outside the guest's memory.
    Nowhere,
}

/// A word of the guest's memory for the host to write to.
pub struct Out(Box<UnsafeCell<u64>>);

/// Reports the calls of one callback.
#[derive(Clone, Copy)]
pub struct Probe<'a> {
    /// The callback as the report names it.
    pub callback: &'a str,
}

/// Returns the address and size of bytes.
pub fn at(bytes: &[u8]) -> (u32, u32) {
    (bytes.as_ptr().expose_provenance() as u32, bytes.len() as u32)
}

/// Allocates memory for the host, or fails as [`with_allocation`] demands.
pub fn allocate(size: usize) -> *mut u8 {
    match ALLOCATION.get() {
        // Memory is never freed: the instances of this guest are short-lived.
        Allocation::Works => Vec::leak(vec![0; size]).as_mut_ptr(),
        Allocation::Fails => std::ptr::null_mut(),
        Allocation::Nowhere => std::ptr::with_exposed_provenance_mut(NOWHERE as usize),
    }
}

/// Returns the address of filled memory to which the host may write.
pub fn space(size: usize, fill: u8) -> u32 {
    Vec::leak(vec![fill; size]).as_mut_ptr().expose_provenance() as u32
}

/// Makes a call while the allocator behaves in this way.
pub fn with_allocation<T>(allocation: Allocation, call: impl FnOnce() -> T) -> T {
    ALLOCATION.set(allocation);
    let result = call();
    ALLOCATION.set(Allocation::Works);
    result
}

/// Reads bytes that the host wrote.
pub fn read(pointer: u32, size: u32) -> Vec<u8> {
    let start: *const u8 = std::ptr::with_exposed_provenance(pointer as usize);
    // SAFETY: the host wrote the bytes into an allocation of this guest. A wrong address fails the comparison.
    (0..size as usize).map(|index| unsafe { start.wrapping_add(index).read_volatile() }).collect()
}

/// Returns bytes as text on one line. Different bytes give different text.
pub fn quoted(bytes: &[u8]) -> String {
    const MAX_SIZE: usize = 100;
    match bytes.get(..MAX_SIZE) {
        Some(start) => format!("\"{}\"… {} bytes", start.escape_ascii(), bytes.len()),
        None => format!("\"{}\"", bytes.escape_ascii()),
    }
}

/// Returns the ABI's encoding of header pairs.
pub fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::from((pairs.len() as u32).to_le_bytes());
    for (name, value) in pairs {
        bytes.extend((name.len() as u32).to_le_bytes());
        bytes.extend((value.len() as u32).to_le_bytes());
    }
    for (name, value) in pairs {
        bytes.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
    }
    bytes
}

/// Returns the names in encoded header pairs.
pub fn names(bytes: &[u8]) -> String {
    let number = |at: usize| {
        let bytes = bytes.get(at..at + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    };
    let count = number(0).unwrap_or(0);
    let mut at = 4 + 8 * count;
    let mut names = Vec::new();
    for index in 0..count {
        let (name, value) = (number(4 + 8 * index).unwrap_or(0), number(8 + 8 * index).unwrap_or(0));
        names.push(bytes.get(at..at + name).unwrap_or_default().escape_ascii().to_string());
        at += name + value + 2;
    }
    names.join(" ")
}

// === impl Out ===

impl Out {
    pub fn new() -> Out {
        Out(Box::new(UnsafeCell::new(UNTOUCHED)))
    }

    pub fn pointer(&self) -> u32 {
        self.0.get().expose_provenance() as u32
    }

    /// Returns the cell's 64 bits.
    pub fn long(&self) -> u64 {
        // SAFETY: the cell belongs to this guest. The read is volatile because the compiler does not see the host's write.
        unsafe { self.0.get().read_volatile() }
    }

    /// Returns the lower 32 bits of the cell.
    pub fn word(&self) -> u32 {
        self.long() as u32
    }

    pub fn touched(&self) -> bool {
        self.long() != UNTOUCHED
    }
}

// === impl Probe ===

impl Probe<'_> {
    /// Reports a call.
    pub fn say(&self, function: &str, arguments: impl Display, answer: impl Display) {
        let line = format!("probe {} {function}({arguments}) -> {answer}", self.callback);
        let (message, size) = at(line.trim_end().as_bytes());
        host::proxy_log(WARN, message, size);
    }

    /// Reports a call that returns only a status.
    pub fn status(&self, function: &str, arguments: impl Display, status: u32) {
        self.say(function, arguments, status);
    }

    /// Makes a call that writes bytes, and reports them in this form.
    pub fn bytes_as(
        &self,
        function: &str,
        arguments: impl Display,
        call: impl FnOnce(u32, u32) -> u32,
        form: impl FnOnce(&[u8]) -> String,
    ) -> Vec<u8> {
        let (value, size) = (Out::new(), Out::new());
        let status = call(value.pointer(), size.pointer());
        let mut answer = status.to_string();
        let mut bytes = Vec::new();
        if status == 0 && value.touched() && size.touched() {
            bytes = read(value.word(), size.word());
            _ = write!(answer, " {}", form(&bytes));
        } else if status == 0 || value.touched() || size.touched() {
            _ = write!(answer, " wrote value={} size={}", value.touched(), size.touched());
        }
        self.say(function, arguments, answer);
        bytes
    }

    /// Makes a call that writes bytes, and reports them.
    pub fn bytes(&self, function: &str, arguments: impl Display, call: impl FnOnce(u32, u32) -> u32) -> Vec<u8> {
        self.bytes_as(function, arguments, call, quoted)
    }

    /// Makes a call that writes a number, reports the number in this form, and returns it.
    pub fn long_as(
        &self,
        function: &str,
        arguments: impl Display,
        call: impl FnOnce(u32) -> u32,
        form: impl FnOnce(u64) -> String,
    ) -> u64 {
        let out = Out::new();
        let status = call(out.pointer());
        let answer = match (status, out.touched()) {
            (0, true) => format!("{status} {}", form(out.long())),
            (0, false) => format!("{status} wrote nothing"),
            (_, true) => format!("{status} wrote {}", form(out.long())),
            (_, false) => status.to_string(),
        };
        self.say(function, arguments, answer);
        out.long()
    }

    /// Makes a call that writes a 64-bit number, and reports it.
    pub fn long(&self, function: &str, arguments: impl Display, call: impl FnOnce(u32) -> u32) -> u64 {
        self.long_as(function, arguments, call, |long| long.to_string())
    }

    /// Makes a call that writes a 32-bit number, reports the number in this form, and returns it.
    pub fn word_as(
        &self,
        function: &str,
        arguments: impl Display,
        call: impl FnOnce(u32) -> u32,
        form: impl FnOnce(u32) -> String,
    ) -> u32 {
        self.long_as(function, arguments, call, |long| form(long as u32)) as u32
    }

    /// Makes a call that writes a 32-bit number, and reports it.
    pub fn word(&self, function: &str, arguments: impl Display, call: impl FnOnce(u32) -> u32) -> u32 {
        self.word_as(function, arguments, call, |word| word.to_string())
    }
}
