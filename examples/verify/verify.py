#!/usr/bin/env python3
"""A second verifier of usage reports, written from docs/formats/report.md and
docs/formats/ledger.md alone. It shares no code with the product and needs
nothing but the standard library of Python 3.9.

    verify.py --site-key VKEY [--base SIZE ROOT | --base FILE] FILE.usage

The steps and codes are those of report.md ("Checks, in this order"), and the
rules of the fold are those of ledger.md ("What must add up"). See README.md
for what it leaves out.
"""

import base64
import hashlib
import io
import json
import re
import shlex
import sys
import zlib
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace

MAX = 2**63 - 1  # the largest number of a ledger
LINE, BEFORE_BODY, TEXT, RATIO = 4096, 64 << 10, 1 << 30, 200


class Refused(Exception):
    """The file cannot be judged: it is damaged, was edited, or is not known here."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


def need(condition, code, text):
    if not condition:
        raise Refused(code, text)


# ---------------------------------------------------------------- signatures
# Ed25519 after RFC 8032, section 5.1.7, in extended coordinates.

P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def point_add(a, b):
    e, f = (a[1] - a[0]) * (b[1] - b[0]) % P, (a[1] + a[0]) * (b[1] + b[0]) % P
    g, h = 2 * a[3] * b[3] * D % P, 2 * a[2] * b[2] % P
    e, f, g, h = f - e, h - g, h + g, f + e
    return e * f % P, g * h % P, f * g % P, e * h % P


def point_decode(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    x2 = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(x2, (P + 3) // 8, P)
    if (x * x - x2) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if y >= P or (x * x - x2) % P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = P - x
    return x, y, 1, x * y % P


def point_encode(p):
    z = pow(p[2], -1, P)
    x, y = p[0] * z % P, p[1] * z % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = point_decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def ed25519_verify(public, message, signature):
    """Whether S·B = R + h·A, computed as R = S·B + h·(−A) with both products in one walk."""
    a, s = point_decode(public), int.from_bytes(signature[32:], "little")
    if a is None or s >= ORDER:
        return False
    a = (P - a[0], a[1], 1, P - a[3])
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    table, sum_ = (None, BASE, a, point_add(BASE, a)), (0, 1, 1, 0)
    for bit in range(252, -1, -1):
        sum_ = point_add(sum_, sum_)
        step = table[(s >> bit & 1) | (h >> bit & 1) << 1]
        if step:
            sum_ = point_add(sum_, step)
    return point_encode(sum_) == signature[:32]


# ML-DSA-44 after FIPS 204, algorithms 3 and 8, with an empty context.

Q, GAMMA1, GAMMA2, TAU, BETA, OMEGA = 8380417, 1 << 17, (8380417 - 1) // 88, 39, 78, 80
ZETAS = [pow(1753, int(f"{i:08b}"[::-1], 2), Q) for i in range(256)]


def ntt(w):
    w, k, half = list(w), 0, 128
    while half:
        for start in range(0, 256, 2 * half):
            k += 1
            for j in range(start, start + half):
                t = ZETAS[k] * w[j + half] % Q
                w[j], w[j + half] = (w[j] + t) % Q, (w[j] - t) % Q
        half //= 2
    return w


def ntt_inverse(w):
    w, k, half = list(w), 256, 1
    while half < 256:
        for start in range(0, 256, 2 * half):
            k -= 1
            for j in range(start, start + half):
                w[j], w[j + half] = (w[j] + w[j + half]) % Q, ZETAS[k] * (w[j + half] - w[j]) % Q
        half *= 2
    return [x * 8347681 % Q for x in w]


def unpack(data, bits):
    n = int.from_bytes(data, "little")
    return [n >> bits * i & (1 << bits) - 1 for i in range(256)]


def matrix_cell(seed):
    stream, out = hashlib.shake_128(seed).digest(2048), []
    for i in range(0, 2046, 3):
        t = int.from_bytes(stream[i : i + 3], "little") & 0x7FFFFF
        if t < Q:
            out.append(t)
    return out[:256]


def ball(seed):
    stream, c = hashlib.shake_256(seed).digest(1024), [0] * 256
    signs, at = int.from_bytes(stream[:8], "little"), 8
    for i in range(256 - TAU, 256):
        while stream[at] > i:
            at += 1
        j, at = stream[at], at + 1
        c[i], c[j], signs = c[j], 1 - 2 * (signs & 1), signs >> 1
    return c


def hints(data):
    out, at = [[0] * 256 for _ in range(4)], 0
    for i in range(4):
        end = data[OMEGA + i]
        places = data[at:end]
        if not at <= end <= OMEGA or any(a >= b for a, b in zip(places, places[1:])):
            return None
        for j in places:
            out[i][j] = 1
        at = end
    return out if not any(data[at:OMEGA]) else None


def use_hint(hint, r):
    high, low = divmod(r + GAMMA2 - 1, 2 * GAMMA2)
    low -= GAMMA2 - 1  # in (−γ2, γ2]
    if high == 44:
        high, low = 0, low - 1
    return (high + (hint and (1 if low > 0 else -1))) % 44


def ml_dsa_verify(public, message, signature):
    z = [[GAMMA1 - v for v in unpack(signature[32 + 576 * i : 608 + 576 * i], 18)] for i in range(4)]
    h = hints(signature[32 + 576 * 4 :])
    if h is None or any(abs(v) >= GAMMA1 - BETA for row in z for v in row):
        return False
    mu = hashlib.shake_256(hashlib.shake_256(public).digest(64) + b"\0\0" + message).digest(64)
    c, zs, packed = ntt(ball(signature[:32])), [ntt(row) for row in z], 0
    for i in range(4):
        t1 = ntt([v << 13 for v in unpack(public[32 + 320 * i : 352 + 320 * i], 10)])
        row = [matrix_cell(public[:32] + bytes([j, i])) for j in range(4)]
        w = ntt_inverse([(sum(row[j][n] * zs[j][n] for j in range(4)) - c[n] * t1[n]) % Q for n in range(256)])
        for n in range(256):
            packed |= use_hint(h[i][n], w[n]) << 6 * (256 * i + n)
    return hashlib.shake_256(mu + packed.to_bytes(768, "little")).digest(32) == signature[:32]


@lru_cache(maxsize=4096)
def signed(vkey, origin, size, root, signature):
    """Whether vkey signed the checkpoint; what each type of key signs is in ledger.md, "Keys"."""
    key, text = Key(vkey), f"{origin}\n{size}\n{b64(root)}\n".encode()
    stamp, seconds = signature[:8], int.from_bytes(signature[:8], "big")
    if key.type == 0x01:
        return len(signature) == 64 and ed25519_verify(key.public, text, signature)
    if key.type == 0x04:
        text = f"cosignature/v1\ntime {seconds}\n".encode() + text
        return len(signature) == 72 and ed25519_verify(key.public, text, signature[8:])
    sized = [bytes([len(s)]) + s.encode() for s in (key.name, origin)]
    text = b"subtree/v1\n\0" + sized[0] + stamp + sized[1] + bytes(8) + size.to_bytes(8, "big") + root
    return len(signature) == 2428 and ml_dsa_verify(key.public, text, signature[8:])


# ----------------------------------------------------------------- spellings
# Every reader returns the value, or raises ValueError: one spelling per value.


def b64(data):
    return base64.b64encode(data).decode()


def unb64(text, size=None):
    data = base64.b64decode(text, validate=True)
    if b64(data) != text or size not in (None, len(data)):
        raise ValueError("base64")
    return data


def match(pattern):
    def read(text):
        if not re.fullmatch(pattern, text):
            raise ValueError(pattern)
        return text

    return read


def integer(text):
    if not re.fullmatch(r"0|-?[1-9][0-9]{0,18}", text) or abs(int(text)) > MAX:
        raise ValueError("integer")
    return int(text)


def uint(text):
    if text.startswith("-"):
        raise ValueError("sign")
    return integer(text)


def or_dash(read):
    return lambda text: None if text == "-" else read(text)


def one_of(*words):
    return match("|".join(map(re.escape, words)))


def value(text):
    match(r"(?:[A-Za-z0-9._:/@,~-]|%[0-9A-F]{2})+")(text)
    raw = re.sub(rb"%(..)", lambda m: bytes([int(m[1], 16)]), text.encode())
    plain = raw.decode()  # must be UTF-8; UnicodeDecodeError is a ValueError
    again = "".join(chr(b) if re.match(rb"[A-Za-z0-9._:/@,~-]", bytes([b])) else f"%{b:02X}" for b in raw)
    if again != text or len(raw) > 1024:
        raise ValueError("value")
    return plain


name = match(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}")
node = match(r"[A-Za-z0-9][A-Za-z0-9_:/-]{0,127}")
license_id = match(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")
aggregation = one_of("count", "sum", "min", "max", "latest", "unique", "weighted", "peak")
HOST = r"(?=[^/]{1,64}/)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
ORIGIN = HOST + r"/[A-Za-z0-9][A-Za-z0-9_-]{0,31}/[0-9a-hjkmnp-tv-z]{20}"
origin = match(ORIGIN)
ROLES = {  # role: type of key, shape of its name
    "site": (0x01, ORIGIN),
    "site-pq": (0x06, ORIGIN),
    "replica": (0x04, ORIGIN + r"/replica/(?:0|[1-9][0-9]*)"),
    "node": (0x04, ORIGIN + r"/node/[A-Za-z0-9][A-Za-z0-9_:/-]{0,127}"),
    "receipt": (0x04, HOST + r"/receipt/\S+"),
    "receipt-pq": (0x06, HOST + r"/receipt/\S+"),
}


def meter(text):
    if ".." in text or text.endswith("."):
        raise ValueError("meter")
    return name(text)


def hash_(text):
    return unb64(text, 32)


def b16(text):
    return unb64(text, 16)


def hexa(digits):
    return match("[0-9a-f]{%d}" % digits)


class Key:
    def __init__(self, text, *roles):
        self.vkey = text
        self.name, self.id, data = match(r"[!-*,-~]+\+[0-9a-f]{8}\+\S+")(text).split("+", 2)
        data = unb64(data)
        self.type, self.public = data[0], data[1:]
        if len(self.public) != {0x01: 32, 0x04: 32, 0x06: 1312}.get(self.type):
            raise ValueError("type or size of key")
        if hashlib.sha256(self.name.encode() + b"\n" + data).hexdigest()[:8] != self.id:
            raise ValueError("key ID")
        if roles and not any(self.type == t and re.fullmatch(n, self.name) for t, n in map(ROLES.get, roles)):
            raise ValueError("not a key for " + " or ".join(roles))

    def signs(self, note):
        """The signature of this key with its key ID, if the note has one, and that is good."""
        found = [s for n, i, s in note.signatures if (n, i) == (self.name, self.id)]
        good = len(found) == 1 and signed(self.vkey, note.origin, note.size, note.root, found[0])
        return bytes.fromhex(self.id) + found[0] if good else None


# ------------------------------------------------------------------- records
# The tables of ledger.md, "Records" and "Close".

SPAN = "FROM:uint TO:uint"
CELL = "NODE:node METER:meter AGG:aggregation " + SPAN
USAGE = CELL + " COUNT:uint VALUE:uint Q0:uint Q1:uint ROOT:hash_"
KINDS = {
    "open": "FORMAT:one TIME:uint ORIGIN:origin VKEY:site NONCE:hex16",
    "boot": "TIME:uint BOOTS:uint NONCE:hex32 VERSION:name WINDOW:window",
    "usage": USAGE,
    "late": USAGE,
    "adjust": CELL + " DCOUNT:integer DVALUE:integer REASON:name COUNT:uint ROOT:hash_",
    "beat": "NODE:node " + SPAN,
    "gap": "NODE:node_or_all " + SPAN + " REASON:gap EPOCH:uint_ SEQ0:uint_ SEQ1:uint_",
    "reject": "NODE:node_ " + SPAN + " CLASS:cls REASON:name COUNT:integer",
    "clock": "TIME:uint STEP:integer CAUSE:cause",
    "restore": "TIME:uint CAUSE:name SIZE:uint ROOT:hash_ WAS_SIZE:uint_ WAS_ROOT:hash__",
    "seat": "POOL:name " + SPAN + " START:uint PEAK:uint SECONDS:uint DENIED:uint COUNT:uint ROOT:hash_",
    "license": "TIME:uint ID:license_id SERIAL:uint KEYID:hex8 DIGEST:hash_ SIZE:uint",
    "receipt": "TIME:uint SIZE:uint ROOT:hash_ VTIME:uint DIGEST:hash_",
    "seen": "TIME:uint NODE:node EPOCH:uint SEQ:uint TAKEN:uint SIZE:uint ROOT:hash_ SIG:sig",
    "key": "TIME:uint ROLE:role ACTION:action VKEY:text",
    "retire": "TIME:uint REASON:name",
    "close key": "ROLE:role VKEY:text",
    "close node": "NODE:node ACCEPTED:uint COUNTED:uint DUPLICATE:uint REJECTED:uint QUARANTINED:uint VOIDED:uint"
    " OPEN:uint COVERED:uint_ SILENT:uint EPOCH:uint_ SEQ:uint_ TAKEN:uint_",
    "close total": "METER:meter AGG:aggregation COUNT:uint VALUE:uint DVALUE:integer"
    " ALLCOUNT:uint ALLVALUE:uint_ ALLDVALUE:integer",
    "close end": "NO:uint TIME:uint UNTIL:uint BOOTS:uint SERIAL:uint CURSOR:uint SUM:hash_ GROUP:hash_",
}
GROUP = ("close key", "close node", "close total")  # the lines of a close before its end
READ = {
    **{f.__name__: f for f in (uint, integer, meter, hash_)},
    **{"name": name, "node": node, "license_id": license_id, "aggregation": aggregation, "origin": origin},
    **{"hex8": hexa(8), "hex16": hexa(16), "hex32": hexa(32), "text": str, "one": one_of("1")},
    **{"uint_": or_dash(uint), "node_": or_dash(node), "hash__": or_dash(hash_)},
    "node_or_all": lambda t: t if t == "*" else node(t),
    "gap": one_of("offline", "daemon-down", "spool-lost", "stream-lost", "declared", "removed"),
    "cls": one_of("duplicate", "rejected", "quarantined", "voided"),
    "cause": one_of("pad", "step", "node", "reply"),
    "role": one_of("site", "site-pq", "replica", "node"),
    "action": one_of("add", "remove"),
    "site": lambda t: Key(t, "site"),
    "sig": or_dash(unb64),
    "window": lambda t: window(uint(t)),
}
ATTRIBUTES = {"start": uint, "over": uint, "counter": uint, "short": integer, "supersedes": origin,
              "supersedes-root": hash_, "supersedes-size": uint}


def window(seconds):
    if not 60 <= seconds <= 86400 or 86400 % seconds:
        raise ValueError("window")
    return seconds


def attributes(fields):
    out, last = {}, ""
    for field in fields:
        key, text = field.split("=", 1)
        match(r"[A-Za-z][A-Za-z0-9._-]{0,63}")(key)
        if key <= last:
            raise ValueError("order of attributes")
        out[key], last = value(text), key
    return out


def parse(line):
    """Reads a record; one of an unknown kind has kind "?"."""
    fields = line.split(" ")
    if "" in fields:
        raise ValueError("spaces")
    kind, rest = fields[0], fields[1:]
    if kind == "close":
        kind, rest = " ".join(fields[:2]), fields[2:]
    if kind not in KINDS:
        if fields[0] in ("=", ">", ">>", "end", "close"):
            raise ValueError("this begins no record")
        return SimpleNamespace(kind="?", name=kind)
    columns = [c.split(":") for c in KINDS[kind].split()]
    if len(rest) < len(columns):
        raise ValueError("too few fields")
    r = SimpleNamespace(kind=kind, attr=attributes(rest[len(columns) :]))
    for (column, spelling), text in zip(columns, rest):
        setattr(r, column, READ[spelling](text))
    check_record(r, dict(zip([c for c, _ in columns], rest)))
    return r


def check_record(r, raw):
    """What a record must be by itself beyond the spelling of its fields."""
    for key, text in r.attr.items():
        if key in ATTRIBUTES and (key, r.kind) not in (("start", "seat"),):
            known = {"start": ("usage", "late"), "over": ("usage", "late"), "counter": ("boot", "close end"),
                     "short": ("close node",)}
            if r.kind in known.get(key, ("open",)):
                ATTRIBUTES[key](text)
        if r.kind == "boot" and key.startswith("bind."):
            hexa(32)(text)
    wrong = (
        (hasattr(r, "FROM") and r.FROM >= r.TO)
        or (r.kind == "adjust" and r.AGG not in ("count", "sum", "weighted"))
        or (r.kind == "gap" and len({r.EPOCH is None, r.SEQ0 is None, r.SEQ1 is None}) > 1)
        or (r.kind == "gap" and r.EPOCH is not None and r.SEQ0 >= r.SEQ1)
        or (r.kind == "reject" and r.COUNT < 0 and r.CLASS != "quarantined")
        or (r.kind == "clock" and r.CAUSE == "pad" and r.STEP != 0)
        or (r.kind == "restore" and (r.WAS_SIZE is None) != (r.WAS_ROOT is None))
        or (r.kind == "close key" and r.ROLE == "site")
        or (r.kind == "close node" and r.COVERED == 0)
        or (r.kind == "close node" and len({r.EPOCH is None, r.SEQ is None, r.TAKEN is None}) > 1)
        or (r.kind == "close total" and (r.AGG == "unique") != (r.ALLVALUE is None))
    )
    if wrong:
        raise ValueError(r.kind)
    if r.kind in ("key", "close key"):
        Key(r.VKEY, r.ROLE)


# ---------------------------------------------------------------------- tree


def sha(data):
    return hashlib.sha256(data).digest()


def leaf(data):
    return sha(b"\0" + data)


class Tree:
    """The frontier of an RFC 6962 tree."""

    def __init__(self, size=0, frontier=()):
        self.size, self.frontier = size, list(frontier)

    def append(self, hash_of_leaf):
        h, n = hash_of_leaf, self.size
        while n & 1:
            h, n = sha(b"\1" + self.frontier.pop() + h), n >> 1
        self.frontier.append(h)
        self.size += 1

    def root(self):
        if not self.frontier:
            return sha(b"")
        r = self.frontier[-1]
        for h in self.frontier[-2::-1]:
            r = sha(b"\1" + h + r)
        return r


EMPTY = Tree().root()


# ---------------------------------------------------------------------- fold


class Node:
    def __init__(self):
        self.covered, self.silent, self.counted, self.seen = None, 0, 0, (None, None, None)
        self.reject = {"duplicate": 0, "rejected": 0, "quarantined": 0, "voided": 0}
        self.stated = []  # (time, least account, code, numbers short): what closes and seen records said before
        self.short = 0  # by how many numbers seen records are short, less what gap and adjust records explain

    def explain(self, numbers):
        if self.seen[0] is not None:
            self.short -= numbers

    def account(self):
        """Everything that was accepted but for the events of open windows."""
        return self.counted + sum(self.reject.values())


class Sums:
    """COUNT, VALUE and DVALUE of a meter, since the close before or since open."""

    def __init__(self, count=0, value=0, dvalue=0):
        self.count, self.value, self.dvalue = count, value, dvalue
        self.used, self.newest, self.largest = count > 0 or value > 0, -1, 0

    def add(self, r):
        first, self.used = not self.used, True
        self.count, self.largest = self.count + r.COUNT, max(self.largest, r.VALUE)
        if r.AGG in ("count", "sum", "weighted", "unique"):
            self.value += r.VALUE
        elif r.AGG == "latest":
            if r.TO >= self.newest:
                self.value, self.newest = r.VALUE, r.TO
        else:
            self.value = r.VALUE if first else (min if r.AGG == "min" else max)(self.value, r.VALUE)


class Meter:
    def __init__(self, agg):
        self.agg, self.since, self.all = agg, Sums(), Sums()
        self.carried = False  # all.value comes from the base, where its TO is not known
        self.other = None  # of latest: Sums of late records that may be newer than what was carried


class Pool:
    def __init__(self, taken):
        self.to, self.taken, self.lost, self.sums = 0, taken, False, [0, 0, 0]


class Fold:
    """The rules of ledger.md, "What must add up". find(code, text) takes what breaks one."""

    def __init__(self, find, origin_, base=0):
        self.find, self.origin, self.size, self.base_until = find, origin_, base, -1
        self.time = self.boots = self.no = self.serial = self.until = self.newest = 0
        self.window = self.bindings = self.last = self.opened = None
        self.nodes, self.meters, self.keys, self.group = {}, {}, set(), []
        self.pools, self.begins = {}, base == 0
        self.added, self.receipts, self.claims, self.named = [], [], [], {0: EMPTY}
        self.ahead = []  # (index, text): what nodes saw beyond the ledger, unless a restore explains it
        self.restored = self.retired = False

    def check(self, condition, code, text):
        if not condition:
            self.find(code, text)

    def start_at(self, prev, lines):
        """Takes over the state that the close before the base carries."""
        self.time, self.until, self.no, self.newest = prev.TIME, prev.UNTIL, prev.NO, prev.UNTIL
        self.boots, self.serial, self.base_until, self.last = prev.BOOTS, prev.SERIAL, prev.UNTIL, "close end"
        for r in lines:
            if r.kind == "close key":
                self.keys.add((r.ROLE, r.VKEY))
            elif r.kind == "close node":
                n = self.nodes[r.NODE] = Node()
                n.covered, n.silent, n.counted, n.seen = r.COVERED, r.SILENT, r.COUNTED, (r.EPOCH, r.SEQ, r.TAKEN)
                n.reject = dict(zip(n.reject, (r.DUPLICATE, r.REJECTED, r.QUARANTINED, r.VOIDED)))
                later = max(prev.TIME, prev.UNTIL)  # windows can be closed early
                n.short = int(r.attr.get("short", "0")) if r.TAKEN is not None else 0
                n.stated = [(later, r.ACCEPTED, "records/sequence_gap", max(n.short, 0))]
                n.stated += [(later, r.TAKEN, "history/witness_ahead", 0)] if r.TAKEN else []
            else:
                m = self.meters[r.METER] = Meter(r.AGG)
                m.all = Sums(r.ALLCOUNT, r.ALLVALUE or 0, r.ALLDVALUE)
                m.carried = m.all.used

    def record(self, line):
        """Takes the next record, and returns it if it can be read."""
        r, wrong = None, None
        try:
            r = parse(line)
        except (ValueError, IndexError) as err:
            wrong = f"{line[:60]!r}: {err}"
        if self.retired:
            self.find("ledger/retired", "a record after retire")
        else:
            self.check(self.size > 0 or line.startswith("open "), "format/malformed", "the first record is not open")
            if self.group and not line.startswith("close "):
                self.find("records/totals", "a close without close end")
                self.group = []
            self.check(r, "format/malformed", wrong)
            if r:
                self.known(line, r)
            self.last = r and r.kind
        self.size += 1
        return r

    def known(self, line, r):
        if hasattr(r, "TIME"):
            self.check(r.TIME >= self.time, "format/malformed", "time falls")
            self.time = max(self.time, r.TIME)
        if r.kind == "?":
            self.check(r.name.startswith("x-"), "explain/unknown_kind", r.name)
        else:
            if r.kind in GROUP:
                order = (GROUP.index(r.kind), line)
                self.check(not self.group or order > self.group[-1][:2], "records/totals", "order of the lines of a close")
                self.group.append((*order, r))
            getattr(self, "do_" + r.kind.replace(" ", "_"))(r)

    def do_open(self, r):
        if self.size > 0:
            return self.find("format/malformed", "a second open")
        self.opened = r
        self.check(r.ORIGIN == self.origin and ledger_id(r) == r.ORIGIN, "format/malformed", "origin of another key")

    def do_boot(self, r):
        self.check(r.BOOTS > self.boots, "records/sequence_gap", "BOOTS does not rise")
        self.boots, self.window = r.BOOTS, r.WINDOW
        bindings = {k: v for k, v in r.attr.items() if k.startswith("bind.")}
        self.check(self.bindings in (None, bindings), "explain/bindings", "bindings changed")
        self.bindings = bindings

    def node(self, key):
        self.check(key in self.nodes or len(self.nodes) < 65536, "size/too_large", "nodes")
        return self.nodes.setdefault(key, Node())

    def meter(self, r):
        self.check(r.METER in self.meters or len(self.meters) < 1024, "size/too_large", "meters")
        m = self.meters.setdefault(r.METER, Meter(r.AGG))
        self.check(m.agg == r.AGG, "records/totals", f"aggregation of {r.METER}")
        return m

    def one_window(self, r, current):
        """FROM to TO is one window; if current, of the length that is in force. A report in
        which no boot came yet learns that length from its first usage record."""
        length = r.TO - r.FROM
        good = 60 <= length <= 86400 and 86400 % length == 0 and r.FROM % length == 0
        if good and current:
            self.window = self.window or length
            good = length == self.window
        self.check(good, "format/malformed", f"{r.FROM} to {r.TO} is no window")

    def whole_windows(self, r):
        w = self.window or 60
        self.check(r.FROM % w == 0 and r.TO % w == 0, "format/malformed", "FROM or TO within a window")

    def cover(self, n, r):
        self.check(n.covered is None or r.FROM <= n.covered, "records/window_gap", "a hole in the coverage")
        n.covered = max(n.covered or 0, r.TO)

    def do_usage(self, r):
        n, m = self.node(r.NODE), self.meter(r)
        self.one_window(r, r.kind == "usage")
        self.count_fits(r)
        good = r.Q1 - r.Q0 == r.COUNT and r.Q0 == n.counted
        self.check(good, "records/sequence_gap", f"booking numbers, {r.NODE} is at {n.counted}")
        n.counted = r.Q1
        if r.kind == "usage":
            self.cover(n, r)
            self.check(r.FROM >= self.until, "records/window_gap", "usage of a window that was closed")
            self.newest = max(self.newest, r.TO)
        m.since.add(r)
        if m.carried and m.agg == "latest" and r.kind == "late" and r.TO <= self.base_until:
            m.other = m.other or Sums()
            m.other.add(r)
            m.all.count += r.COUNT
        else:
            if m.carried and m.agg == "latest":  # newer than what was carried
                m.carried, m.other, m.all.newest = False, None, -1
            m.all.add(r)
        self.fits(m.since, m.all)

    do_late = do_usage

    def fits(self, *sums):
        numbers = [n for s in sums for n in (s.count, s.dvalue, 0 if s.used is None else s.value)]
        self.check(all(abs(n) <= MAX for n in numbers), "records/totals", "a sum leaves int64")

    def count_fits(self, r):
        start = int(r.attr.get("start", "0"))
        if r.COUNT == 0 and (start == 0 or r.AGG not in ("peak", "weighted")):
            self.find("records/sequence_gap", "a cell without events")
        elif r.COUNT == 0:
            level = start if r.AGG == "peak" else start * (r.TO - r.FROM)
            self.check((r.ROOT, r.VALUE) == (EMPTY, level), "records/totals", "a level cell without events")
        elif r.AGG == "count":
            self.check(r.VALUE == r.COUNT, "records/totals", "VALUE of count")
        elif r.AGG == "unique":
            self.check(r.VALUE <= r.COUNT, "records/totals", "VALUE of unique")

    def do_adjust(self, r):
        self.one_window(r, False)
        self.node(r.NODE).explain(r.COUNT)
        m = self.meter(r)
        m.since.dvalue, m.all.dvalue = m.since.dvalue + r.DVALUE, m.all.dvalue + r.DVALUE
        self.check(r.COUNT > 0, "records/totals", "no corrections")
        self.fits(m.since, m.all)

    def do_seat(self, r):
        self.one_window(r, False)
        self.check(r.POOL in self.pools or len(self.pools) < 1024, "size/too_large", "pools")
        p = self.pools.setdefault(r.POOL, Pool(0 if self.begins and not self.restored else None))
        self.check(r.FROM >= p.to, "records/window_gap", "a window of seats before the newest one")
        hole = r.FROM > p.to > 0 and not p.lost
        self.check(r.START == 0 or not hole, "records/totals", "seats at the start after a window without a record")
        self.check(p.taken in (None, r.START), "records/totals", "START is not what the window before ended with")
        most = r.PEAK * (r.TO - r.FROM)
        least = 0 if r.COUNT else most
        fits = r.DENIED <= r.COUNT and 0 <= r.PEAK - r.START <= r.COUNT - r.DENIED and least <= r.SECONDS <= most
        self.check(fits, "records/totals", "seats that their actions cannot take")
        self.check(r.COUNT or (r.START and r.ROOT == EMPTY), "records/totals", "seats without actions")
        p.to, p.taken, p.lost = max(p.to, r.TO), None if r.COUNT else r.START, False
        p.sums = [a + b for a, b in zip(p.sums, (r.SECONDS, r.DENIED, r.COUNT))]
        self.check(max(p.sums) <= MAX, "records/totals", "a sum of seats leaves int64")

    def do_beat(self, r):
        self.whole_windows(r)
        self.cover(self.node(r.NODE), r)

    def do_gap(self, r):
        self.whole_windows(r)
        self.check(r.REASON == "removed", "explain/gap", r.REASON)
        everybody = [k for k, n in self.nodes.items() if n.covered is not None]
        for key in everybody if r.NODE == "*" else [r.NODE]:
            self.cover(self.node(key), r)
            if r.EPOCH is not None and r.NODE != "*":
                self.node(key).explain(r.SEQ1 - r.SEQ0)
            if r.REASON == "removed":
                del self.nodes[key]  # if it comes back it begins anew

    def do_reject(self, r):
        self.whole_windows(r)
        if r.NODE is not None:
            counts = self.node(r.NODE).reject
            counts[r.CLASS] += r.COUNT
            self.check(0 <= counts[r.CLASS] <= MAX, "records/sequence_gap", f"{r.CLASS} events of {r.NODE}")

    def do_clock(self, r):
        self.check(abs(r.STEP) < 86400, "explain/clock_step", f"{r.STEP} s")

    def do_license(self, r):
        self.serial = r.SERIAL

    def claim(self, r, code):
        """A root that a record names: one per size, and at the end compared with the tree's."""
        if self.named.setdefault(r.SIZE, r.ROOT) != r.ROOT:
            text = f"another root of size {r.SIZE}"
            self.ahead.append((self.size, text)) if r.kind == "seen" else self.find(code, text)
        self.claims.append((self.size, r.SIZE, self.named[r.SIZE], code))

    def do_restore(self, r):
        self.check(r.SIZE == self.size, "format/malformed", "SIZE is not the index of restore")
        self.find("explain/restore", r.CAUSE)
        self.ahead = []
        self.claims = [c for c in self.claims if c[3] != "history/witness_ahead"]
        self.named = {0: EMPTY, **{size: root for _, size, root, _ in self.claims}}
        self.claim(r, "history/differs")
        self.restored = True
        for n in self.nodes.values():
            n.stated, n.seen, n.short = [], (None, None, None), 0
        for p in self.pools.values():
            p.taken, p.lost = None, True

    def do_receipt(self, r):
        self.receipts.append((self.size, r))
        self.check(r.SIZE <= self.size or self.restored, "history/rolled_back", "a receipt that is newer than the ledger")
        self.claim(r, "history/differs")

    def do_seen(self, r):
        n = self.node(r.NODE)
        epoch, seq, taken = n.seen
        if not self.restored:
            if r.SIZE > self.size:
                self.ahead.append((self.size, f"{r.NODE} saw size {r.SIZE}"))
            self.claim(r, "history/witness_ahead")
        short = 0
        if epoch is not None:
            if r.TAKEN < taken:
                self.ahead.append((self.size, f"of {r.NODE} {taken} events were taken before"))
            grown = r.SEQ if r.EPOCH > epoch else r.SEQ - seq if r.EPOCH == epoch else 0
            short = max(0, grown - max(0, r.TAKEN - taken))
        n.seen, n.short = (r.EPOCH, r.SEQ, r.TAKEN), n.short + short
        n.stated.append((max(r.TIME, self.until), r.TAKEN, "history/witness_ahead", short))

    def do_key(self, r):
        entry, add = (r.ROLE, r.VKEY), r.ACTION == "add"
        good = r.VKEY.startswith(self.origin + ("+" if r.ROLE.startswith("site") else "/")) and (add or r.ROLE != "site")
        self.check(good, "format/malformed", "key of another ledger, or of the site removed")
        if add and r.ROLE in ("site", "site-pq"):
            self.added.append(r.VKEY)
        if r.ROLE != "site":
            self.check(add != (entry in self.keys), "records/totals", "key added twice, or removed and not there")
            (self.keys.add if add else self.keys.discard)(entry)

    def do_retire(self, r):
        self.check(self.last == "close end", "format/malformed", "retire does not follow close end")
        self.retired = True

    def do_close_key(self, r):
        self.check((r.ROLE, r.VKEY) in self.keys, "records/totals", "a key that is not enrolled")

    def do_close_node(self, r):
        n = self.node(r.NODE)
        rejects = (r.DUPLICATE, r.REJECTED, r.QUARANTINED, r.VOIDED)
        good = r.COUNTED == n.counted and rejects == tuple(n.reject.values()) and r.ACCEPTED == n.account() + r.OPEN
        good = good and (self.restored or (r.EPOCH, r.SEQ, r.TAKEN) == n.seen and int(r.attr.get("short", "0")) >= n.short)
        self.check(good, "records/sequence_gap", f"account of {r.NODE}")
        good = r.COVERED == n.covered and r.SILENT >= n.silent
        self.check(good, "records/window_gap", f"coverage of {r.NODE}")
        n.silent = r.SILENT

    def do_close_total(self, r):
        m = self.meter(r)
        good = (r.COUNT, r.DVALUE) == (m.since.count, m.since.dvalue)
        good = good and (r.ALLCOUNT, r.ALLDVALUE) == (m.all.count, m.all.dvalue)
        if m.agg == "unique":
            good = good and m.since.largest <= r.VALUE <= m.since.value
        elif m.other and r.ALLVALUE == m.other.value:
            m.all.value = r.ALLVALUE  # which of the two is the later one only the close can say
        else:
            good = good and r.ALLVALUE == m.all.value
        self.check(good and (m.agg == "unique" or r.VALUE == m.since.value), "records/totals", f"totals of {r.METER}")

    def do_close_end(self, r):
        listed = {kind: [g for _, _, g in self.group if g.kind == kind] for kind in GROUP}
        group = sha("".join(line + "\n" for _, line, _ in self.group).encode())
        self.check(self.size % 2 == 0, "format/malformed", "close end has an odd index")
        self.check(r.GROUP == group, "records/totals", "GROUP")
        self.check(r.NO == self.no + 1, "records/sequence_gap", "number of the close")
        self.check((r.BOOTS, r.SERIAL) == (self.boots, self.serial), "records/totals", "BOOTS or SERIAL")
        good = r.UNTIL >= max(self.until, self.newest) and r.UNTIL % (self.window or 60) == 0
        self.check(good, "records/window_gap", "UNTIL falls, is below a usage record, or within a window")
        keys = {(g.ROLE, g.VKEY) for g in listed["close key"]}
        self.check(keys == self.keys, "records/totals", "keys of the close")
        self.check({g.METER for g in listed["close total"]} == set(self.meters), "records/totals", "meters of the close")
        accepted = {g.NODE: g.ACCEPTED for g in listed["close node"]}
        self.check(accepted.keys() == self.nodes.keys(), "records/sequence_gap", "nodes of the close")
        for key, n in self.nodes.items():
            self.end_node(r, key, n)
            if key in accepted:
                n.stated.append((max(r.TIME, r.UNTIL), accepted[key], "records/sequence_gap", 0))
        for m in self.meters.values():
            m.since = Sums()
        self.no, self.until, self.newest = r.NO, max(self.until, r.UNTIL), max(self.newest, r.UNTIL)
        self.group = []

    def end_node(self, r, key, n):
        """What a close asks of every node: coverage, and that nothing stated before is missing."""
        self.check(n.covered is None or n.covered >= r.UNTIL, "records/window_gap", f"{key} is not covered")
        w = self.window or 86400
        later = [s for s in n.stated if s[0] - s[0] % w + w > r.UNTIL]
        for time, least, code, _ in n.stated:
            if time - time % w + w <= r.UNTIL:
                self.check(n.account() >= least, code, f"{key}: less than was stated before")
        unexplained = n.short - sum(s[3] for s in later)
        if len(later) < len(n.stated) and unexplained > 0:
            self.find("records/sequence_gap", f"{key}: {unexplained} numbers were never taken")
            n.short -= unexplained
        n.stated = later


def ledger_id(r):
    """The origin that VKEY and NONCE of an open record give."""
    head = r.ORIGIN.rsplit("/", 1)[0]
    digest = sha(f"meterseal-ledger/v1\n{head}\n".encode() + r.VKEY.public + bytes.fromhex(r.NONCE))
    number = int.from_bytes(digest, "big") >> 256 - 100
    return head + "/" + "".join("0123456789abcdefghjkmnpqrstvwxyz"[number >> 5 * i & 31] for i in range(19, -1, -1))


# -------------------------------------------------------------------- events


class Events:
    """The event lines behind one record: ROOT, PRIVATE, and what they add up to."""

    def __init__(self, r, tags):
        self.r, self.tags, self.tree, self.rows = r, tags, Tree(), []
        self.private, self.malformed = None, None

    def event(self, salt, line):
        self.tree.append(leaf(salt + line.encode()))
        self.private = None
        try:
            fields = line.split(" ")
            time, quantity, tag = uint(fields[0]), integer(fields[1]), or_dash(b16)(fields[2])
            private, attr = or_dash(hash_)(fields[3]), attributes(fields[4:])
            one_of("void", "amend")(attr.get("kind", "void"))
        except (ValueError, IndexError) as err:
            self.malformed = str(err)
        else:
            self.rows.append((time, quantity, tag, attr))
            self.private = private

    def opened(self, salt, line, find):
        need(self.private, "format/malformed", "a private line that belongs to no event")
        need(leaf(salt + line.encode()) == self.private, "proof/root_mismatch", "PRIVATE of an event")
        self.private = None
        try:
            user = attributes(line.split(" ")).get("user")
        except ValueError as err:
            return find("format/malformed", str(err))
        tag = self.rows[-1][2]
        if user and tag and getattr(self.r, "AGG", "") != "unique" and self.tags.setdefault(user, tag) != tag:
            find("records/totals", "one user has two tags")

    def ended(self, find):
        r, rows = self.r, self.rows
        need(self.tree.root() == r.ROOT, "proof/root_mismatch", "the events do not give ROOT")
        if self.malformed:
            find("format/malformed", "an event: " + self.malformed)
        elif len(rows) != r.COUNT:
            find("records/totals", "number of events")
        elif not all(("kind" in e[3]) == (r.kind == "adjust") and (e[1] >= 0 or r.kind == "adjust") for e in rows):
            find("records/totals", "a correction out of place, or a use below 0")
        elif r.kind != "adjust" and not all(r.FROM * 1000 <= e[0] < r.TO * 1000 for e in rows):
            find("records/totals", "an event outside of its window")
        elif not self.adds_up():
            find("records/totals", "the events do not give the value")

    def adds_up(self):
        r, rows = self.r, self.rows
        quantities = [e[1] for e in rows]
        if r.kind == "adjust":
            return (sum(quantities), sum(e[3].get("kind") == "void" for e in rows)) == (r.DVALUE, -r.DCOUNT)
        if r.kind == "seat":
            return self.level(r.START) == (r.PEAK, r.SECONDS)
        if r.AGG == "unique":
            tags = {e[2] for e in rows}
            return r.VALUE == len(tags) or (None in tags and r.VALUE == len(tags) - 1)
        if r.AGG in ("peak", "weighted"):
            return self.level(int(r.attr.get("start", "0")))[r.AGG == "weighted"] == r.VALUE
        newest = max(range(len(rows)), key=lambda i: (rows[i][0], i))
        return r.VALUE == {"count": len(rows), "sum": sum(quantities), "min": min(quantities),
                           "max": max(quantities), "latest": quantities[newest]}[r.AGG]

    def level(self, level):
        """Highest level, and level × ms ÷ 1,000, from FROM to TO."""
        at, peak, total = self.r.FROM * 1000, level, 0
        for time, quantity, _, _ in sorted(self.rows, key=lambda e: e[0]):
            total, at, level = total + level * (time - at), time, quantity
            peak = max(peak, level)
        return peak, (total + level * (self.r.TO * 1000 - at)) // 1000


# -------------------------------------------------------------------- report


class Lines:
    """The lines of a text. Each is checked for length and characters before it is looked at."""

    def __init__(self, data, cap=BEFORE_BODY):
        self.file, self.number, self.read, self.body, self.cap = io.BytesIO(data), 0, 0, False, cap
        self.hash, self.raw, self.text = hashlib.sha256(), b"", ""

    def next(self):
        self.hash.update(self.raw)  # so that it holds every byte before the line just read
        self.raw = self.file.readline(LINE + 1)
        self.number, self.read = self.number + 1, self.read + len(self.raw)
        if not self.raw.endswith(b"\n"):
            need(len(self.raw) > LINE, "format/truncated", "the text ends too early")
            raise Refused("format/malformed", "a line is too long")
        need(b"\r" not in self.raw, "format/line_ends_changed", "a carriage return")
        plain = re.fullmatch(rb"[ -~]*\n" if self.body else rb"(\xe2\x80\x94 )?[ -~]*\n", self.raw)
        need(plain, "format/malformed", "a character that is not allowed")
        need(self.body or self.read <= self.cap, "format/malformed", "too much before the body")
        self.text = self.raw[:-1].decode()
        return self.text


def well(read, text, code="format/malformed"):
    """Reads a part of the report itself, whose spelling nobody has signed."""
    try:
        return read(text)
    except (ValueError, IndexError) as err:
        raise Refused(code, str(err)) from err


def after(prefix, text):
    need(text.startswith(prefix), "format/malformed", f"no line {prefix!r}")
    return text[len(prefix) :]


def note_lines(lines):
    """The lines of a note, the empty ones left out: text, and signature lines."""
    text, signatures = [], []
    while lines.next():
        need(not lines.text.startswith("\u2014"), "format/malformed", "a signature line above the empty line")
        text.append(lines.text)
    while lines.next():
        signatures.append(after("\u2014 ", lines.text))
    return text, signatures


KEY_NAME = r"[!-*,-~]{1,255}"


def parse_signatures(lines):
    """Name, key ID and signature of each line."""
    need(1 <= len(lines) <= 16, "format/malformed", "number of signature lines")
    out = []
    for line in lines:
        name_, _, blob = line.partition(" ")
        blob = well(unb64, blob)
        need(re.fullmatch(KEY_NAME, name_) and len(blob) > 4, "format/malformed", "a signature line")
        out.append((name_, blob[:4].hex(), blob[4:]))
    return out


def parse_note(text, signatures):
    good = len(text) == 3 and re.fullmatch(KEY_NAME, text[0])
    need(good, "format/malformed", "lines of a checkpoint")
    note = SimpleNamespace(origin=text[0], size=well(uint, text[1]), root=well(hash_, text[2]))
    need(note.size > 0 or note.root == EMPTY, "format/malformed", "root of size 0")
    note.signatures = parse_signatures(signatures)
    return note


def read_head(lines):
    h = SimpleNamespace(keys=[], new=[], prev=None, level=after("level ", lines.next()))
    need(h.level in ("standard", "pseudonymous", "detailed"), "format/malformed", "level")
    while lines.next().startswith("key "):
        h.keys.append(lines.text[4:])
    while lines.text.startswith("new-key "):
        h.new.append(lines.text[8:])
        lines.next()
    need(1 <= len(h.keys) <= 2 and len(h.new) <= 2, "format/malformed", "number of keys")
    size, _, root = after("old ", lines.text).partition(" ")
    h.size, h.root = well(uint, size), well(hash_, root)
    need(h.size > 0 or h.root == EMPTY, "format/malformed", "root of size 0")
    h.frontier = [well(hash_, lines.next()) for _ in range(bin(h.size).count("1"))]
    if h.size:
        h.prev = after("prev ", lines.next())
    need(lines.next() == "", "format/malformed", "a line that the head does not have")
    return h


def first_line(data, word=b"meterseal-report/", other="format/not_a_report"):
    """Step 1: type and version."""
    line = data.split(b"\n", 1)[0]
    spoilt = line.startswith((b"\xef\xbb\xbf" + word, b"\xff\xfem\0e\0", b"\xfe\xff\0m\0e"))
    spoilt = spoilt or (line.startswith(word) and not re.fullmatch(rb"[ -~]*", line))
    need(not spoilt, "format/line_ends_changed", "another encoding")
    need(line, other, "an empty file or line")
    if line == data:  # no line end at all
        need(line[: len(word)] != word[: len(line)], "format/truncated", "the text ends in its first line")
    need(line.startswith(word + b"v"), other, "the first line is that of another file")
    version = well(uint, line.decode()[len(word) + 1 :])
    need(version > 0, "version/too_old", line.decode())
    need(version < 2, "version/too_new", line.decode())


def unwrap(data):
    """The text within one gzip member. Zstandard and age are not in the standard library."""
    need(not data.startswith(b"age-encryption.org/v1"), "format/encrypted", "decrypt it first")
    need(not data.startswith(b"\x28\xb5\x2f\xfd"), "not_supported", "zstd: unpack it first")
    if not data.startswith(b"\x1f\x8b"):
        need(len(data) <= TEXT, "size/too_large", "more than 1 GiB")
        return data
    unpacker, limit = zlib.decompressobj(wbits=31), min(TEXT, RATIO * len(data))
    try:
        text = unpacker.decompress(data, limit + 1)
    except zlib.error as err:
        raise Refused("format/malformed", str(err)) from err
    need(len(text) <= limit, "size/ratio" if limit < TEXT else "size/too_large", "unpacks to too much")
    need(unpacker.eof, "format/truncated", "the gzip member ends too early")
    need(not unpacker.unused_data, "format/malformed", "more than one gzip member")
    return text


class Report:
    """One verification. keys are the site's, known maps accepted sizes to roots, receipts
    are the vendor's keys. The steps are those of report.md."""

    def __init__(self, keys, known, receipts):
        self.keys, self.known, self.receipts = keys, known, receipts
        self.findings, self.lines, self.fold, self.receipt, self.alarm = [], None, None, None, None

    def find(self, code, text, index=None):
        if len(self.findings) < 100:
            self.findings.append((code, self.fold.size if index is None else index, self.lines.number, text))

    def verify(self, data):
        data = unwrap(data)
        first_line(data)
        lines = self.lines = Lines(data)
        lines.next()
        head = self.head = read_head(lines)
        old = note_lines(lines) if head.size else None
        new = note_lines(lines)
        lines.body = True
        self.check_keys(head)
        self.new = self.check_note(head, new)
        known = self.check_base(head, old)
        self.state(head)
        self.records(head)
        self.end()
        self.identity(head)
        need(known, "history/base_missing", "the base is not known")
        self.compare(head)

    def check_keys(self, head):  # step 2
        for keys, roles in ((head.keys, (("site",), ("site-pq",))), (head.new, (("site", "site-pq"), ("site-pq",)))):
            for i, role in zip(range(len(keys)), roles):
                well(Key, keys[i])
                keys[i] = well(lambda text, role=role: Key(text, *role), keys[i], "key/unknown")
        self.origin = head.keys[0].name
        need({k.name for k in head.keys + head.new} == {self.origin}, "key/unknown", "keys of two ledgers")
        need(self.origin == self.keys[-1].name, "ledger/wrong_ledger", self.origin)
        # Of each type the last one given is in force.
        site, pq = ([k.vkey for k in self.keys if k.type == t] for t in (0x01, 0x06))
        keys, new = [k.vkey for k in head.keys], [k.vkey for k in head.new]
        if keys == site[-1:] + pq[-1:]:
            return
        if keys[0] == site[-1]:
            need(len(keys) == 1, "key/unknown", "the second key is not on record")
            need(not pq or pq[-1] in new, "signature/invalid", "the site's second key is missing")
        else:  # from before a rotation that it carries, so that the key in force has signed too
            need(keys[0] in site, "key/unknown", "not a key on record")
            need(site[-1] in new, "key/rotated", "an older key of the site")

    def check_note(self, head, new):  # step 3
        note = parse_note(*new)
        for key in head.keys + head.new:
            need(key.signs(note), "signature/invalid", f"not signed by {key.name}+{key.id}")
        need(note.origin == self.origin, "format/malformed", "origin of the new note")
        need(note.size > head.size, "format/malformed", "the new checkpoint is not above the old one")
        return note

    def check_base(self, head, old):  # step 4
        self.tree, self.roots = Tree(head.size, head.frontier), {head.size: head.root}
        self.fold = Fold(self.find, self.origin, head.size)
        if not old:
            return True
        need(self.tree.root() == head.root, "proof/root_mismatch", "the frontier does not give the old root")
        need(leaf(head.prev.encode()) == head.frontier[-1], "proof/root_mismatch", "prev is not record N0-1")
        note = parse_note(*old)
        same = (note.origin, note.size, note.root) == (self.origin, head.size, head.root)
        need(same, "proof/root_mismatch", "the old note says otherwise")
        self.receipt = next((k.signs(note) for k in self.receipts if k.signs(note)), None)
        if head.size in self.known:
            if self.known[head.size] != head.root:
                self.find("history/differs", "the base was accepted with another root", head.size - 1)
            return True
        self.alarm = "receipt_unknown" if self.receipt and self.known else None
        return self.receipt

    def state(self, head):  # step 5
        state = []
        while self.lines.next().startswith("= ") and head.size:
            state.append(self.lines.text[2:])
        if head.size:
            prev = well(parse, head.prev)
            need(prev.kind == "close end", "format/malformed", "prev is no close end")
            group = sha("".join(s + "\n" for s in state).encode())
            need(group == prev.GROUP, "proof/root_mismatch", "the state is not that of prev")
            self.fold.start_at(prev, [well(parse, s, "proof/root_mismatch") for s in state])

    def records(self, head):  # step 6
        lines, tags = self.lines, {}
        while not lines.text.startswith("end "):
            line = lines.text
            need(line and line[0] != ">", "format/malformed", "an empty line, or an event of no record")
            need(self.tree.size < self.new.size, "proof/root_mismatch", "more records than were signed")
            need(line[0] not in " =", "format/malformed", "a line that is no record")
            self.tree.append(leaf(line.encode()))
            r = self.fold.record(line)
            size, root = self.tree.size, self.tree.root()
            self.roots[size] = root
            if self.known.get(size, root) != root:
                code = "history/fork" if size == self.new.size else "history/differs"
                self.find(code, "another root was accepted", size - 1)
            if lines.next().startswith(">"):
                need(head.level != "standard", "format/malformed", "a standard report has no events")
                self.events(head.level, r, tags)
        good = self.fold.retired or self.fold.last == "close end"
        self.last_good = good

    def events(self, level, r, tags):
        """The lines of "> " and ">> " behind a record."""
        lines = self.lines
        if r and r.kind == "boot":
            need(level == "detailed", "format/malformed", "bindings in a report that is not detailed")
            values, domain = well(lambda t: attributes(t.split(" ")), after(">> - ", lines.text)), self.origin.split("/")[0]
            for key, raw in values.items():
                digest = sha(f"meterseal-bind/v1\n{domain}\n{key}\n{raw}".encode()).hex()[:32]
                need(r.attr.get("bind." + key) == digest, "proof/root_mismatch", f"binding {key}")
            return lines.next()
        need(r and r.kind in ("usage", "late", "adjust", "seat"), "format/malformed", "events of no cell")
        find = lambda code, text: self.find(code, text, self.fold.size - 1)  # noqa: E731
        events = Events(r, tags)
        while lines.text.startswith(">"):
            salt, _, line = after("> ", lines.text).partition(" ")
            events.event(well(b16, salt), line)
            if lines.next().startswith(">> "):
                need(level == "detailed", "format/malformed", "a private line in a report that is not detailed")
                salt, _, line = lines.text[3:].partition(" ")
                events.opened(well(b16, salt), line, find)
                lines.next()
            need(level != "detailed" or not events.private, "format/malformed", "no private line")
        need(lines.text, "format/malformed", "an empty line")
        events.ended(find)

    def end(self):  # step 7
        lines, new = self.lines, self.new
        digest = lines.hash.digest()
        size, _, stated = lines.text[4:].partition(" ")
        size, stated = well(uint, size), well(hash_, stated)
        need(not lines.file.read(1), "format/malformed", "something follows the end")
        good = self.tree.size == new.size and self.tree.root() == new.root
        need(good, "proof/root_mismatch", "the records do not give what was signed")
        need((size, stated) == (new.size, digest), "proof/root_mismatch", "end says otherwise")

    def identity(self, head):  # step 8
        fold, keys, new = self.fold, [k.vkey for k in head.keys], [k.vkey for k in head.new]
        if head.size == 0:
            r = fold.opened
            need(r and r.VKEY.vkey == keys[0] and r.ORIGIN == ledger_id(r) == self.origin, "key/unknown",
                 "the ledger was not opened by this key")
        good = set(new) <= set(fold.added) <= set(new + keys)
        if not good:
            self.find("format/malformed", "keys that records enrol and new-key lines differ", self.new.size - 1)

    def compare(self, head):  # step 9
        fold, new = self.fold, self.new
        roots = {**self.known, **self.roots}
        for index, size, root, code in fold.claims:
            if roots.get(size, root) != root:
                self.find(code, f"another root of size {size}", index)
        for index, text in fold.ahead:
            self.find("history/witness_ahead", text, index)
            self.findings.sort(key=lambda f: f[1])  # where it would have come
        given = [(i, r) for i, r in fold.receipts if r.SIZE == head.size]
        if self.receipt:
            when, digest = int.from_bytes(self.receipt[4:12], "big"), sha(self.receipt)
            for index, r in given:
                if (r.VTIME, r.DIGEST) != (when, digest):
                    self.find("history/differs", "another receipt than the one on the old note", index)
        if not self.last_good:
            self.find("format/malformed", "the last record is neither close end nor retire", new.size - 1)
        if new.size < max(self.known, default=0) and new.size not in self.known:
            self.find("history/rolled_back", "a later size was accepted", new.size - 1)
        if self.receipt and not given:
            self.find("explain/receipt_missing", "no record of the receipt", head.size)

    def verdict(self):
        """Verdict and the finding that decides it."""
        if self.known.get(self.new.size) == self.new.root:
            return "duplicate", ("-", None, None, "")
        rejects = [f for f in self.findings if not f[0].startswith("explain/")]
        if rejects:
            return "reject", rejects[0]
        return ("explain", self.findings[0]) if self.findings else ("ok", ("-", None, None, ""))


# ------------------------------------------------------------------- command


def verify_part(path, keys):
    """A file with one record, key or checkpoint, as in docs/formats/vectors/ledger."""
    data, kind, code = Path(path).read_bytes(), Path(path).suffix, "-"
    need(b"\r" not in data, "format/malformed", "a carriage return")
    lines = Lines(data if kind != ".checkpoint" else data + b"\n")
    lines.body = kind != ".checkpoint"
    if kind == ".record":
        r = well(parse, lines.next())
        code = "explain/unknown_kind" if r.kind == "?" and not r.name.startswith("x-") else "-"
    elif kind == ".vkey":
        well(Key, lines.next())
    else:
        note = parse_note(*note_lines(lines))
        need(keys[-1].signs(note), "signature/invalid", "not signed by the site")
    return {"verdict": "explain" if code != "-" else "ok", "code": code}


def verify_file(path, keys, known, receipts):
    report = Report(keys, known, receipts)
    try:
        if Path(path).suffix in (".record", ".vkey", ".checkpoint"):
            return verify_part(path, keys)
        report.verify(Path(path).read_bytes())
    except Refused as err:
        first = report.findings[0] if report.findings else None
        help_ = f"; first that does not fit: record {first[1]}: {first[3]}" if first else ""
        at = report.lines.number if report.lines else 1
        index = report.fold.size if report.fold else None
        return {"verdict": "refused", "code": err.code, "line": at, "record": index, "text": str(err) + help_}
    verdict, (code, index, line, text) = report.verdict()
    totals = {k: [m.agg, m.all.count, None if m.agg == "unique" else m.all.value, m.all.dvalue]
              for k, m in sorted(report.fold.meters.items())}
    return {"verdict": verdict, "code": code, "line": line, "record": index, "text": text, "alarm": report.alarm,
            "codes": [f[0] for f in report.findings], "size": report.new.size, "root": b64(report.new.root), "totals": totals}


@lru_cache(maxsize=64)
def base_of(path):
    """Size and root of a report that was accepted: those of its new note."""
    lines = Lines(unwrap(Path(path).read_bytes()))
    lines.next()
    if read_head(lines).size:
        note_lines(lines)
    note = parse_note(*note_lines(lines))
    return note.size, note.root


USAGE = """usage: verify.py --site-key VKEY [--base SIZE ROOT | --base FILE] [--receipt-key VKEY] [--json] FILE.usage
       verify.py ... --batch   reads lines of such arguments from standard input, and prints JSON lines

--site-key     key of the site; repeat it for a second type, or for a newer key behind an older one
--base         a checkpoint that was accepted, or the accepted report that ends there; may be repeated
--receipt-key  key that signs the vendor's receipts: a base with a receipt needs no --base"""


def run(words, defaults=()):
    """Verifies what one line of arguments names; gives the options and the results."""
    words, options, files = list(defaults) + list(words), set(), []
    keys, known, receipts = [], {}, []
    while words:
        word = words.pop(0)
        if word == "--site-key":
            keys.append(Key(words.pop(0), "site", "site-pq"))
        elif word == "--receipt-key":
            receipts.append(Key(words.pop(0), "receipt", "receipt-pq"))
        elif word == "--base":
            base = words.pop(0)
            size, root = (uint(base), hash_(words.pop(0))) if base.isdigit() else base_of(base)
            known[size] = root
        elif word in ("--json", "--batch"):
            options.add(word)
        elif word.startswith("-"):
            raise ValueError(f"unknown option {word}")
        else:
            files.append(word)
    if not keys or len(files) != ("--batch" not in options):
        raise ValueError("a key of the site and one report are needed")
    return options, [verify_file(f, keys, known, receipts) for f in files]


def show(result):
    print("verdict", result["verdict"])
    print("code   ", result["code"])
    if result["text"]:
        where = f"line {result['line']}" if result["record"] is None else f"record {result['record']}, line {result['line']}"
        print("first  ", f"{where}: {result['text']}")
    if "size" in result:
        print("signed ", result["size"], result["root"])
    for key, (agg, count, total, adjusted) in result.get("totals", {}).items():
        print("total  ", key, agg, f"count {count} value {total} adjusted {adjusted}")


def main(words):
    try:
        options, results = run(words)
        if "--batch" in options:
            defaults = [w for w in words if w != "--batch"]
            for line in sys.stdin:
                print(json.dumps(run(shlex.split(line), defaults)[1][0]), flush=True)
            return 0
    except (ValueError, IndexError, OSError, Refused) as err:
        print(f"verify.py: {err}\n{USAGE}", file=sys.stderr)
        return 2
    if "--json" in options:
        print(json.dumps(results[0]))
    else:
        show(results[0])
    return 3 if results[0]["verdict"] in ("refused", "reject") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
