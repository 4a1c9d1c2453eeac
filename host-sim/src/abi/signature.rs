//! Signatures of host functions and callbacks, derived from Rust's types.

use std::fmt;

/// A value type that the ABI uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueType {
    I32,
    I64,
}

/// The parameters and results of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub params: &'static [ValueType],
    pub results: &'static [ValueType],
}

/// A Rust type that stands for one value type.
pub(crate) trait AbiType {
    const TYPE: ValueType;
}

/// A Rust type that stands for a list of value types.
pub(crate) trait AbiTypes {
    const TYPES: &'static [ValueType];
}

// === impl Signature ===

impl Signature {
    /// Returns the signature of a function with these parameters and results.
    pub(crate) const fn of<Params: AbiTypes, Results: AbiTypes>() -> Signature {
        Signature { params: Params::TYPES, results: Results::TYPES }
    }
}

impl fmt::Display for Signature {
    /// Formats the signature as `(i32, i64) → i32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |types: &[ValueType]| types.iter().map(ValueType::to_string).collect::<Vec<_>>().join(", ");
        write!(f, "({})", names(self.params))?;
        if self.results.is_empty() { Ok(()) } else { write!(f, " → {}", names(self.results)) }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::I32 => "i32",
            ValueType::I64 => "i64",
        })
    }
}

// === impl AbiType, AbiTypes ===

impl AbiType for u32 {
    const TYPE: ValueType = ValueType::I32;
}

impl AbiType for u64 {
    const TYPE: ValueType = ValueType::I64;
}

impl AbiType for i64 {
    const TYPE: ValueType = ValueType::I64;
}

impl AbiTypes for u32 {
    const TYPES: &'static [ValueType] = &[ValueType::I32];
}

impl AbiTypes for () {
    const TYPES: &'static [ValueType] = &[];
}

impl AbiTypes for (u32, u32) {
    const TYPES: &'static [ValueType] = &[ValueType::I32; 2];
}

impl AbiTypes for (u32, u32, u32) {
    const TYPES: &'static [ValueType] = &[ValueType::I32; 3];
}

impl AbiTypes for (u32, u32, u32, u32, u32) {
    const TYPES: &'static [ValueType] = &[ValueType::I32; 5];
}
