// The grammar of records: docs/formats/ledger.md, "Records" and "Close".

import { unbase64 } from "./bytes";
import { isFor, readKey, origin, type Key, type Role } from "./keys";
import * as s from "./spelling";
import { fail, type Read } from "./spelling";
import { EMPTY_ROOT } from "./tree";

const role: Read<"site" | "site-pq" | "replica" | "node"> = s.oneOf("site", "site-pq", "replica", "node");
const siteKey: Read<Key> = (text) => readKey(text, "site");
const word: Read<string> = (text) => text;

const span = { from: s.uint, to: s.uint };
const cell = { node: s.node, meter: s.meter, agg: s.aggregation, ...span };
const usage = { ...cell, count: s.uint, value: s.uint, q0: s.uint, q1: s.uint, root: s.hash };

// The fields of each kind, in their order.
const KINDS = {
  open: { format: s.oneOf("1"), time: s.uint, origin, key: siteKey, nonce: s.hexOf(16) },
  boot: { time: s.uint, boots: s.uint, nonce: s.hexOf(32), version: s.name, window: s.windowLength },
  usage,
  late: usage,
  adjust: { ...cell, dcount: s.int, dvalue: s.int, reason: s.name, count: s.uint, root: s.hash },
  beat: { node: s.node, ...span },
  gap: {
    node: (t: string) => (t === "*" ? t : s.node(t)),
    ...span,
    reason: s.oneOf("offline", "daemon-down", "spool-lost", "stream-lost", "declared", "removed"),
    epoch: s.orDash(s.uint),
    seq0: s.orDash(s.uint),
    seq1: s.orDash(s.uint),
  },
  reject: {
    node: s.orDash(s.node),
    ...span,
    class: s.oneOf("duplicate", "rejected", "quarantined", "voided"),
    reason: s.name,
    count: s.int,
  },
  clock: { time: s.uint, step: s.int, cause: s.oneOf("pad", "step", "node", "reply") },
  restore: { time: s.uint, cause: s.name, size: s.uint, root: s.hash, wasSize: s.orDash(s.uint), wasRoot: s.orDash(s.hash) },
  seat: { pool: s.name, ...span, start: s.uint, peak: s.uint, seconds: s.uint, denied: s.uint, count: s.uint, root: s.hash },
  license: { time: s.uint, id: s.id, serial: s.uint, keyId: s.hexOf(8), digest: s.hash, size: s.uint },
  receipt: { time: s.uint, size: s.uint, root: s.hash, vtime: s.uint, digest: s.hash },
  seen: {
    time: s.uint,
    node: s.node,
    epoch: s.uint,
    seq: s.uint,
    taken: s.uint,
    size: s.uint,
    root: s.hash,
    sig: s.orDash((t) => unbase64(t) ?? fail("signature", t)),
  },
  key: { time: s.uint, role, action: s.oneOf("add", "remove"), vkey: word },
  retire: { time: s.uint, reason: s.name },
  "close key": { role, vkey: word },
  "close node": {
    node: s.node,
    accepted: s.uint,
    counted: s.uint,
    duplicate: s.uint,
    rejected: s.uint,
    quarantined: s.uint,
    voided: s.uint,
    open: s.uint,
    covered: s.orDash(s.uint),
    silent: s.uint,
    epoch: s.orDash(s.uint),
    seq: s.orDash(s.uint),
    taken: s.orDash(s.uint),
  },
  "close total": {
    meter: s.meter,
    agg: s.aggregation,
    count: s.uint,
    value: s.uint,
    dvalue: s.int,
    allCount: s.uint,
    allValue: s.orDash(s.uint),
    allDvalue: s.int,
  },
  "close end": {
    no: s.uint,
    time: s.uint,
    until: s.uint,
    boots: s.uint,
    serial: s.uint,
    cursor: s.uint,
    sum: s.hash,
    group: s.hash,
  },
} as const satisfies Record<string, Record<string, Read<unknown>>>;

type Kinds = typeof KINDS;
export type Kind = keyof Kinds;

/** The record of a kind: its fields, and its attributes as texts. */
export type RecordOf<K extends Kind> = K extends Kind
  ? { readonly kind: K; readonly attributes: ReadonlyMap<string, string> } & { readonly [F in keyof Kinds[K]]: Value<Kinds[K][F]> }
  : never;
type Value<R> = R extends Read<infer T> ? T : never;

/** A record of a kind that this version does not know. */
export interface Unknown {
  readonly kind: "?";
  readonly name: string;
}

export type LedgerRecord = RecordOf<Kind> | Unknown;

const COLUMNS = new Map(
  Object.entries(KINDS).map(([kind, fields]) => [kind, Object.entries(fields) as [string, Read<unknown>][]] as const),
);

// Attributes that are more than a value, by kind.
const ATTRIBUTES: Partial<Record<Kind, Readonly<Record<string, Read<unknown>>>>> = {
  open: { supersedes: origin, "supersedes-root": s.hash, "supersedes-size": s.uint },
  boot: { counter: s.uint },
  usage: { over: s.uint, start: s.uint },
  late: { over: s.uint, start: s.uint },
  "close node": { short: (t) => (s.int(t) === 0n ? fail("number but 0", t) : t) },
  "close end": { counter: s.uint },
};

const binding = s.hexOf(32);
const NO_RECORD = new Set(["=", ">", ">>", "end"]);

/** readRecord reads a line of the ledger. */
export function readRecord(line: string): LedgerRecord {
  const fields = line.split(" ");
  if (fields.includes("")) fail("record: its fields are separated by one space", line);
  let at = 1;
  let kind = fields[0]!;
  if (kind === "close") kind += " " + fields[at++];
  const columns = COLUMNS.get(kind);
  if (columns === undefined) {
    if (NO_RECORD.has(kind) || at > 1) fail("kind of record", kind);
    return { kind: "?", name: kind };
  }
  if (fields.length - at < columns.length) fail(`${kind} record: it has too few fields`, line);
  const record: { [field: string]: unknown } = { kind };
  for (const [field, read] of columns) record[field] = read(fields[at++]!);
  record["attributes"] = fields.length > at ? s.attributes(fields.slice(at)) : NONE;
  const known = record as unknown as LedgerRecord;
  check(known, line);
  return known;
}

const NONE: ReadonlyMap<string, string> = new Map();

/** check is what a record must be by itself beyond the spelling of its fields. */
function check(r: LedgerRecord, line: string): void {
  if (r.kind === "?") return;
  const wrong = (what: string): never => fail(`${r.kind} record: ${what}`, line);
  if (r.attributes.size > 0) {
    const special = ATTRIBUTES[r.kind];
    for (const [key, text] of r.attributes) {
      special?.[key]?.(text);
      if (r.kind === "boot" && key.startsWith("bind.")) binding(text);
    }
  }
  if ("from" in r && r.from >= r.to) wrong("FROM is below TO");
  switch (r.kind) {
    case "adjust":
      if (r.agg !== "count" && r.agg !== "sum" && r.agg !== "weighted") wrong("it adjusts count, sum or weighted");
      break;
    case "gap":
      if (!together(r.epoch, r.seq0, r.seq1)) wrong("EPOCH, SEQ0 and SEQ1 are all there, or none");
      if (r.seq0 !== undefined && r.seq1 !== undefined && r.seq0 >= r.seq1) wrong("SEQ0 is below SEQ1");
      break;
    case "reject":
      if (r.count < 0n && r.class !== "quarantined") wrong("only quarantined events are released");
      break;
    case "clock":
      if (r.cause === "pad" && r.step !== 0n) wrong("a pad has STEP 0");
      break;
    case "restore":
      if (!together(r.wasSize, r.wasRoot)) wrong("WAS-SIZE and WAS-ROOT are both there, or none");
      if (r.size === 0n && r.root !== EMPTY_ROOT) wrong("the root of nothing");
      break;
    case "key":
    case "close key":
      readKey(r.vkey, r.role);
      if (r.kind === "close key" && r.role === "site") wrong("the site's key is not listed");
      break;
    case "close node":
      if (r.covered === 0n) wrong("COVERED is never 0");
      if (!together(r.epoch, r.seq, r.taken)) wrong("EPOCH, SEQ and TAKEN are all there, or none");
      break;
    case "close total":
      if ((r.agg === "unique") !== (r.allValue === undefined)) wrong('ALLVALUE is "-" for unique, and for nothing else');
  }
}

const together = (...fields: readonly unknown[]): boolean => {
  const missing = fields.filter((f) => f === undefined).length;
  return missing === 0 || missing === fields.length;
};

/** belongs tells whether a key is one of a ledger. */
export function belongs(vkey: string, keyRole: Role, ledger: string): boolean {
  const key = readKey(vkey);
  return isFor(key, keyRole) && (key.name === ledger || key.name.startsWith(ledger + "/"));
}
