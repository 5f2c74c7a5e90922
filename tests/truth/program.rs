//! Random programs in C and C++: functions with parameters of all types, in whose bodies everything happens that compilers must
//! make room for, and the calls that such a program will make.

use std::fmt::Write;

use super::random::Random;
use super::types::{DECLARATIONS, INT, Type};
use super::value::Truth;

/// Functions of one program.
const FUNCTIONS: usize = 12;
/// Parameters of one function at the most.
const MAX_PARAMETERS: usize = 11;

/// How a function may be declared: for the optimizer's eyes or not, for other files or not.
const LINKAGES: [&str; 4] =
    ["KEEP ", "KEEP static ", "__attribute__((noinline)) ", "static __attribute__((noinline)) "];

/// A program and what it does.
#[derive(Clone, Debug)]
pub struct Program {
    /// In C or C++.
    pub source: String,
    /// Its calls in the order in which they begin.
    pub calls: Vec<Call>,
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// The function's name.
    pub function: String,
    /// Names and values of the arguments.
    pub arguments: Vec<(String, Truth)>,
}

impl Program {
    /// The program of this seed.
    pub fn random(seed: u64, is_cpp: bool) -> Self {
        let mut writer =
            Writer { random: Random::new(seed), is_cpp, globals: String::new(), count: 0, functions: vec![] };
        // The last functions first: each calls only what is behind it.
        for number in (0..FUNCTIONS).rev() {
            let function = writer.function(number);
            writer.functions.push(function);
        }
        writer.finish()
    }
}

#[derive(Clone, Debug)]
struct Function {
    name: String,
    parameters: Vec<Type>,
    source: String,
    calls: Vec<Inner>,
    /// Calls itself with the first argument less by one, until that is 0.
    is_recursive: bool,
    is_variadic: bool,
}

/// A call in a function's body.
#[derive(Clone, Debug)]
struct Inner {
    /// Index in [`Writer::functions`].
    function: usize,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug)]
enum Argument {
    Value(Truth),
    /// A parameter of the caller, which was not assigned to.
    Passed(usize),
}

struct Writer {
    random: Random,
    is_cpp: bool,
    globals: String,
    count: usize,
    functions: Vec<Function>,
}

fn parameter_name(index: usize) -> String {
    format!("p{index}")
}

impl Writer {
    fn finish(mut self) -> Program {
        let mut main = String::from("int main(void) {\n");
        let mut calls = vec![];
        for index in (0..self.functions.len()).rev() {
            let (inner, text) = self.call(index, &[], &[]);
            writeln!(main, "    {text};").expect("memory");
            self.record(&inner, &[], &mut calls);
        }
        main.push_str("    abort();\n}\n");
        let functions: String = self.functions.iter().map(|function| function.source.as_str()).collect();
        Program { source: format!("{DECLARATIONS}{}{functions}{main}", self.globals), calls }
    }

    /// What a call does, with what it calls in turn.
    fn record(&self, inner: &Inner, caller: &[Truth], calls: &mut Vec<Call>) {
        let function = &self.functions[inner.function];
        let value = |argument: &Argument| match argument {
            Argument::Value(truth) => truth.clone(),
            Argument::Passed(index) => caller[*index].clone(),
        };
        let mut values: Vec<_> = inner.arguments.iter().map(value).collect();
        loop {
            let arguments = values.iter().enumerate().map(|(index, value)| (parameter_name(index), value.clone()));
            calls.push(Call { function: function.name.clone(), arguments: arguments.collect() });
            for inner in &function.calls {
                self.record(inner, &values, calls);
            }
            match values.first_mut() {
                Some(Truth::Number(depth)) if function.is_recursive && *depth > 0 => *depth -= 1,
                _ => return,
            }
        }
    }

    fn function(&mut self, number: usize) -> Function {
        let is_recursive = self.random.chance(6);
        let mut parameters: Vec<_> =
            (0..self.random.below(MAX_PARAMETERS + 1)).map(|_| Type::random(&mut self.random, self.is_cpp)).collect();
        if is_recursive {
            parameters.insert(0, INT);
        }
        let is_variadic = !parameters.is_empty() && !is_recursive && self.random.chance(6);
        let name = format!("fn_{number}");
        let (body, calls) = self.body(&name, &parameters, is_recursive);
        let (result, value) = *self.random.pick(&[
            ("void", ""),
            ("long", "(long)sink"),
            ("int", "(int)sink + 1"),
            ("double", "(double)sink"),
            ("struct big", "((struct big){1, 2, 3, 4})"),
            ("struct pair", "((struct pair){1, 2})"),
        ]);
        let head = self.head(&name, &parameters, is_variadic, &body);
        let source = format!(
            "{head_start}{result} {head}{{\n{body}    __asm__ volatile(\"# {name}\" : : : \"memory\");\n    return {value};\n}}\n",
            head_start = self.linkage()
        );
        Function { name, parameters, source, calls, is_recursive, is_variadic }
    }

    fn linkage(&mut self) -> &'static str {
        LINKAGES[self.random.below(LINKAGES.len())]
    }

    fn head(&mut self, name: &str, parameters: &[Type], is_variadic: bool, body: &str) -> String {
        let in_registers = !self.is_cpp && self.random.chance(5);
        let declared = |(index, ty): (usize, &Type)| {
            let name = parameter_name(index);
            let storage = if in_registers && !body.contains(&format!("&{name})")) { "register " } else { "" };
            format!("{storage}{} {name}", ty.name())
        };
        let mut list: Vec<_> = parameters.iter().enumerate().map(declared).collect();
        // Without a prototype, the caller widens: only types that stay as they are.
        let stays = |ty: &Type| {
            !ty.name().contains("char")
                && !ty.name().contains("short")
                && !matches!(ty, Type::Bool | Type::Float("float"))
        };
        if !self.is_cpp
            && !is_variadic
            && !list.is_empty()
            && parameters.iter().all(|ty| stays(ty) || *ty == Type::Text)
            && self.random.chance(2)
        {
            let names: Vec<_> = (0..parameters.len()).map(parameter_name).collect();
            return format!("{name}({}) {}; ", names.join(", "), list.join("; "));
        }
        if is_variadic {
            list.push("...".to_owned());
        }
        match list.is_empty() {
            true => format!("{name}(void) "),
            false => format!("{name}({}) ", list.join(", ")),
        }
    }

    /// Statements in any order, and the calls among them.
    fn body(&mut self, name: &str, parameters: &[Type], is_recursive: bool) -> (String, Vec<Inner>) {
        let mut body = String::new();
        let mut calls = vec![];
        let mut is_assigned = vec![false; parameters.len()];
        for _ in 0..self.random.below(7) {
            let statement = match self.random.below(8) {
                0..=3 if !parameters.is_empty() => {
                    let index = self.random.below(parameters.len());
                    if is_recursive && index == 0 {
                        continue;
                    }
                    self.on_parameter(index, parameters, &mut is_assigned)
                }
                4 => self.frame(),
                5 | 6 if !self.functions.is_empty() && self.random.chance(2) => {
                    let function = self.random.below(self.functions.len());
                    let (inner, text) = self.call(function, parameters, &is_assigned);
                    calls.push(inner);
                    text
                }
                _ => "HAPPENS()".to_owned(),
            };
            writeln!(body, "    {statement};").expect("memory");
        }
        if is_recursive {
            let others: String = (1..parameters.len()).map(|index| format!(", {}", parameter_name(index))).collect();
            let recursion = format!("    if (p0 > 0) {name}(p0 - 1{others});\n");
            // What was assigned to would be passed on so; and the calls of the body begin before those of the recursion.
            match is_assigned.iter().any(|assigned| *assigned) {
                true => {
                    calls.clear();
                    body = recursion;
                }
                false => body.push_str(&recursion),
            }
        }
        for (index, ty) in parameters.iter().enumerate() {
            // clang's callers leave out what it knows to be unused, and the stack then holds something else.
            if matches!(ty, Type::Struct(_)) || !self.random.chance(4) {
                writeln!(body, "    sink += {};", ty.read(&parameter_name(index))).expect("memory");
            }
        }
        (body, calls)
    }

    /// Something that happens to a parameter.
    fn on_parameter(&mut self, index: usize, parameters: &[Type], is_assigned: &mut [bool]) -> String {
        let (ty, name) = (parameters[index], parameter_name(index));
        let same: Vec<_> = (0..parameters.len()).filter(|other| *other != index && parameters[*other] == ty).collect();
        match self.random.below(9) {
            0 => format!("escape(&{name})").replace("escape(&", "escape((volatile void *)&"),
            1 if ty.is_integer() => {
                is_assigned[index] = true;
                format!("{name} {} 3", self.random.pick(&["+=", "*=", "^=", "&="]))
            }
            2 if ty.is_assignable() => {
                is_assigned[index] = true;
                let value = ty.value(&mut self.random);
                format!("{name} = {}", ty.literal(&value))
            }
            3 | 4 if ty.is_assignable() && !same.is_empty() => {
                is_assigned[index] = true;
                let other = *self.random.pick(&same);
                match self.random.chance(2) {
                    true => format!("{name} = {}", parameter_name(other)),
                    false => {
                        is_assigned[other] = true;
                        let other = parameter_name(other);
                        format!("{{ {} t = {name}; {name} = {other}; {other} = t; }}", ty.name())
                    }
                }
            }
            5 if ty.is_integer() => {
                is_assigned[index] = true;
                format!("{name} = ({})sink", ty.name())
            }
            5 | 6 if ty.like_members().is_some() => {
                is_assigned[index] = true;
                let (first, second) = ty.like_members().expect("members");
                match self.random.chance(2) {
                    true => format!("{name}.{first} = {name}.{second}"),
                    false => format!("{name}.{second} = {name}.{first}"),
                }
            }
            6 if ty.is_integer() => format!("for (int i = 0; i < ((int){name} & 3); i++) sink += i"),
            7 if ty.is_integer() => format!("if ({name}) sink++"),
            _ => format!("sink += {}", ty.read(&name)),
        }
    }

    /// Something that a frame must be made for.
    fn frame(&mut self) -> String {
        let number = self.next();
        match self.random.below(7) {
            0 => format!("char big{number}[9000]; escape(big{number})"),
            1 => format!("__attribute__((aligned(64))) char al{number}[64]; escape(al{number})"),
            2 => format!("char vla{number}[(sink & 15) + 1]; escape(vla{number})"),
            3 => "escape(__builtin_alloca((sink & 15) + 16))".to_owned(),
            4 => "__asm__ volatile(\"\" : : : \"rbx\", \"r12\", \"r13\", \"r14\", \"r15\")".to_owned(),
            5 => "__asm__ volatile(\"\" : : : \"rdi\", \"rsi\", \"rdx\", \"rcx\", \"r8\", \"r9\", \"xmm0\", \"xmm1\")"
                .to_owned(),
            _ => format!("volatile int local{number} = 7; sink += local{number}"),
        }
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    /// A call with values that the compiler knows, with some that it does not, and with parameters of the caller.
    fn call(&mut self, function: usize, own: &[Type], is_assigned: &[bool]) -> (Inner, String) {
        let Function { name, parameters, is_recursive, is_variadic, .. } = self.functions[function].clone();
        let mut arguments = vec![];
        let mut texts = vec![];
        for (index, ty) in parameters.into_iter().enumerate() {
            let passed = (0..own.len()).filter(|other| own[*other] == ty && !is_assigned[*other]).collect::<Vec<_>>();
            if is_recursive && index == 0 {
                let depth = self.random.below(4);
                arguments.push(Argument::Value(Truth::Number(depth as i128)));
                texts.push(depth.to_string());
            } else if !passed.is_empty() && self.random.chance(2) {
                let other = *self.random.pick(&passed);
                arguments.push(Argument::Passed(other));
                texts.push(parameter_name(other));
            } else {
                let value = ty.value(&mut self.random);
                texts.push(self.expression(ty, &value));
                arguments.push(Argument::Value(value));
            }
        }
        if is_variadic && self.random.chance(2) {
            texts.push("7, 2.5, \"more\"".to_owned());
        }
        (Inner { function, arguments }, format!("{name}({})", texts.join(", ")))
    }

    /// A literal, or a variable that may change at any time as far as the compiler knows.
    fn expression(&mut self, ty: Type, value: &Truth) -> String {
        if self.random.chance(2) {
            return ty.literal(value);
        }
        let number = self.next();
        let qualifier = if matches!(ty, Type::Struct(_)) { "" } else { "volatile" };
        writeln!(
            self.globals,
            "{} {qualifier} global{number} = {};",
            ty.name(),
            match ty.is_assignable() {
                true => ty.initializer(value),
                false => ty.literal(value),
            }
        )
        .expect("memory");
        format!("global{number}")
    }
}
