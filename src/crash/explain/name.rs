//! Registers and operands of an instruction in; what they are in the source out: `p`, `r->next->name`, `lookup()`.
//!
//! Optimized code keeps variables in registers, and debug info says in which. Code that is not optimized loads them right before they are used: there
//! the instructions that certainly ran before are followed back to the memory that a register was filled from.

use crate::address::{Avma, LoadBias};
use crate::arch::instruction::{Instruction, InstructionKind, MemoryAccess, Origin, Target};
use crate::crash::code::Code;
use crate::crash::memory::Memory;
use crate::crash::unwind::Registers;
use crate::dwarf::types::{Type, TypeId, TypeKind, TypeTable};
use crate::dwarf::variables::{CallerFrame, FrameState, Spot};

/// Loads that are followed back.
const MAX_LINKS: u32 = 8;
/// Members within members.
const MAX_NESTED: u32 = 16;

/// A frame in which things are named.
pub struct Stand<'s> {
    pub pc: Avma,
    pub registers: Registers,
    pub cfa: Option<Avma>,
    pub bias: LoadBias,
    pub memory: &'s Memory,
    pub tls_base: u64,
}

impl<'a> FrameState<'a> for Stand<'_> {
    fn register(&self, number: u16) -> Option<u64> {
        self.registers.get(number)
    }

    fn memory(&self, at: Avma, size: u8) -> Result<u64, String> {
        self.memory.unsigned(at, size).map_err(|unknown| unknown.to_string())
    }

    fn cfa(&self) -> Option<Avma> {
        self.cfa
    }

    fn bias(&self) -> LoadBias {
        self.bias
    }

    fn caller(&self) -> Option<CallerFrame<'_, 'a>> {
        None
    }
}

/// What something is in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expression {
    /// `p->name`
    pub text: String,
    /// `char *`, where it is known.
    pub ty: Option<String>,
    /// What it was, if that is still there.
    pub value: Option<u64>,
    /// For a member of what a pointer points to: which it is.
    pub member: Option<Member>,
    id: Option<TypeId>,
}

/// A member of what a pointer points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// `name`
    pub name: String,
    /// Where it begins.
    pub offset: u64,
}

impl Member {
    /// Compilers of C++ keep a pointer to the virtual methods in front of an object.
    #[must_use]
    pub fn is_method_table(&self) -> bool {
        self.name.contains("_vptr")
    }
}

impl Expression {
    fn new(text: String, id: Option<TypeId>, types: &TypeTable) -> Self {
        Self { text, ty: id.map(|id| types.get(id).name.clone()), value: None, member: None, id }
    }

    /// `` `p` (struct rec *) ``
    #[must_use]
    pub fn with_type(&self) -> String {
        match &self.ty {
            Some(ty) => format!("`{}` ({ty})", self.text),
            None => format!("`{}`", self.text),
        }
    }
}

/// A variable of the frame.
struct Known {
    name: String,
    ty: TypeId,
    spot: Spot,
}

/// Names things in one frame.
pub struct Namer<'n, 'm> {
    code: &'n Code<'m>,
    stand: &'n Stand<'n>,
    types: TypeTable,
    variables: Vec<Known>,
    before: Vec<Instruction>,
}

impl<'n, 'm> Namer<'n, 'm> {
    /// For one frame.
    pub fn new(code: &'n Code<'m>, stand: &'n Stand<'n>) -> Self {
        let mut types = TypeTable::default();
        let variables = variables_at(code, stand, stand.pc, &mut types);
        let before = code
            .function_code_at(stand.pc)
            .map(|(start, bytes)| code.arch.straight_line(bytes, start, stand.pc))
            .unwrap_or_default();
        Self { code, stand, types, variables, before }
    }

    /// What the operand of the instruction that the frame stands at is.
    pub fn access(&mut self, access: &MemoryAccess) -> Option<Expression> {
        self.memory(access, self.before.len(), 0)
    }

    /// What the value of a register is, before that instruction.
    pub fn register(&mut self, number: u16) -> Option<Expression> {
        self.value(number, self.before.len(), 0)
    }

    /// The pointer that the value of a register was computed from by adding something: that of an array, for one of its elements.
    pub fn array_behind(&mut self, number: u16) -> Option<Expression> {
        let (index, instruction) = self.before.iter().enumerate().rev().find(|(_, it)| it.sets.contains(&number))?;
        let (first, second) = match instruction.fills? {
            (filled, Origin::Sum(first, second)) if filled == number => (first, second),
            _ => return None,
        };
        let is_pointer = |this: &Self, found: &Expression| {
            found.id.is_some_and(|id| this.pointee(id).is_some()) && found.value.is_some()
        };
        [first, second].into_iter().find_map(|part| {
            let found = self.value(part, index, 0)?;
            is_pointer(self, &found).then_some(found)
        })
    }

    /// What a register held before instruction `position` of those before.
    fn value(&mut self, number: u16, position: usize, links: u32) -> Option<Expression> {
        if links > MAX_LINKS {
            return None;
        }
        if let Some(variable) = self.variable_in(number, position) {
            return Some(variable);
        }
        for index in (0..position).rev() {
            let instruction = &self.before[index];
            if let InstructionKind::Call(target) = &instruction.kind
                && !self.code.arch.is_callee_saved(number)
            {
                let is_result = number == self.code.arch.result_register();
                let target = target.clone();
                return if is_result { self.result_of(&target) } else { None };
            }
            if !instruction.sets.contains(&number) {
                continue;
            }
            let (_, origin) = instruction.fills.filter(|(filled, _)| *filled == number)?;
            return match origin {
                Origin::Load(access) => self.memory(&access, index, links + 1),
                Origin::Copy(from) => self.value(from, index, links + 1),
                Origin::Offset { .. } | Origin::Sum(..) => None,
            };
        }
        None
    }

    /// The result of a call.
    fn result_of(&self, target: &Target) -> Option<Expression> {
        let Target::Direct(address) = target else { return None };
        let name = self.code.functions_at(*address).last()?.name.clone()?;
        Some(Expression::new(format!("{}()", name.trim_end_matches("@plt")), None, &self.types))
    }

    /// The variable that lives in a register before instruction `position`.
    fn variable_in(&mut self, number: u16, position: usize) -> Option<Expression> {
        let is_it = |known: &&Known| matches!(known.spot, Spot::Register { number: of, skip: 0 } if of == number);
        if position == self.before.len() {
            let known = self.variables.iter().find(is_it)?;
            return Some(Expression::new(known.name.clone(), Some(known.ty), &self.types));
        }
        let address = self.before[position].address;
        let there = variables_at(self.code, self.stand, address, &mut self.types);
        let known = there.iter().find(is_it)?;
        Some(Expression::new(known.name.clone(), Some(known.ty), &self.types))
    }

    /// What lies in memory that was accessed before, or by, instruction `position`.
    fn memory(&mut self, access: &MemoryAccess, position: usize, links: u32) -> Option<Expression> {
        let is_unchanged = |number: u16| !self.before[position..].iter().any(|later| later.sets.contains(&number));
        let registers = [access.base, access.index];
        let is_same = registers.into_iter().flatten().all(is_unchanged);
        let of = |number| self.stand.registers.get(number);
        let address = access.address(of, self.stand.tls_base).filter(|_| is_same);
        if let Some(variable) = address.and_then(|address| self.variable_at(address, access.size)) {
            return Some(variable);
        }
        if let Some(pointer) = access.base.and_then(|base| self.value(base, position, links)) {
            return Some(self.through(&pointer, access));
        }
        address.and_then(|address| self.symbol_at(address))
    }

    /// The variable that lies at an address, or the part of one.
    fn variable_at(&self, address: Avma, size: u32) -> Option<Expression> {
        for Known { name, ty, spot } in &self.variables {
            let Spot::Memory(start) = spot else { continue };
            let Some(offset) = address.0.checked_sub(start.0) else { continue };
            if offset >= self.types.resolve(*ty).size.unwrap_or(0) {
                continue;
            }
            let (path, inner) = self.path(*ty, offset, size, 0)?;
            let size = u8::try_from(size).ok().filter(|size| (1..=8).contains(size));
            let value = size.and_then(|size| self.stand.memory.unsigned(address, size).ok());
            return Some(Expression { value, ..Expression::new(format!("{name}{path}"), Some(inner), &self.types) });
        }
        None
    }

    /// What the linker calls the variable at an address.
    fn symbol_at(&self, address: Avma) -> Option<Expression> {
        let (binary, svma) = self.code.module_around(address)?;
        let (symbol, offset) = binary.variable_around(svma)?;
        let text = if offset == 0 { symbol.to_owned() } else { format!("{symbol}+{offset:#x}") };
        Some(Expression::new(text, None, &self.types))
    }

    /// What is accessed through a pointer.
    fn through(&self, pointer: &Expression, access: &MemoryAccess) -> Expression {
        let plain = || {
            let offset =
                if access.displacement == 0 { String::new() } else { format!(" + {:#x}", access.displacement) };
            let text = if offset.is_empty() && access.index.is_none() {
                format!("*{}", pointer.text)
            } else if access.index.is_some() {
                format!("{}[..]", pointer.text)
            } else {
                format!("*({}{offset})", pointer.text)
            };
            Expression::new(text, None, &self.types)
        };
        let Some((to, is_reference)) = pointer.id.and_then(|id| self.pointee(id)) else { return plain() };
        let pointee = self.types.resolve(to);
        if access.index.is_some() {
            return Expression::new(format!("{}[..]", pointer.text), None, &self.types);
        }
        if pointee.size.is_none_or(|size| access.displacement >= size) {
            return plain();
        }
        let Some((path, inner)) = self.path(to, access.displacement, access.size, 0) else { return plain() };
        let text = match path.strip_prefix('.') {
            Some(member) if is_reference => format!("{}.{member}", pointer.text),
            Some(member) if pointer.ty.as_ref().is_some_and(|ty| ty.starts_with('*')) => {
                format!("(*{}).{member}", pointer.text)
            }
            Some(member) => format!("{}->{member}", pointer.text),
            None => format!("*{}", pointer.text),
        };
        let member = path.strip_prefix('.').map(|name| Member { name: name.to_owned(), offset: access.displacement });
        Expression { member, ..Expression::new(text, Some(inner), &self.types) }
    }

    /// What a pointer of this type points to, and whether it is a reference.
    fn pointee(&self, pointer: TypeId) -> Option<(TypeId, bool)> {
        match &self.types.resolve(pointer).kind {
            TypeKind::Pointer { to, reference } => Some((*to, *reference)),
            _ => None,
        }
    }

    /// What lies at `offset` of a value: `.name`, `.list[2]`, and its type.
    fn path(&self, ty: TypeId, offset: u64, size: u32, depth: u32) -> Option<(String, TypeId)> {
        let Type { kind, size: whole, .. } = self.types.resolve(ty);
        if depth > MAX_NESTED {
            return None;
        }
        match kind {
            TypeKind::Aggregate(aggregate)
                if offset != 0 || *whole != Some(size.into()) || aggregate.members.len() == 1 =>
            {
                let fits = |start: u64, of: TypeId| {
                    let end = self.types.resolve(of).size.and_then(|size| start.checked_add(size));
                    offset >= start && end.is_some_and(|end| offset < end)
                };
                let member = aggregate.members.iter().find(|member| fits(member.offset, member.ty))?;
                let (inner, ty) = self.path(member.ty, offset - member.offset, size, depth + 1)?;
                let name = if member.name.is_empty() { String::new() } else { format!(".{}", member.name) };
                Some((format!("{name}{inner}"), ty))
            }
            TypeKind::Array { of, counts } if counts.len() == 1 => {
                let element = self.types.resolve(*of).size.filter(|size| *size > 0)?;
                let (inner, ty) = self.path(*of, offset % element, size, depth + 1)?;
                Some((format!("[{}]{inner}", offset / element), ty))
            }
            _ => (offset == 0).then(|| (String::new(), ty)),
        }
    }
}

/// The variables in scope at `address`, which is in the code that the frame stands in, that are in one place.
fn variables_at(code: &Code<'_>, stand: &Stand<'_>, address: Avma, types: &mut TypeTable) -> Vec<Known> {
    let Some((info, svma)) = code.debug_info_at(address) else { return Vec::new() };
    let variables = info.variables_at(svma, types);
    let located = variables.into_iter().filter_map(|variable| {
        let [part] = &info.locate(&variable, svma, stand)[..] else { return None };
        Some(Known { name: variable.name.clone()?, ty: variable.ty, spot: part.spot.clone() })
    });
    // An inner block hides what has the same name outside; both may be meant by an address.
    located.collect()
}
