//! Which functions a trap happened in. The interpreter doesn't tell, so a module is rewritten to keep a stack of its
//! calls: a memory with the index of each function that is being called, and a global with the address behind the
//! innermost one's.
//!
//! A function enters itself first, and is the innermost again behind each call that it makes. So nothing is to be done
//! where one ends, in whatever way.

use cpp_demangle::{DemangleOptions, Symbol};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use wasm_encoder::{
    ConstExpr, Encode, ExportKind, GlobalType, Instruction, MemArg, MemoryType, RawSection, SectionId, ValType,
};
use wasmi::{AsContext, AsContextMut, Global, Instance, Memory, TrapCode, Val};
use wasmparser::{BinaryReader, FunctionBody, KnownCustom, Name, Operator, Parser, Payload, Result, TypeRef};

/// How deep calls may nest: the host's, and those of the guest's allocator within them once more. Small functions nest
/// deeper in V8.
pub(crate) const MAX_DEPTH: usize = 8_000;
/// How many functions V8 tells of, the innermost ones.
const MOST_FRAMES: usize = 20;
/// The size of an index. One page has room for all.
const INDEX: u32 = 4;
/// The size of the memory that a rewritten module has besides, in bytes.
pub(crate) const MEMORY_SIZE: usize = 1 << 16;

/// What a rewritten module exports besides.
pub(crate) const EXPORTS: [&str; 2] = [CALLED, BEHIND];
const CALLED: &str = "host-sim: the functions that are being called";
const BEHIND: &str = "host-sim: where the next of them goes";

/// The sections that this host runs, in their order.
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

/// What a backtrace says of a module's functions.
#[derive(Debug)]
pub(crate) struct Functions {
    /// How many are imported: theirs are the lowest indices.
    imported: u32,
    /// Where the code of each other one is in the module.
    code: Vec<usize>,
    /// Names by index.
    names: BTreeMap<u32, String>,
}

/// The stack that an instance of a rewritten module keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallStack {
    called: Memory,
    behind: Global,
}

/// What is rewritten of a module.
#[derive(Default)]
struct Parsed<'a> {
    sections: BTreeMap<u8, &'a [u8]>,
    /// Sections that are unknown, or there twice, or not in order.
    misplaced: Vec<(u8, &'a [u8])>,
    /// How many parameters a function of each type has.
    parameters: Vec<u32>,
    /// The types of the functions that aren't imported.
    types: Vec<u32>,
    bodies: Vec<FunctionBody<'a>>,
    imported: u32,
    memories: u32,
    globals: u32,
    names: Option<BTreeMap<u32, String>>,
}

/// Rewrites a module. One that isn't valid doesn't become so.
///
/// # Errors
/// If it can't be read, or its names can't.
pub(crate) fn rewrite(wasm: &[u8]) -> Result<(Vec<u8>, Functions)> {
    let parsed = Parsed::of(wasm)?;
    let mut module = wasm_encoder::Module::new();
    for id in SECTIONS {
        let section = parsed.sections.get(&(id as u8)).copied();
        let data = match id {
            SectionId::Memory => Some(with_one_more(section, |new| {
                let page =
                    MemoryType { minimum: 1, maximum: Some(1), memory64: false, shared: false, page_size_log2: None };
                page.encode(new);
            })?),
            SectionId::Global => Some(with_one_more(section, |new| {
                GlobalType { val_type: ValType::I32, mutable: true, shared: false }.encode(new);
                ConstExpr::i32_const(0).encode(new);
            })?),
            SectionId::Export => {
                let called = with_one_more(section, |new| export(new, CALLED, ExportKind::Memory, parsed.memories))?;
                Some(with_one_more(Some(&called), |new| export(new, BEHIND, ExportKind::Global, parsed.globals))?)
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

/// A section with one more entry at its end.
fn with_one_more(section: Option<&[u8]>, encode: impl FnOnce(&mut Vec<u8>)) -> Result<Cow<'static, [u8]>> {
    let mut old = BinaryReader::new(section.unwrap_or(&[0]), 0);
    let count = old.read_var_u32()?;
    let mut new = Vec::new();
    count.saturating_add(1).encode(&mut new);
    new.extend_from_slice(old.read_bytes(old.bytes_remaining())?);
    encode(&mut new);
    Ok(Cow::Owned(new))
}

/// What a trap is called in Envoy: by V8, where it knows of such a trap.
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
                // One of code is told of before it has been seen whether all of it is there; if not, an error follows.
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
                        parsed.names = Some(function_names(names)?);
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

    /// A function's body that keeps the stack, with one more local: the address behind its own index.
    fn body(&self, wasm: &[u8], index: u32, parameters: u32, body: &FunctionBody<'_>) -> Result<Vec<u8>> {
        let locals = body.get_locals_reader()?;
        let mut operators = body.get_operators_reader()?;
        let mut copied = operators.original_position();
        let mut new = Vec::with_capacity(body.range().len() + 32);
        locals.get_count().saturating_add(1).encode(&mut new);
        new.extend_from_slice(&wasm[locals.original_position()..copied]);
        1_u32.encode(&mut new);
        ValType::I32.encode(&mut new);
        let behind = locals.into_iter().try_fold(parameters, |sum, local| Ok(sum.saturating_add(local?.0)))?;

        let slot = MemArg { offset: 0, align: 2, memory_index: self.memories };
        for instruction in [
            Instruction::GlobalGet(self.globals),
            Instruction::LocalTee(behind),
            Instruction::I32Const(index.cast_signed()),
            Instruction::I32Store(slot),
            Instruction::LocalGet(behind),
            Instruction::I32Const(INDEX.cast_signed()),
            Instruction::I32Add,
            Instruction::LocalTee(behind),
            Instruction::GlobalSet(self.globals),
        ] {
            instruction.encode(&mut new);
        }
        let mut is_behind_call = false;
        while !operators.eof() {
            let (operator, at) = operators.read_with_offset()?;
            let is_tail_call = matches!(
                operator,
                Operator::ReturnCall { .. } | Operator::ReturnCallIndirect { .. } | Operator::ReturnCallRef { .. }
            );
            if is_behind_call || is_tail_call {
                new.extend_from_slice(&wasm[copied..at]);
                copied = at;
                Instruction::LocalGet(behind).encode(&mut new);
                if is_tail_call {
                    // What is called takes its place.
                    Instruction::I32Const(INDEX.cast_signed()).encode(&mut new);
                    Instruction::I32Sub.encode(&mut new);
                }
                Instruction::GlobalSet(self.globals).encode(&mut new);
            }
            is_behind_call = match operator {
                // The host leaves the stack as it was.
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
    /// That of an instance of a rewritten module.
    pub(crate) fn of(store: impl AsContext, instance: &Instance) -> Option<CallStack> {
        let called = instance.get_memory(&store, CALLED)?;
        Some(CallStack { called, behind: instance.get_global(&store, BEHIND)? })
    }

    /// How high it is; 0 when nothing is being called.
    pub(crate) fn height(self, store: impl AsContext) -> i32 {
        self.behind.get(store).i32().unwrap_or_default()
    }

    /// Sets how high it is.
    pub(crate) fn set_height(self, store: impl AsContextMut, height: i32) {
        self.behind.set(store, Val::I32(height)).expect("it is a variable i32");
    }

    /// The indices of the functions that V8 would tell of, innermost first.
    fn innermost(self, store: &impl AsContext) -> Vec<u32> {
        let height = self.height(store).cast_unsigned() as usize;
        let called = self.called.data(store).get(..height).unwrap_or_default();
        let indices = called.rchunks_exact(INDEX as usize).take(MOST_FRAMES);
        indices.map(|bytes| bytes.iter().rev().fold(0, |index, byte| index << 8 | u32::from(*byte))).collect()
    }
}

// === impl Functions ===

impl Functions {
    /// What Envoy logs behind a trap's message: nothing if the module has no function names. Where Envoy has the address
    /// of the instruction, there is that of the function.
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

/// A name as Envoy has it demangled: as one of C++, which those of Rust's older scheme look like. What is the code of a
/// type, as `a` and `b` are, becomes that type.
fn demangled(name: &str) -> String {
    const TYPE: &str = "typeinfo name for ";
    let symbol = if name.starts_with("_Z") { name.to_owned() } else { format!("_ZTS{name}") };
    let mut short = Short(String::new());
    let is_demangled = Symbol::new(&symbol)
        .is_ok_and(|symbol| symbol.structured_demangle(&mut short, &DemangleOptions::default()).is_ok());
    let Short(demangled) = short;
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

/// A text that ends with an error when it gets longer than any name that a compiler makes: one of a few hundred
/// characters may stand for one that fills the memory.
struct Short(String);

impl Write for Short {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        const LONGEST: usize = 1 << 16;
        if self.0.len() + more.len() > LONGEST {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}
