//! The call graph of a binary, read from its relocations and disassembly (`objdump -R`, then
//! `objdump -d -C --no-show-raw-insn`), and what can be reached from a function.
//!
//! An edge is any instruction that names an address in another function: calls, jumps (tail calls), conditional jumps,
//! address loads (a function whose address is taken may be called), and any of these through a slot that a relocation
//! fills with a function. A call through a register counts as resolved when the last thing moved there was such a slot.
//! Other calls through a register or memory are kept as [`Edge::Indirect`]. Jumps through a register are taken for switches within the function, which is
//! what compilers make of them; a tail call through a pointer would look the same and is not seen.

use std::collections::{BTreeMap, BTreeSet};

/// One way out of a function.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Edge {
    /// To the function at this address.
    To(u64),
    /// To a function of another library, by name.
    External(String),
    /// To wherever a register or memory says; the instruction.
    Indirect(String),
}

/// Functions by address, with their names and edges.
#[derive(Clone, Debug, Default)]
pub struct CallGraph {
    names: BTreeMap<u64, String>,
    edges: BTreeMap<u64, BTreeSet<Edge>>,
}

/// Something that can be reached and should not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is: a function's name, or an instruction that calls through a pointer.
    pub what: String,
    /// From the entry point to the function that calls it.
    pub path: Vec<String>,
}

impl CallGraph {
    /// Reads the lines of a disassembly.
    #[must_use]
    pub fn parse<'l>(lines: impl Iterator<Item = &'l str>) -> Self {
        let mut graph = Self::default();
        let (mut current, mut reader) = (None, Reader::default());
        for line in lines {
            if let Some((slot, target)) = relocation(line) {
                reader.slots.insert(slot, target);
            } else if let Some((address, name)) = function_head(line) {
                graph.names.insert(address, name.to_owned());
                graph.edges.entry(address).or_default();
                reader.known_registers.clear();
                reader.held_registers.clear();
                current = Some(address);
            } else if let (Some(from), Some(edge)) = (current, reader.edge_of(line)) {
                graph.edges.entry(from).or_default().insert(edge);
            }
        }
        graph
    }

    /// The functions whose name contains `part`.
    #[must_use]
    pub fn find(&self, part: &str) -> Vec<u64> {
        self.names.iter().filter(|(_, name)| name.contains(part)).map(|(address, _)| *address).collect()
    }

    /// The name of the function at or around `address`.
    #[must_use]
    pub fn name(&self, address: u64) -> &str {
        self.names.range(..=address).next_back().map_or("?", |(_, name)| name)
    }

    /// How many functions can be reached from `entry` without passing through a forbidden one.
    #[must_use]
    pub fn reach_count(&self, entry: u64, is_forbidden: impl Fn(&str) -> bool) -> usize {
        self.walk(entry, is_forbidden).0
    }

    /// Everything reachable from `entry` that is forbidden, each once, with the shortest way there. Calls through
    /// pointers are among it, under the text of their instruction; so are functions of other libraries whose name is
    /// forbidden.
    #[must_use]
    pub fn findings(&self, entry: u64, is_forbidden: impl Fn(&str) -> bool) -> Vec<Finding> {
        self.walk(entry, is_forbidden).1
    }

    fn walk(&self, entry: u64, is_forbidden: impl Fn(&str) -> bool) -> (usize, Vec<Finding>) {
        let mut from: BTreeMap<u64, Option<u64>> = BTreeMap::from([(entry, None)]);
        let mut queue = std::collections::VecDeque::from([entry]);
        let mut findings: Vec<Finding> = Vec::new();
        while let Some(at) = queue.pop_front() {
            for edge in self.edges.get(&at).into_iter().flatten() {
                let (what, is_bad) = match edge {
                    Edge::To(address) => {
                        let start = self.names.range(..=*address).next_back().map_or(*address, |(start, _)| *start);
                        let is_bad = is_forbidden(self.name(start));
                        if !is_bad && !from.contains_key(&start) {
                            from.insert(start, Some(at));
                            queue.push_back(start);
                        }
                        (self.name(start), is_bad)
                    }
                    Edge::External(name) => (name.as_str(), is_forbidden(name)),
                    Edge::Indirect(instruction) => (instruction.as_str(), true),
                };
                if is_bad && !findings.iter().any(|known| known.what == what) {
                    findings.push(Finding { what: what.to_owned(), path: self.path(&from, at) });
                }
            }
        }
        (from.len(), findings)
    }

    fn path(&self, from: &BTreeMap<u64, Option<u64>>, last: u64) -> Vec<String> {
        let mut path = Vec::new();
        let mut at = Some(last);
        while let Some(address) = at {
            path.push(self.name(address).to_owned());
            at = from.get(&address).copied().flatten();
        }
        path.reverse();
        path
    }
}

/// `0000000000012345 <name>:`
fn function_head(line: &str) -> Option<(u64, &str)> {
    let (address, rest) = line.split_once(" <")?;
    let name = rest.strip_suffix(">:")?;
    Some((u64::from_str_radix(address, 16).ok()?, name))
}

/// What is known while reading down a disassembly.
#[derive(Default)]
struct Reader {
    /// The functions that relocations put into slots of memory.
    slots: BTreeMap<u64, u64>,
    /// Registers that hold the content of such a slot.
    known_registers: BTreeSet<String>,
    /// Registers that held one anywhere before in the function. Code behind an unconditional jump is reached from
    /// elsewhere, so that what was moved last in the order of the text says nothing there: these are taken as known.
    held_registers: BTreeSet<String>,
}

impl Reader {
    /// `12345:`, a tab, `call   6789 <name+0x12>`: the way out of the function that this instruction is, if any.
    fn edge_of(&mut self, line: &str) -> Option<Edge> {
        let (_, instruction) = line.split_once(":\t")?;
        let mut words = instruction.split_ascii_whitespace().filter(|word| !is_prefix(word));
        let (verb, operand) = (words.next()?, words.next().unwrap_or_default());
        let (is_call, is_jump) = (verb.starts_with("call"), verb.starts_with('j'));
        let slot = instruction.split_once("# ").and_then(|(_, note)| self.slot(note));
        if let Some(pointer) = operand.strip_prefix('*') {
            let is_resolved = slot.is_some() || self.known_registers.contains(pointer);
            return match slot {
                Some(edge) => Some(edge),
                None if is_call && !is_resolved => Some(Edge::Indirect(format!("{verb} {operand}"))),
                None => None,
            };
        }
        if matches!(verb, "jmp" | "ret" | "ud2") {
            self.known_registers.extend(self.held_registers.iter().cloned());
        }
        if is_call || is_jump {
            let (address, name) = named(instruction.get(instruction.find(operand)?..)?)?;
            return Some(if name.contains("@plt") { external(name) } else { Edge::To(address) });
        }
        let register = operand.rsplit(',').next().unwrap_or_default();
        // A copy of a register whose slot was followed already.
        let is_copy = verb == "mov"
            && operand.split_once(',').is_some_and(|(from, to)| to == register && self.known_registers.contains(from));
        // What a function restores before it returns says nothing about the code behind that return.
        if verb != "pop" {
            self.known_registers.remove(register);
        }
        if is_copy {
            self.known_registers.insert(register.to_owned());
            self.held_registers.insert(register.to_owned());
            return None;
        }
        if verb == "mov" && slot.is_some() && register.starts_with('%') {
            self.known_registers.insert(register.to_owned());
            self.held_registers.insert(register.to_owned());
            return slot;
        }
        // `lea 0x12(%rip),%rax  # 123 <name>`: only the very start of a function can be a function pointer.
        let (address, name) = instruction.split_once("# ").and_then(|(_, note)| named(note))?;
        let is_code = verb == "lea" && !name.contains("+0x") && name.contains("::");
        is_code.then_some(Edge::To(address))
    }

    /// The function in the slot that a note names: `9000 <memcpy@GLIBC_2.14>`, or any address with a relocation.
    fn slot(&self, note: &str) -> Option<Edge> {
        let (address, name) = named(note)?;
        match self.slots.get(&address) {
            Some(target) => Some(Edge::To(*target)),
            None => name.contains('@').then(|| external(name)),
        }
    }
}

/// `000000000011d508 R_X86_64_RELATIVE  *ABS*+0x000000000001c2a0`: the slot and what is put there.
fn relocation(line: &str) -> Option<(u64, u64)> {
    let (slot, rest) = line.split_once(" R_X86_64_RELATIVE")?;
    let (_, target) = rest.split_once("*ABS*+0x")?;
    Some((u64::from_str_radix(slot, 16).ok()?, u64::from_str_radix(target.trim(), 16).ok()?))
}

fn is_prefix(word: &str) -> bool {
    matches!(word, "addr32" | "bnd" | "notrack" | "data16" | "rex.W" | "lock" | "rep" | "repz" | "repnz" | "cs" | "ds")
}

/// `6789 <name+0x12>`
fn named(text: &str) -> Option<(u64, &str)> {
    let (address, rest) = text.split_once(" <")?;
    let name = rest.trim_end().strip_suffix('>')?;
    Some((u64::from_str_radix(address.trim(), 16).ok()?, name))
}

/// `memcpy@GLIBC_2.14` and `memcpy@plt` are `memcpy`.
fn external(name: &str) -> Edge {
    Edge::External(name.split_once('@').map_or(name, |(name, _)| name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
0000000000009100 R_X86_64_RELATIVE  *ABS*+0x0000000000005000
0000000000009200 R_X86_64_RELATIVE  *ABS*+0x0000000000003000
0000000000001000 <hot::entry>:
    1000:\tpush   %rbx
    1001:\tcall   2000 <hot::middle<T, U> as core::fmt>
    1006:\tjne    1000 <hot::entry>
    1008:\tcall   *0x2345(%rip)        # 9000 <memcpy@GLIBC_2.14>
    100e:\tret

0000000000002000 <hot::middle<T, U> as core::fmt>:
    2000:\taddr32 call 3000 <core::panicking::panic_bounds_check>
    2005:\tjmp    4010 <cold+0x10>

0000000000003000 <core::panicking::panic_bounds_check>:
    3000:\tcall   *%rax

0000000000004000 <cold>:
    4010:\tcall   *0x18(%rax)
    4013:\tlea    0x10(%rip),%rdi        # 5000 <hot::taken>
    4016:\tlea    0x10(%rip),%rdi        # 6000 <data::TABLE+0x8>

0000000000005000 <hot::taken>:
    5000:\tnotrack jmp *%rax

0000000000007000 <hot::through_slots>:
    7000:\tmov    0x10(%rip),%r13        # 9100 <_DYNAMIC+0x10>
    7003:\tpop    %r13
    7004:\tcall   *%r13
    7006:\tjmp    *0x10(%rip)        # 9200 <_DYNAMIC+0x20>

0000000000008000 <hot::overwritten>:
    8000:\tmov    0x10(%rip),%r13        # 9100 <_DYNAMIC+0x10>
    8003:\tmov    0x8(%rax),%r13
    8004:\tcall   *%r13

000000000000a000 <hot::copied>:
    a000:\tmov    0x10(%rip),%r15        # 9100 <_DYNAMIC+0x10>
    a003:\tmov    %r15,%rax
    a006:\tcall   *%rax
    a008:\tmov    %rbx,%rcx
    a00a:\tcall   *%rcx
";

    fn is_panic(name: &str) -> bool {
        name.contains("core::panicking")
    }

    #[test]
    fn panics_are_found_through_calls_and_tail_calls_and_not_beyond() {
        let graph = CallGraph::parse(TEXT.lines());
        let entry = graph.find("hot::entry");
        assert_eq!(entry, [0x1000]);
        let findings = graph.findings(0x1000, is_panic);
        let what: Vec<&str> = findings.iter().map(|finding| finding.what.as_str()).collect();
        assert_eq!(what, ["core::panicking::panic_bounds_check", "call *0x18(%rax)"]);
        assert_eq!(findings[0].path, ["hot::entry", "hot::middle<T, U> as core::fmt"]);
        assert_eq!(findings[1].path, ["hot::entry", "hot::middle<T, U> as core::fmt", "cold"]);
        assert_eq!(graph.reach_count(0x1000, is_panic), 4, "the function whose address is taken is among them");
    }

    #[test]
    fn functions_of_other_libraries_go_by_name() {
        let graph = CallGraph::parse(TEXT.lines());
        let findings = graph.findings(0x1000, |name| name == "memcpy");
        assert_eq!(findings[0].what, "memcpy");
    }

    #[test]
    fn slots_filled_by_relocations_are_followed() {
        let graph = CallGraph::parse(TEXT.lines());
        let what = |entry| -> Vec<String> {
            graph.findings(entry, is_panic).into_iter().map(|finding| finding.what).collect()
        };
        assert_eq!(what(0x7000), ["core::panicking::panic_bounds_check"]);
        assert_eq!(graph.reach_count(0x7000, is_panic), 2, "itself and the function in the register");
        assert_eq!(what(0x8000), ["call *%r13"], "the register was overwritten");
        assert_eq!(what(0xa000), ["call *%rcx"], "the second copy is of something else, the first one is resolved");
        assert_eq!(graph.reach_count(0xa000, is_panic), 2);
    }

    #[test]
    fn a_clean_function_has_no_findings() {
        let graph = CallGraph::parse(TEXT.lines());
        assert!(graph.findings(0x5000, is_panic).is_empty());
    }
}
