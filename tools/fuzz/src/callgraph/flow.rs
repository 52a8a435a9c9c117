//! What registers hold at every instruction of one function, by its control flow: a register is known where on every
//! way from the entry a function pointer was loaded into it that the call graph follows already.
//!
//! States are met over predecessors until nothing changes. A jump through a register is a switch: it may go wherever a
//! table of the function points (32-bit offsets from the table's own address, found at the addresses that the function
//! loads), or to any start of a block where there is no such table. Calls return unless the function called never does,
//! and leave the caller's registers unknown. Code that nothing
//! reaches starts with nothing known, unless it is padding.

use std::collections::{BTreeMap, BTreeSet};

use super::{Edge, named, slot_of};

/// Registers that a call may change: rax, rcx, rdx, rsi, rdi, r8 to r11.
const CHANGED_BY_CALLS: Registers = 0b0000_1111_1100_0111;
/// Functions that do not return, by parts of their names.
const NEVER_RETURN: [&str; 8] = [
    "core::panicking::",
    "unwrap_failed",
    "expect_failed",
    "index_fail",
    "error_fail",
    "handle_alloc_error",
    "capacity_overflow",
    "<abort",
];

/// General registers, one bit each.
type Registers = u16;

/// One line of a disassembly.
#[derive(Clone, Copy, Debug)]
pub(super) struct Instruction<'l> {
    /// Where it lies.
    pub(super) address: u64,
    /// What it does.
    pub(super) verb: &'l str,
    /// To what.
    pub(super) operands: &'l str,
    /// What the disassembler says of an address in it.
    pub(super) note: Option<&'l str>,
    is_repeated: bool,
}

impl<'l> Instruction<'l> {
    /// `12345:`, a tab, `call   6789 <name+0x12>`.
    pub(super) fn parse(line: &'l str) -> Option<Self> {
        let (address, text) = line.split_once(":\t")?;
        let address = u64::from_str_radix(address.trim(), 16).ok()?;
        let (text, note) = text.split_once("# ").map_or((text, None), |(text, note)| (text, Some(note)));
        let (mut rest, mut is_repeated) = (text.trim(), false);
        loop {
            let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            if !is_prefix(word) {
                return Some(Self { address, verb: word, operands: tail.trim(), note, is_repeated });
            }
            is_repeated |= word.starts_with("rep");
            rest = tail.trim_start();
        }
    }

    pub(super) fn is_call(&self) -> bool {
        self.verb.starts_with("call")
    }

    pub(super) fn is_jump(&self) -> bool {
        self.verb.starts_with('j')
    }

    /// What a call or jump goes through, if it goes through something.
    pub(super) fn pointer(&self) -> Option<&'l str> {
        self.operands.strip_prefix('*')
    }

    /// The content of the slot that it reads, if a relocation filled that with a function.
    pub(super) fn slot(&self, slots: &BTreeMap<u64, u64>) -> Option<Edge> {
        slot_of(self.note?, slots)
    }

    /// What is known after it, when `known` is known before.
    fn after(&self, known: Registers, slots: &BTreeMap<u64, u64>) -> Registers {
        if self.is_call() {
            return known & !CHANGED_BY_CALLS;
        }
        if self.is_jump() || matches!(self.verb, "cmp" | "cmpq" | "test" | "push" | "nop" | "nopw" | "nopl") {
            return known;
        }
        let operands = split(self.operands);
        if let ("mov" | "movq", [from, to]) = (self.verb, operands.as_slice())
            && let Some(to) = register(to)
        {
            let is_function = match register(from) {
                Some(from) => known & from != 0,
                None => self.slot(slots).is_some(),
            };
            return if is_function { known | to } else { known & !to };
        }
        let mut changed = operands.iter().filter_map(|operand| register(operand)).fold(0, |all, one| all | one);
        if let ("mov" | "movq", [from, _]) = (self.verb, operands.as_slice()) {
            changed &= !register(from).unwrap_or(0);
        }
        known & !(changed | self.changed_silently())
    }

    /// Registers that it changes without naming them.
    fn changed_silently(&self) -> Registers {
        const RAX: Registers = 1;
        const RDX: Registers = 1 << 2;
        const RBX: Registers = 1 << 3;
        const RBP: Registers = 1 << 5;
        let is = |prefixes: &[&str]| prefixes.iter().any(|prefix| self.verb.starts_with(prefix));
        if self.is_repeated || is(&["syscall", "cpuid", "xgetbv", "rdtsc", "rdpmc", "stos", "lods", "scas"]) {
            return CHANGED_BY_CALLS | RBX;
        }
        let is_narrow_product = self.verb.starts_with("imul") && self.operands.contains(',');
        if !is_narrow_product
            && is(&["mul", "imul", "div", "idiv", "cqo", "cqt", "clt", "cwt", "cdq", "cwd", "cmpxchg", "lahf"])
        {
            return RAX | RDX;
        }
        if is(&["leave", "enter"]) { RBP } else { 0 }
    }

    /// What fills the room before a block that is aligned; nothing runs it unless it is reached from above.
    fn is_padding(&self) -> bool {
        self.verb.starts_with("nop") || self.verb == "int3" || (self.verb, self.operands) == ("xchg", "%ax,%ax")
    }

    fn never_goes_on(&self) -> bool {
        matches!(self.verb, "ret" | "retq" | "ud2" | "hlt" | "int3" | "jmp" | "jmpq")
            || (self.is_call() && NEVER_RETURN.iter().any(|part| self.operands.contains(part)))
    }
}

/// Before every instruction of a function: whether a register is known, as a function of its name.
pub(super) struct Known(Vec<Registers>);

impl Known {
    /// Follows the control flow of one function.
    pub(super) fn of(code: &[Instruction<'_>], slots: &BTreeMap<u64, u64>, data: &Data) -> Self {
        let place: BTreeMap<u64, usize> = code.iter().enumerate().map(|(at, line)| (line.address, at)).collect();
        let target = |line: &Instruction<'_>| place.get(&named(line.operands)?.0).copied();
        let mut switched = in_tables(code, &place, data);
        if switched.is_empty() {
            switched = leaders(code, target);
        }
        let mut states: Vec<Option<Registers>> = vec![None; code.len()];
        for start in 0..code.len() {
            if states.get(start).is_some_and(Option::is_some) || code.get(start).is_some_and(Instruction::is_padding) {
                continue;
            }
            let mut work = vec![(start, 0)];
            while let Some((at, state)) = work.pop() {
                let (Some(line), Some(known)) = (code.get(at), states.get_mut(at)) else { continue };
                let met = known.map_or(state, |known| known & state);
                if *known == Some(met) {
                    continue;
                }
                *known = Some(met);
                let after = line.after(met, slots);
                if line.is_jump() {
                    let is_switch = line.pointer().is_some() && line.slot(slots).is_none();
                    work.extend(switched.iter().filter(|_| is_switch).map(|case| (*case, after)));
                    work.extend(target(line).map(|target| (target, after)));
                }
                if !line.never_goes_on() {
                    work.push((at.saturating_add(1), after));
                }
            }
        }
        Self(states.into_iter().map(|state| state.unwrap_or(0)).collect())
    }

    /// Whether `name` is known before the instruction `at`.
    pub(super) fn holds(&self, at: usize, name: &str) -> bool {
        register(name).is_some_and(|register| self.0.get(at).is_some_and(|known| known & register != 0))
    }
}

/// Constants of the program, from `objdump -s -j .rodata`.
#[derive(Default)]
pub(super) struct Data {
    start: u64,
    bytes: Vec<u8>,
    /// Where something begins that code reads: a table ends there at the latest.
    starts: BTreeSet<u64>,
}

impl Data {
    /// Takes ` 2dc0 00000000 00003043 00000000 00003045  ......0C......0E`; false for any other line.
    pub(super) fn take(&mut self, line: &str) -> bool {
        let Some((address, rest)) = line.strip_prefix(' ').and_then(|line| line.split_once(' ')) else { return false };
        let Ok(address) = u64::from_str_radix(address, 16) else { return false };
        if self.bytes.is_empty() {
            self.start = address;
        }
        let end = self.start.saturating_add(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX));
        let digits: Vec<u8> = rest.bytes().take(35).take_while(|c| *c == b' ' || c.is_ascii_hexdigit()).collect();
        let words = digits.split(|c| *c == b' ').filter(|word| word.len().is_multiple_of(2));
        let pairs = words.flat_map(|word| word.chunks(2)).map(|pair| core::str::from_utf8(pair).unwrap_or_default());
        if address == end {
            self.bytes.extend(pairs.map_while(|pair| u8::from_str_radix(pair, 16).ok()));
        }
        true
    }

    /// Notes what the code of a function reads.
    pub(super) fn note_starts(&mut self, code: &[Instruction<'_>]) {
        self.starts.extend(code.iter().filter_map(|line| Some(named(line.note?)?.0)));
    }

    /// The 32-bit integer at `address`.
    fn offset(&self, address: u64) -> Option<i32> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        Some(i32::from_le_bytes(bytes.try_into().ok()?))
    }
}

/// Where the tables point whose addresses the function loads: every entry from there on that is an instruction
/// of it, up to where something else begins.
fn in_tables(code: &[Instruction<'_>], place: &BTreeMap<u64, usize>, data: &Data) -> Vec<usize> {
    let loaded = code.iter().filter(|line| line.verb == "lea").filter_map(|line| Some(named(line.note?)?.0));
    let case = |table: u64, entry: u64| {
        let at = table.checked_add(entry.checked_mul(4)?)?;
        let offset = data.offset(at).filter(|_| entry == 0 || !data.starts.contains(&at))?;
        place.get(&table.checked_add_signed(i64::from(offset))?).copied()
    };
    let mut cases: Vec<usize> = loaded.flat_map(|table| (0..).map_while(move |entry| case(table, entry))).collect();
    cases.sort_unstable();
    cases.dedup();
    cases
}

/// Where blocks start: behind whatever does not go on, and where jumps go.
fn leaders(code: &[Instruction<'_>], target: impl Fn(&Instruction<'_>) -> Option<usize>) -> Vec<usize> {
    let behind = code.iter().enumerate().filter(|(_, line)| line.is_jump() || line.never_goes_on());
    let mut leaders: Vec<usize> = behind.map(|(at, _)| at.saturating_add(1)).collect();
    leaders.extend(code.iter().filter(|line| line.is_jump()).filter_map(target));
    leaders.sort_unstable();
    leaders.dedup();
    leaders
}

/// Operands, apart at the commas outside of parentheses.
fn split(operands: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let parts = operands.split(move |c: char| {
        match c {
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(str::trim).collect()
}

/// The bit of a general register under any of its names, with or without its percent sign.
fn register(name: &str) -> Option<Registers> {
    const LEGACY: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    let name = name.strip_prefix('%')?;
    let bare = name.strip_prefix(['r', 'e']).unwrap_or(name);
    let number = match bare.trim_end_matches(['d', 'w', 'b']).parse::<u32>() {
        Ok(number) if name.starts_with('r') => Some(number).filter(|number| (8..16).contains(number)),
        _ => {
            let byte = |legacy: &str| {
                let short = legacy.strip_suffix('x').unwrap_or(legacy);
                bare == legacy || bare == format!("{short}l") || bare == format!("{short}h")
            };
            LEGACY.iter().position(|legacy| byte(legacy)).and_then(|at| u32::try_from(at).ok())
        }
    }?;
    Some(1 << number)
}

fn is_prefix(word: &str) -> bool {
    matches!(word, "addr32" | "bnd" | "notrack" | "data16" | "rex.W" | "lock" | "rep" | "repz" | "repnz" | "cs" | "ds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_have_one_bit_under_all_their_names() {
        for (bit, names) in [
            (0, ["%rax", "%eax", "%ax", "%al"]),
            (5, ["%rbp", "%ebp", "%bp", "%bpl"]),
            (6, ["%rsi", "%esi", "%si", "%sil"]),
            (13, ["%r13", "%r13d", "%r13w", "%r13b"]),
        ] {
            assert_eq!(names.map(register), [Some(1 << bit); 4], "{names:?}");
        }
        for other in ["%xmm1", "%rip", "%zmm13", "$0x1", "0x8(%rax)", "rax", "%k1", "%r16", "%fs:0x0"] {
            assert_eq!(register(other), None, "{other}");
        }
    }

    #[test]
    fn operands_are_apart_outside_of_parentheses() {
        assert_eq!(split("0x8(%rax,%rcx,4),%rdx"), ["0x8(%rax,%rcx,4)", "%rdx"]);
        assert_eq!(split("%rdx"), ["%rdx"]);
    }
}
