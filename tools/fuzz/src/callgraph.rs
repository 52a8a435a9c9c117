//! The call graph of a binary, read from its relocations, constants and disassembly (`objdump -R`, `objdump -s -j .rodata`,
//! then `objdump -d -C --no-show-raw-insn`), and what can be reached from a function.
//!
//! An edge is any instruction that names an address in another function: calls, jumps (tail calls), conditional jumps,
//! address loads (a function whose address is taken may be called), and any of these through a slot that a relocation
//! fills with a function. A call through a register counts as resolved where, on every way there, such a slot was moved
//! into it (`flow`). Other calls through a register or memory are kept as [`Edge::Indirect`]. Jumps through a register are
//! taken for switches within the function, which is what compilers make of them; a tail call through a pointer would look
//! the same and is not seen.

mod flow;

use std::collections::{BTreeMap, BTreeSet};

use flow::{Data, Instruction, Known};

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
        let (mut graph, mut slots, mut data) = (Self::default(), BTreeMap::new(), Data::default());
        let mut functions: Vec<(u64, Vec<Instruction<'l>>)> = Vec::new();
        for line in lines {
            if let Some((slot, target)) = relocation(line) {
                slots.insert(slot, target);
            } else if functions.is_empty() && data.take(line) {
                // The constants come before the code.
            } else if let Some((address, name)) = function_head(line) {
                graph.names.insert(address, name.to_owned());
                functions.push((address, Vec::new()));
            } else if let (Some((_, code)), Some(instruction)) = (functions.last_mut(), Instruction::parse(line)) {
                code.push(instruction);
            }
        }
        functions.iter().for_each(|(_, code)| data.note_starts(code));
        for (address, code) in functions {
            let known = Known::of(&code, &slots, &data);
            let ways = code.iter().enumerate();
            let ways = ways.filter_map(|(at, line)| edge_of(line, &slots, |register| known.holds(at, register)));
            graph.edges.entry(address).or_default().extend(ways);
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

/// The way out of the function that this instruction is, if any.
fn edge_of(line: &Instruction<'_>, slots: &BTreeMap<u64, u64>, is_known: impl Fn(&str) -> bool) -> Option<Edge> {
    let slot = line.slot(slots);
    if let Some(pointer) = line.pointer() {
        return match slot {
            Some(edge) => Some(edge),
            None if line.is_call() && !is_known(pointer) => Some(Edge::Indirect(format!("{} *{pointer}", line.verb))),
            None => None,
        };
    }
    if line.is_call() || line.is_jump() {
        let (address, name) = named(line.operands)?;
        return Some(if name.contains("@plt") { external(name) } else { Edge::To(address) });
    }
    if line.verb == "mov" && slot.is_some() && line.operands.rsplit(',').next()?.trim_start().starts_with('%') {
        return slot;
    }
    // `lea 0x12(%rip),%rax  # 123 <name>`: only the very start of a function can be a function pointer.
    let (address, name) = named(line.note?)?;
    let is_code = line.verb == "lea" && !name.contains("+0x") && name.contains("::");
    is_code.then_some(Edge::To(address))
}

/// The function in the slot that a note names: `9000 <memcpy@GLIBC_2.14>`, or any address with a relocation.
fn slot_of(note: &str, slots: &BTreeMap<u64, u64>) -> Option<Edge> {
    let (address, name) = named(note)?;
    match slots.get(&address) {
        Some(target) => Some(Edge::To(*target)),
        None => name.contains('@').then(|| external(name)),
    }
}

/// `000000000011d508 R_X86_64_RELATIVE  *ABS*+0x000000000001c2a0`: the slot and what is put there.
fn relocation(line: &str) -> Option<(u64, u64)> {
    let (slot, rest) = line.split_once(" R_X86_64_RELATIVE")?;
    let (_, target) = rest.split_once("*ABS*+0x")?;
    Some((u64::from_str_radix(slot, 16).ok()?, u64::from_str_radix(target.trim(), 16).ok()?))
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
    7002:\tje     7006 <hot::through_slots+0x6>
    7003:\tpop    %r13
    7004:\tret
    7006:\tcall   *%r13
    7008:\tcall   *%r13
    700a:\tjmp    *0x10(%rip)        # 9200 <_DYNAMIC+0x20>

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

000000000000b000 <hot::one_way_only>:
    b000:\tje     b008 <hot::one_way_only+0x8>
    b002:\tmov    0x10(%rip),%r13        # 9100 <_DYNAMIC+0x10>
    b008:\tcall   *%r13

000000000000c000 <hot::changed_by_a_call>:
    c000:\tmov    0x10(%rip),%rax        # 9100 <_DYNAMIC+0x10>
    c002:\tcall   *%rax
    c004:\tcall   *%rax

000000000000d000 <hot::restored_and_reached_again>:
    d000:\tmov    0x10(%rip),%rbx        # 9100 <_DYNAMIC+0x10>
    d002:\tpop    %rbx
    d004:\tjmp    d00a <hot::restored_and_reached_again+0xa>
    d006:\tud2
    d00a:\tcall   *%rbx

000000000000e000 <hot::narrow_write_in_a_loop>:
    e000:\tmov    0x10(%rip),%rbx        # 9100 <_DYNAMIC+0x10>
    e002:\tcall   *%rbx
    e004:\txor    %ebx,%ebx
    e006:\tjne    e002 <hot::narrow_write_in_a_loop+0x2>
    e008:\tret

000000000000f000 <hot::switch>:
    f000:\tmov    0x10(%rip),%rbx        # 9100 <_DYNAMIC+0x10>
    f002:\tnotrack jmp *%rcx
    f004:\tcall   *%rbx
    f006:\tjmp    f00c <hot::switch+0xc>
    f008:\tmov    (%rdi),%rbx
    f00a:\tjmp    f002 <hot::switch+0x2>
    f00c:\tret
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
    fn a_register_is_known_only_where_every_way_there_loads_it() {
        let graph = CallGraph::parse(TEXT.lines());
        let what = |entry| -> Vec<String> {
            graph.findings(entry, |_| false).into_iter().map(|finding| finding.what).collect()
        };
        assert_eq!(what(0xb000), ["call *%r13"], "one of two ways does not load it");
        assert_eq!(what(0xc000), ["call *%rax"], "the first call changes it");
        assert_eq!(what(0xd000), ["call *%rbx"], "restored before a jump, although text before it loaded it");
        assert_eq!(what(0xe000), ["call *%rbx"], "the loop comes back with its lower half overwritten");
        assert_eq!(what(0xf000), ["call *%rbx"], "the switch is reached again with something else");
    }

    #[test]
    fn a_clean_function_has_no_findings() {
        let graph = CallGraph::parse(TEXT.lines());
        assert!(graph.findings(0x5000, is_panic).is_empty());
    }
}
