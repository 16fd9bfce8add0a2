#!/usr/bin/env python3
"""A second reader of replies, written from docs/formats/reply.md and
docs/formats/ledger.md alone. It stands beside verify.py and uses its spellings
and signatures.

    reply.py --receipt-key VKEY --reply-key VKEY [--site-key VKEY] [--origin O] [--tree SIZE ROOT ...] FILE.reply

--tree names checkpoints of the site's own ledger, the largest being its size.
The license in a reply is read for its labels only.
"""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import verify
from verify import (HOST, Key, Lines, Refused, after, aggregation, ed25519_verify, first_line, hash_, integer, match,
                    meter, need, note_lines, one_of, or_dash, origin, parse_note, parse_signatures, uint, well)

REPLY, CHECKPOINT, NOTE = 1 << 20, 64 << 10, 256 << 10
PARTS = ["receipt", "acceptance", "license", "rejection"]
verify.ROLES["reply"] = (0x01, HOST + r"/reply/\S+")


def text(spelling):
    """TEXT of ledger.md: as a value, but ASCII signs and inner spaces stand for themselves."""
    raw = re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m[1], 16)]), spelling.encode())
    again = "".join(chr(b) if 0x20 <= b <= 0x7E and b != 0x25 else f"%{b:02X}" for b in raw)
    again = re.sub("^ | $", "%20", again)
    raw.decode()
    if again != spelling or not 1 <= len(raw) <= 1024:
        raise ValueError("text")
    return raw.decode()


def date(spelling):
    match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")(spelling)
    year, month, day, hour, minute, second = map(int, re.findall("[0-9]+", spelling))
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    if not (1 <= month <= 12 and 1 <= day <= days[month - 1] and hour < 24 and minute < 60 and second < 60):
        raise ValueError("date")
    return spelling


code = match(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*")


class Text:
    """The lines of a note's text, taken in the order of its table."""

    def __init__(self, note, kind):
        self.lines = list(note.lines)
        word = f"meterseal-{kind}/v"
        version = well(uint, after(word, self.lines.pop(0)))
        need(version < 2, "version/too_new", f"{kind} {version}")
        need(version == 1, "format/malformed", f"{kind} {version}")

    def maybe(self, name, *readers):
        if not self.lines or not self.lines[0].startswith(name + " "):
            return None
        rest = self.lines.pop(0)[len(name) + 1 :]
        fields = [rest] if readers == (text,) else rest.split(" ")
        need(len(fields) == len(readers), "format/malformed", f"fields of {name}")
        return [well(read, f) for read, f in zip(readers, fields)]

    def take(self, name, *readers):
        out = self.maybe(name, *readers)
        need(out is not None, "format/malformed", f"no line {name}")
        return out

    def every(self, name, *readers):
        return list(iter(lambda: self.maybe(name, *readers), None))

    def end(self):
        for line in self.lines:
            name, _, rest = line.partition(" ")
            need(re.fullmatch(r"x-[A-Za-z0-9._:/-]{1,126}", name), "format/malformed", f"line {line[:40]!r}")
            well(text, rest)


def read_acceptance(note):
    t, a = Text(note, "acceptance"), SimpleNamespace()
    (a.origin,), (a.report,) = t.take("origin", origin), t.take("report", hash_)
    a.base, a.accepted = t.take("base", uint, hash_), t.take("accepted", uint, hash_)
    need(a.base[0] > 0 or a.base[1] == verify.EMPTY, "format/malformed", "root of size 0")
    need(a.accepted[0] > a.base[0], "format/malformed", "sizes")
    t.take("period", date, date)
    a.totals = t.every("total", meter, aggregation, uint, uint, integer)
    meters = [x[0] for x in a.totals]
    need(all(x < y for x, y in zip(meters, meters[1:])) and len(meters) <= 1024, "format/malformed", "order of totals")
    a.findings = t.every("finding", code, uint)
    (verdict,) = t.take("verdict", one_of("ok", "explain"))
    need((verdict == "explain") == (len(a.findings) > 0) and len(a.findings) <= 100, "format/malformed", "verdict")
    (a.license,) = t.take("license", one_of("pending", "none") if t.lines[:1] in (["license pending"], ["license none"]) else uint)
    need(a.license != 0, "format/malformed", "license 0")
    t.maybe("next-report-by", date)
    t.maybe("reference", text)
    t.take("final", one_of("yes", "no"))
    t.take("issued", date)
    t.end()
    return a


def read_rejection(note):
    t, r = Text(note, "rejection"), SimpleNamespace()
    (r.origin,), (r.report,) = t.take("origin", or_dash(origin)), t.take("report", hash_)
    t.take("code", code)
    t.take("fix-by", one_of("site", "courier", "vendor"))
    t.take("record", or_dash(uint))
    (line,) = t.take("line", or_dash(uint))
    size, root = t.take("last", or_dash(uint), or_dash(hash_))
    need(line != 0 and size != 0 and (size is None) == (root is None), "format/malformed", "line or last")
    need(size is None or r.origin, "format/malformed", "last of no ledger")
    t.take("message", text)
    t.take("how", text)
    t.take("issued", date)
    t.end()
    return r


def read_license(note):
    """The two lines that labels repeat; None of another version."""
    need(note.lines[0].startswith("meterseal-license/v"), "format/malformed", "no license")
    if note.lines[0] != "meterseal-license/v1":
        return None
    first = {}
    for line in note.lines:
        first.setdefault(*line.split(" ", 1)) if " " in line else None
    return SimpleNamespace(origin=first.get("site"), serial=first.get("serial"))


def read(data):
    """Steps 1 and 2: what needs no key."""
    need(len(data) <= REPLY, "size/too_large", "more than 1 MiB")
    first_line(data, b"meterseal-reply/", "format/not_a_reply")
    lines, r, order = Lines(data, REPLY), SimpleNamespace(), PARTS
    lines.next()
    r.origin = well(origin, after("origin ", lines.next()))
    r.report = well(or_dash(hash_), after("report ", lines.next()))
    r.result = well(one_of("accepted", "refresh", "rejected"), after("result ", lines.next()))
    need(lines.next() == "", "format/malformed", "an empty line is due")
    r.notes = {}
    while not lines.next().startswith("end "):
        part = after("part ", lines.text)
        need(part in order, "format/malformed", f"part {part} here")
        order = order[order.index(part) + 1 :]
        r.notes[part] = SimpleNamespace(**dict(zip(("lines", "raw"), note_lines(lines))))
    digest = lines.hash.digest()
    need(well(hash_, lines.text[4:]) == digest, "format/malformed", "digest")
    need(not lines.file.read(1), "format/malformed", "bytes after the end")
    check_parts(r)
    return r


def check_parts(r):
    """Step 2: the notes, and that the labels are as they say."""
    for name, note in r.notes.items():
        size = sum(len(x) + 1 for x in note.lines) + 1 + sum(len("\u2014 ".encode()) + len(x) + 1 for x in note.raw)
        need(note.lines and size <= (CHECKPOINT if name == "receipt" else NOTE), "format/malformed", "size of a note")
        note.signatures = parse_signatures(note.raw)
        note.text = "".join(line + "\n" for line in note.lines).encode()
    parts = set(r.notes)
    good = {"accepted": parts - {"license"} == {"receipt", "acceptance"}, "refresh": parts == {"license"}, "rejected": parts == {"rejection"}}
    need(good[r.result] and (r.report is None) == (r.result == "refresh"), "format/malformed", "parts")
    readers = {"receipt": lambda n: parse_note(n.lines, n.raw), "acceptance": read_acceptance, "license": read_license, "rejection": read_rejection}
    r.says = {name: readers[name](note) for name, note in r.notes.items()}
    for name, says in r.says.items():
        need(says is None or says.origin == r.origin, "format/malformed", f"origin of the {name}")
        need(not hasattr(says, "report") or says.report == r.report, "format/malformed", f"report of the {name}")
    if "acceptance" in parts:
        serial = r.says["acceptance"].license
        need(isinstance(serial, int) == ("license" in parts), "format/malformed", "license of the acceptance")
        need(not r.says.get("license") or r.says["license"].serial == str(serial), "format/malformed", "serial")


def signs(key, note):
    found = [s for n, i, s in note.signatures if (n, i) == (key.name, key.id)]
    return len(found) == 1 and len(found[0]) == 64 and ed25519_verify(key.public, note.text, found[0])


def check(r, o):
    """Steps 3 to 6: what is known of the ledger, and the vendor's keys."""
    need(o.origin in (None, r.origin), "ledger/wrong_ledger", r.origin)
    says = r.says.get("receipt")
    if says:
        need(o.receipt, "key/unknown", "no receipt key")
        need(all(k.signs(says) for k in o.site), "signature/invalid", "the site's own")
        need(any(k.signs(says) for k in o.receipt), "signature/invalid", "receipt")
        if o.tree:
            need(says.size <= max(o.tree), "ledger_behind_pin", f"{says.size} records")
            need(o.tree.get(says.size, says.root) == says.root, "ledger_off_pin", f"root of {says.size}")
    for name in ("acceptance", "rejection"):
        if name in r.notes:
            need(o.reply, "key/unknown", "no reply key")
            need(any(signs(k, r.notes[name]) for k in o.reply), "signature/invalid", name)
    if says:
        need(r.says["acceptance"].accepted == [says.size, says.root], "proof/root_mismatch", "of another checkpoint")


def answer(words):
    """Reads what one line of arguments names."""
    o, files, words = SimpleNamespace(site=[], receipt=[], reply=[], origin=None, tree={}), [], list(words)
    while words:
        word = words.pop(0)
        if word in ("--site-key", "--receipt-key", "--reply-key"):
            role = word[2:-4]
            getattr(o, role).append(Key(words.pop(0), *(["site", "site-pq"] if role == "site" else [role])))
        elif word == "--origin":
            o.origin = words.pop(0)
        elif word == "--tree":
            size = uint(words.pop(0))
            o.tree[size] = hash_(words.pop(0))
        else:
            files.append(word)
    if len(files) != 1 or files[0].startswith("-"):
        raise ValueError("one reply is needed")
    try:
        r = read(Path(files[0]).read_bytes())
        check(r, o)
    except Refused as err:
        return {"code": err.code, "text": str(err)}
    totals = r.says["acceptance"].totals if "acceptance" in r.says else []
    return {"code": "-", "text": r.result, "size": r.says["receipt"].size if "receipt" in r.says else None, "totals": totals}


def main(words):
    try:
        if words[:1] == ["--batch"]:
            for line in sys.stdin:
                print(json.dumps(answer(words[1:] + shlex.split(line))), flush=True)
            return 0
        result = answer(words)
    except (ValueError, IndexError, OSError) as err:
        print(f"reply.py: {err}\n{__doc__}", file=sys.stderr)
        return 2
    print("code ", result["code"])
    print("says ", result["text"])
    for total in result.get("totals", []):
        print("total", *total)
    return 0 if result["code"] == "-" else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
