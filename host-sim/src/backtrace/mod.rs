//! Backtraces of traps. The interpreter provides none, so each module is rewritten to maintain a stack of its calls: a
//! memory with the index of each active function, and a global with the address after the innermost index.
//!
//! A function first pushes its index, and restores the stack after each call that it makes. The rewriting adds no code at the
//! end of a function, because the caller restores the stack.

use cpp_demangle::{DemangleOptions, Symbol};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use wasm_encoder::{
    ConstExpr, Encode, ExportKind, GlobalType, Instruction, MemArg, MemoryType, RawSection, SectionId, ValType,
};
use wasmi::{AsContext, AsContextMut, Global, Instance, Memory, TrapCode, Val};
use wasmparser::{BinaryReader, FunctionBody, KnownCustom, Name, Operator, Parser, Payload, Result, TypeRef};

/// The maximum depth of calls, for a callback and again for the guest's allocator within it. V8 allows small functions
/// to nest deeper.
pub(crate) const MAX_DEPTH: usize = 8_000;
/// The number of innermost functions in V8's backtraces.
const MAX_FRAMES: usize = 20;
/// The size of an index in bytes. One page holds the maximum depth.
const INDEX_SIZE: u32 = 4;
/// The size of the memory that the rewriting adds, in bytes.
pub(crate) const MEMORY_SIZE: usize = 1 << 16;

/// The exports that the rewriting adds.
pub(crate) const EXPORTS: [&str; 2] = [STACK, STACK_TOP];
const STACK: &str = "host-sim: call stack";
const STACK_TOP: &str = "host-sim: call stack top";

/// The sections of a module in their order.
const SECTIONS: [SectionId; 12] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// The names and addresses of a module's functions.
#[derive(Debug)]
pub(crate) struct Functions {
    /// The number of imported functions, which have the lowest indices.
    imported: u32,
    /// The address of each other function in the module.
    code: Vec<usize>,
    /// Function names by index.
    names: BTreeMap<u32, String>,
}

/// The call stack of an instance of a rewritten module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallStack {
    stack: Memory,
    top: Global,
}

/// The parts of a module that the rewriting needs.
#[derive(Default)]
struct Parsed<'a> {
    sections: BTreeMap<u8, &'a [u8]>,
    /// Sections that are unknown, duplicated or out of order.
    misplaced: Vec<(u8, &'a [u8])>,
    /// The number of parameters by function type.
    parameters: Vec<u32>,
    /// The types of the functions that are not imported.
    types: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    imported: u32,
    memories: u32,
    globals: u32,
    names: Option<BTreeMap<u32, String>>,
}

/// Rewrites a module. An invalid module stays invalid.
///
/// # Errors
/// If the module cannot be parsed.
pub(crate) fn rewrite(wasm: &[u8]) -> Result<(Vec<u8>, Functions)> {
    let parsed = Parsed::of(wasm)?;
    let mut module = wasm_encoder::Module::new();
    for id in SECTIONS {
        let section = parsed.sections.get(&(id as u8)).copied();
        let data = match id {
            SectionId::Memory => Some(with_entry(section, |new| {
                let page =
                    MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: None };
                page.encode(new);
            })?),
            SectionId::Global => Some(with_entry(section, |new| {
                GlobalType { val_type: ValType::I32, mutable: true, shared: false }.encode(new);
                ConstExpr::i32_const(0).encode(new);
            })?),
            SectionId::Export => {
                let called = with_entry(section, |new| export(new, STACK, ExportKind::Memory, parsed.memories))?;
                Some(with_entry(Some(&called), |new| export(new, STACK_TOP, ExportKind::Global, parsed.globals))?)
            }
            SectionId::Code => Some(parsed.code(wasm)?),
            _ => section.map(Cow::Borrowed),
        };
        if let Some(data) = data {
            module.section(&RawSection { id: id as u8, data: &data });
        }
    }
    for (id, data) in parsed.misplaced {
        module.section(&RawSection { id, data });
    }
    let code = parsed.bodies.iter().map(|body| body.range().start).collect();
    let functions = Functions { imported: parsed.imported, code, names: parsed.names.unwrap_or_default() };
    Ok((module.finish(), functions))
}

fn export(section: &mut Vec<u8>, name: &str, kind: ExportKind, index: u32) {
    name.encode(section);
    kind.encode(section);
    index.encode(section);
}

/// Returns a section with an additional entry at its end.
fn with_entry(section: Option<&[u8]>, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Cow<'static, [u8]>> {
    let mut old = BinaryReader::new(section.unwrap_or(&[0]), 0);
    let count = old.read_var_u32()?;
    let mut new = Vec::new();
    count.saturating_add(1).encode(&mut new);
    new.extend_from_slice(old.read_bytes(old.bytes_remaining())?);
    encode(&mut new);
    Ok(Cow::Owned(new))
}

/// Returns the message of a trap as V8 words it in Envoy.
pub(crate) fn message(trap: &wasmi::Error) -> String {
    let error = match trap.as_trap_code() {
        Some(TrapCode::UnreachableCodeReached) => "unreachable",
        Some(TrapCode::MemoryOutOfBounds) => "memory access out of bounds",
        Some(TrapCode::TableOutOfBounds) => "table index is out of bounds",
        Some(TrapCode::IndirectCallToNull | TrapCode::BadSignature) => "function signature mismatch",
        Some(TrapCode::IntegerDivisionByZero) => "divide by zero",
        Some(TrapCode::IntegerOverflow) => "divide result unrepresentable",
        Some(TrapCode::BadConversionToInteger) => "float unrepresentable in integer range",
        Some(TrapCode::StackOverflow) => return "Uncaught RangeError: Maximum call stack size exceeded".to_owned(),
        _ => return format!("Uncaught Error: {trap}"),
    };
    format!("Uncaught RuntimeError: {error}")
}

// === impl Parsed ===

impl<'a> Parsed<'a> {
    fn of(wasm: &'a [u8]) -> Result<Self> {
        let mut parsed = Parsed::default();
        let mut last = None;
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            if let Some((id, range)) = payload.as_section().filter(|(id, _)| *id != SectionId::Custom as u8) {
                // The parser announces the code section before it has checked its length. An error follows if it is cut.
                let data = wasm.get(range).unwrap_or_default();
                let place = SECTIONS.iter().position(|section| *section as u8 == id);
                if place > last {
                    parsed.sections.insert(id, data);
                    last = place;
                } else {
                    parsed.misplaced.push((id, data));
                }
            }
            match payload {
                Payload::TypeSection(types) => {
                    for function in types.into_iter_err_on_gc_types() {
                        parsed.parameters.push(function?.params().len() as u32);
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports {
                        match import?.ty {
                            TypeRef::Func(_) => parsed.imported += 1,
                            TypeRef::Memory(_) => parsed.memories += 1,
                            TypeRef::Global(_) => parsed.globals += 1,
                            TypeRef::Table(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::FunctionSection(types) => parsed.types = types.into_iter().collect::<Result<_>>()?,
                Payload::MemorySection(memories) => {
                    parsed.memories = parsed.memories.saturating_add(memories.count());
                }
                Payload::GlobalSection(globals) => {
                    parsed.globals = parsed.globals.saturating_add(globals.count());
                }
                Payload::CodeSectionEntry(body) => parsed.bodies.push(body),
                Payload::CustomSection(section) => {
                    if let (KnownCustom::Name(names), None) = (section.as_known(), &parsed.names) {
                        // V8 ignores malformed names, too.
                        parsed.names = Some(function_names(names).unwrap_or_default());
                    }
                }
                _ => {}
            }
        }
        Ok(parsed)
    }

    fn code(&self, wasm: &[u8]) -> Result<Cow<'static, [u8]>> {
        let mut code = Vec::with_capacity(wasm.len());
        (self.bodies.len() as u32).encode(&mut code);
        for (index, (body, &kind)) in (self.imported..).zip(self.bodies.iter().zip(&self.types)) {
            let parameters = self.parameters.get(kind as usize).copied().unwrap_or_default();
            self.body(wasm, index, parameters, body)?.encode(&mut code);
        }
        Ok(Cow::Owned(code))
    }

    /// Returns a function body that maintains the stack, with an additional local: the address after its own index.
    fn body(&self, wasm: &[u8], index: u32, parameters: u32, body: &FunctionBody<'_>) -> Result<Vec<u8>> {
        let locals = body.get_locals_reader()?;
        let mut operators = body.get_operators_reader()?;
        let mut copied = operators.original_position();
        let mut new = Vec::with_capacity(body.range().len() + 32);
        locals.get_count().saturating_add(1).encode(&mut new);
        new.extend_from_slice(&wasm[locals.original_position()..copied]);
        1_u32.encode(&mut new);
        ValType::I32.encode(&mut new);
        let top = locals.into_iter().try_fold(parameters, |sum, local| Ok(sum.saturating_add(local?.0)))?;

        let slot = MemArg { offset: 0, align: 2, memory_index: self.memories };
        for instruction in [
            Instruction::GlobalGet(self.globals),
            Instruction::LocalTee(top),
            Instruction::I32Const(index.cast_signed()),
            Instruction::I32Store(slot),
            Instruction::LocalGet(top),
            Instruction::I32Const(INDEX_SIZE.cast_signed()),
            Instruction::I32Add,
            Instruction::LocalTee(top),
            Instruction::GlobalSet(self.globals),
        ] {
            instruction.encode(&mut new);
        }
        let mut is_after_call = false;
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset()?;
            let is_tail_call = matches!(
                operator,
                Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. }
            );
            if is_after_call || is_tail_call {
                new.extend_from_slice(&wasm[copied..at]);
                copied = at;
                Instruction::LocalGet(top).encode(&mut new);
                if is_tail_call {
                    // The callee replaces this function.
                    Instruction::I32Const(INDEX_SIZE.cast_signed()).encode(&mut new);
                    Instruction::I32Sub.encode(&mut new);
                }
                Instruction::GlobalSet(self.globals).encode(&mut new);
            }
            is_after_call = match operator {
                // Host functions leave the stack unchanged.
                Operator::Call { function_index } => function_index >= self.imported,
                Operator::CallIndirect { .. } | Operator::CallRef { .. } => true,
                _ => false,
            };
        }
        new.extend_from_slice(&wasm[copied..body.range().end]);
        Ok(new)
    }
}

fn function_names(section: wasmparser::NameSectionReader<'_>) -> Result<BTreeMap<u32, String>> {
    let mut all = BTreeMap::new();
    for names in section {
        let Name::Function(names) = names? else { continue };
        for name in names {
            let name = name?;
            all.entry(name.index).or_insert_with(|| name.name.to_owned());
        }
    }
    Ok(all)
}

// === impl CallStack ===

impl CallStack {
    /// Returns the call stack of an instance of a rewritten module.
    pub(crate) fn of(store: impl AsContext, instance: &Instance) -> Option<CallStack> {
        let stack = instance.get_memory(&store, STACK)?;
        Some(CallStack { stack, top: instance.get_global(&store, STACK_TOP)? })
    }

    /// Returns the height in bytes; 0 if no function is active.
    pub(crate) fn height(self, store: impl AsContext) -> i32 {
        self.top.get(store).i32().unwrap_or_default()
    }

    /// Sets the height in bytes.
    pub(crate) fn set_height(self, store: impl AsContextMut, height: i32) {
        self.top.set(store, Val::I32(height)).expect("the global is a mutable i32");
    }

    /// Returns the indices of the functions in V8's backtrace, innermost first.
    fn innermost(self, store: &impl AsContext) -> Vec<u32> {
        let height = self.height(store).cast_unsigned() as usize;
        let stack = self.stack.data(store).get(..height).unwrap_or_default();
        let indices = stack.rchunks_exact(INDEX_SIZE as usize).take(MAX_FRAMES);
        indices.map(|bytes| bytes.iter().rev().fold(0, |index, byte| index << 8 | u32::from(*byte))).collect()
    }
}

// === impl Functions ===

impl Functions {
    /// Returns the backtrace that Envoy logs after a trap's message. Empty if the module has no function names. Addresses
    /// are those of functions; Envoy's are those of instructions.
    pub(crate) fn backtrace(&self, store: &impl AsContext, stack: CallStack) -> String {
        let mut text = String::new();
        if self.names.is_empty() {
            return text;
        }
        text += "\nProxy-Wasm plugin in-VM backtrace:";
        for (place, index) in stack.innermost(store).into_iter().enumerate() {
            let code = index.checked_sub(self.imported).and_then(|place| self.code.get(place as usize));
            let address = code.copied().unwrap_or_default();
            let name = match self.names.get(&index) {
                Some(name) => demangled(name),
                None => format!("unknown(function index:{index})"),
            };
            _ = write!(text, "\n{place:>3}:  0x{address:x} - {name}");
        }
        text
    }
}

/// Demangles a name as Envoy does: as a C++ name, which Rust's legacy scheme resembles. A name that encodes a C++ type,
/// such as `a` or `b`, becomes that type.
fn demangled(name: &str) -> String {
    const TYPE: &str = "typeinfo name for ";
    let symbol = if name.starts_with("_Z") { name.to_owned() } else { format!("_ZTS{name}") };
    let mut text = LimitedText(String::new());
    let is_demangled = Symbol::new(&symbol)
        .is_ok_and(|symbol| symbol.structured_demangle(&mut text, &DemangleOptions::default()).is_ok());
    let LimitedText(demangled) = text;
    if !is_demangled {
        return name.to_owned();
    }
    let demangled = demangled.strip_prefix(TYPE).filter(|_| !name.starts_with("_Z")).unwrap_or(&demangled);
    let demangled = demangled.replace("> >", ">>").replace("> >", ">>");
    match demangled.split_once(" [clone ") {
        Some((function, clone)) => format!("{function} ({})", clone.replace("] [clone ", "").trim_end_matches(']')),
        None => demangled,
    }
}

/// A text of limited length. A mangled name of a few hundred characters may expand until it fills the memory.
struct LimitedText(String);

impl Write for LimitedText {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        const MAX_LENGTH: usize = 1 << 16;
        if self.0.len() + more.len() > MAX_LENGTH {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}
