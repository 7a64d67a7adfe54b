#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The fast paths' instructions, entry to return with every conditional branch not taken, against fast_path.<arch>.txt.

fast_path.py LIB "COMPILER VERSION": bounds hold for every compiler (number of instructions, no call, no atomic instruction);
the list itself is compared only with the compiler that the golden file names, because registers and order are each compiler's own.
"""
import platform
import re

from golden import HERE, arguments, compare, fail_all, run

# The most instructions of each. Sized delete asks first whether plain delete is still ours: four more.
ENTRIES = {"malloc": 20, "free": 20, "_Znwm": 20, "_ZdlPv": 20, "_ZdlPvm": 24, "quarry_core1_class_alloc": 19, "quarry_core1_free": 20, "quarry_core1_class_free": 20}
ATOMIC = re.compile(r"^lock\b|^xchg\b.*\(|^(mfence|lfence|sfence|dmb|dsb|isb)\b|^(ldx|stx|ldax|stlx|cas|swp|ldadd)")
CALL = re.compile(r"^(call|blr?)\b")
RETURN = re.compile(r"^(ret|repz ret|bnd ret)\b")
JUMP = re.compile(r"^(jmp|b)\s+([0-9a-f]+)\b")
BRANCH = re.compile(r"^(j[a-z]+|b\.[a-z]+|cbn?z|tbn?z)\b")
STEPS_MAX = 200


def symbols(lib):
    """{name: (address, bytes)} of the exported functions."""
    found = {}
    for line in run("nm", "-D", "--defined-only", "-S", lib).splitlines():
        parts = line.split()
        if len(parts) == 4:
            found[parts[3]] = (int(parts[0], 16), int(parts[1], 16))
    return found


def disassemble(lib):
    """{address: (instruction, next address)} of all that is executed."""
    code = {}
    last = None
    for line in run("objdump", "-d", "--no-show-raw-insn", "-w", lib).splitlines():
        match = re.match(r"^\s*([0-9a-f]+):\s+(\S.*)$", line)
        if match:
            address = int(match.group(1), 16)
            if last is not None:
                code[last] = (code[last][0], address)
            code[address] = (match.group(2).strip(), None)
            last = address
    return code


def path(code, address):
    """The instructions met from an address on; a last one that is no return says where it goes instead."""
    out = []
    for _ in range(STEPS_MAX):
        if address not in code:
            return out + ["leaves the text"]
        text, following = code[address]
        jump = JUMP.match(text)
        if jump:
            address = int(jump.group(2), 16)
            out.append(text)
            continue
        if not re.match(r"^(nop|endbr64|bti|cs nop|data16|xchg\s+%ax,%ax)", text):
            out.append(text)
        if RETURN.match(text) or text.startswith("jmp"):
            return out
        address = following
    return out + ["no return within reach"]


def shown(text):
    """An instruction without what moves with every link: addresses of code and data."""
    text = re.sub(r"\s*<[^>]*>", "", text)
    text = re.sub(r"\s*#.*$", "", text)
    text = re.sub(r"(?<![\w$])(-?0x)?[0-9a-f]+\(%rip\)", "ADDRESS(%rip)", text)
    if BRANCH.match(text) or JUMP.match(text):
        text = re.sub(r"\s[0-9a-f]+$", " ADDRESS", text)
    return re.sub(r"\s+", " ", text)


def problems(name, instructions):
    if len(instructions) > ENTRIES[name]:
        yield f"{name}: {len(instructions)} instructions; at most {ENTRIES[name]}"
    for text in instructions:
        if CALL.match(text):
            yield f"{name}: a call: {text}"
        if ATOMIC.match(text):
            yield f"{name}: an atomic instruction: {text}"
    if not RETURN.match(instructions[-1]):
        yield f"{name}: does not return: {instructions[-1]}"


def main():
    update, (lib, compiler) = arguments()
    code, entries = disassemble(lib), symbols(lib)
    found, lines = [], [f"# compiler: {compiler}", "# From entry to return, no conditional branch taken."]
    for name in ENTRIES:
        instructions = path(code, entries[name][0])
        found += problems(name, instructions)
        lines += ["", f"{name}: {len(instructions)} instructions"] + ["    " + shown(text) for text in instructions]
    text = "\n".join(lines) + "\n"
    print(text)
    if found:
        fail_all(found)
    golden = f"fast_path.{platform.machine()}.txt"
    if not update and (HERE / golden).exists() and (HERE / golden).read_text().split("\n")[0] != lines[0]:
        print(f"bounds hold; the list in {golden} is another compiler's")
        return
    compare(golden, text, update)


if __name__ == "__main__":
    main()
