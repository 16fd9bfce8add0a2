// What the records of a ledger must add up to: docs/formats/ledger.md, "What must
// add up". The fold reads one record after the other and says what does not fit.

import { Account } from "./account";
import { base64, utf8 } from "./bytes";
import { originOf } from "./keys";
import { Meter, Seats } from "./meters";
import { belongs, readRecord, type LedgerRecord, type RecordOf } from "./record";
import { Misspelt } from "./refusal";
import { Sha256 } from "./sha256";
import { isWindow } from "./spelling";

const NODES_MAX = 65_536;
const METERS_MAX = 1_024;
const POOLS_MAX = 1_024;
const DAY = 86_400n;
const LF = utf8("\n");

/** A root that a record names. */
export interface Claim {
  readonly index: number;
  readonly size: bigint;
  readonly root: string;
  readonly code: "history/differs" | "history/witness_ahead";
  readonly seen: boolean;
}

export interface Gap {
  readonly node: string;
  readonly from: bigint;
  readonly to: bigint;
  readonly reason: string;
}

const ORDER = ["close key", "close node", "close total"] as const;

/** The lines of a close, of which the end has not come. */
class Group {
  readonly hash = new Sha256();
  readonly accepted = new Map<Account, bigint>();
  readonly keys = new Set<string>();
  private kind = 0;
  private last = "";

  /** add tells whether a line stands in its order. */
  add(kind: (typeof ORDER)[number], line: string): boolean {
    this.hash.update(utf8(line)).update(LF);
    const at = ORDER.indexOf(kind);
    const good = at > this.kind || (at === this.kind && line > this.last);
    this.kind = at;
    this.last = line;
    return good;
  }
}

export class Fold {
  readonly nodes = new Map<string, Account>();
  readonly meters = new Map<string, Meter>();
  /** site and site-pq keys that records add. */
  readonly added: string[] = [];
  readonly receipts: { index: number; r: RecordOf<"receipt"> }[] = [];
  readonly kinds = new Map<string, number>();
  readonly gaps: Gap[] = [];
  gapsAll = 0;
  opened: RecordOf<"open"> | undefined;
  /** Up to which windows were closed before the report, and are now. */
  from = 0n;
  until = 0n;
  closes = 0;
  retired = false;
  /** Whether the last record ends the records well. */
  whole = false;
  restored = false;

  private time = 0n;
  private boots = 0n;
  private no = 0n;
  private serial = 0n;
  private window: bigint | undefined;
  private lastEnd = -1; // index of the last close end
  private group: Group | undefined;
  private usageTo = 0n;
  private bindings: string | undefined;
  private readonly keys = new Set<string>();
  private readonly seats: Seats;
  private readonly rejectedUnknown = new Account("-");
  private claims = new Map<string, Claim>();
  private ahead: { index: number; detail: string }[] = [];
  private readonly tooMany = new Set<string>();

  constructor(
    readonly name: string,
    private readonly base: number,
    private readonly report: (code: string, detail: string, index: number) => void,
  ) {
    this.seats = new Seats(base === 0);
    this.lastEnd = base - 1;
    this.whole = base > 0;
  }

  /** fromBase takes over what the close before the report says. */
  fromBase(end: RecordOf<"close end">, lines: readonly LedgerRecord[]): void {
    this.time = end.time;
    this.boots = end.boots;
    this.no = end.no;
    this.serial = end.serial;
    this.from = this.until = this.usageTo = end.until;
    const due = this.endOfWindow(end.time > end.until ? end.time : end.until);
    for (const r of lines) {
      if (r.kind === "close key") this.keys.add(`${r.role} ${r.vkey}`);
      if (r.kind === "close node") this.node(r.node, this.base).fromBase(r, due);
      if (r.kind === "close total") {
        const m = new Meter(r.agg, end.until);
        m.all.carry(r.allCount, r.allValue, r.allDvalue);
        this.meters.set(r.meter, m);
      }
    }
  }

  private endOfWindow(t: bigint): bigint {
    const w = this.window ?? DAY;
    return (t / w + 1n) * w;
  }

  /** add reads the record of an index; undefined: it cannot be read. */
  add(line: string, index: number): LedgerRecord | undefined {
    const find = (code: string, detail: string): void => this.report(code, detail, index);
    const ended = this.whole && this.lastEnd === index - 1;
    this.whole = false;
    let r: LedgerRecord;
    try {
      r = readRecord(line);
    } catch (err) {
      if (!(err instanceof Misspelt)) throw err;
      if (this.retired) find("ledger/retired", "a record after retire");
      else {
        if (!line.startsWith("close ")) this.interrupt(find);
        find("format/malformed", err.message);
      }
      return undefined;
    }
    const kind = r.kind === "?" ? r.name : r.kind;
    this.kinds.set(kind, (this.kinds.get(kind) ?? 0) + 1);
    if (this.retired) {
      find("ledger/retired", "a record after retire");
      return r;
    }
    if (!r.kind.startsWith("close ")) this.interrupt(find);
    if ((index === 0) !== (r.kind === "open")) find("format/malformed", index === 0 ? "the first record is not open" : "open stands within the ledger");
    if ("time" in r && r.time < this.time) find("format/malformed", `TIME falls from ${this.time} to ${r.time}`);
    this.record(r, line, index, ended);
    if ("time" in r && r.time > this.time) this.time = r.time;
    return r;
  }

  /** interrupt ends a close of which the end has not come. */
  private interrupt(find: (code: string, detail: string) => void): void {
    if (this.group !== undefined) find("records/totals", "a close without its end");
    this.group = undefined;
  }

  private record(r: LedgerRecord, line: string, index: number, ended: boolean): void {
    const find = (code: string, detail: string): void => this.report(code, detail, index);
    switch (r.kind) {
      case "?":
        if (!r.name.startsWith("x-")) find("explain/unknown_kind", `a record of the kind ${r.name}`);
        break;
      case "open":
        if (index === 0) this.open(r, find);
        break;
      case "boot":
        this.boot(r, find);
        break;
      case "usage":
      case "late":
        this.cell(r, index);
        break;
      case "adjust": {
        if (!oneWindow(r)) find("format/malformed", "FROM and TO are no window");
        this.node(r.node, index).explain(r.count);
        this.meter(r.meter, r.agg, index)?.adjust(r, find);
        break;
      }
      case "beat":
        this.span(r, find);
        this.node(r.node, index).cover(r.from, r.to, find);
        break;
      case "gap":
        this.gap(r, index);
        break;
      case "reject":
        this.span(r, find);
        (r.node === undefined ? this.rejectedUnknown : this.node(r.node, index)).reject(r, find);
        break;
      case "seat":
        if (!oneWindow(r)) find("format/malformed", "FROM and TO are no window");
        this.seats.add(r, find);
        this.atMost("pools", this.seats.known, POOLS_MAX, index);
        break;
      case "clock":
        if (r.step >= DAY || r.step <= -DAY) find("explain/clock_step", `the clock was moved by ${r.step} s`);
        break;
      case "license":
        this.serial = r.serial;
        break;
      case "restore":
        this.restore(r, index);
        break;
      case "receipt":
        if (r.size > BigInt(index) && !this.restored) find("history/rolled_back", `a receipt of size ${r.size}`);
        this.receipts.push({ index, r });
        this.claim(index, r.size, r.root, "history/differs", false);
        break;
      case "seen":
        this.seen(r, index);
        break;
      case "key":
        this.key(r, find);
        break;
      case "retire":
        if (!ended) find("format/malformed", "retire does not follow a close end");
        this.retired = this.whole = true;
        break;
      default:
        this.close(r, line, index);
    }
  }

  private open(r: RecordOf<"open">, find: (code: string, detail: string) => void): void {
    this.opened = r;
    this.from = r.time;
    if (originOf(r.origin, r.key, r.nonce) !== r.origin) find("format/malformed", "the origin is not that of key and nonce");
  }

  private boot(r: RecordOf<"boot">, find: (code: string, detail: string) => void): void {
    if (r.boots <= this.boots) find("records/sequence_gap", `boot ${r.boots} comes after boot ${this.boots}`);
    this.boots = r.boots;
    this.window = r.window;
    const bindings = [...r.attributes].filter(([k]) => k.startsWith("bind.")).join(" ");
    if (this.bindings !== undefined && bindings !== this.bindings) find("explain/bindings", "the machine has other components than at the boot before");
    this.bindings = bindings;
  }

  private cell(r: RecordOf<"usage" | "late">, index: number): void {
    const find = (code: string, detail: string): void => this.report(code, detail, index);
    const n = this.node(r.node, index);
    const meter = this.meter(r.meter, r.agg, index);
    n.cell(r, find);
    meter?.cell(r, find);
    if (r.kind === "late") {
      if (!oneWindow(r)) find("format/malformed", "FROM and TO are no window");
    } else {
      this.window ??= oneWindow(r) ? r.to - r.from : undefined;
      if (r.to - r.from !== this.window || !oneWindow(r)) find("format/malformed", "FROM and TO are not one window");
      if (r.from < this.until) find("records/window_gap", `usage of a window that was closed at ${this.until}`);
      if (r.to > this.usageTo) this.usageTo = r.to;
      n.cover(r.from, r.to, find);
    }
  }

  private span(r: { from: bigint; to: bigint }, find: (code: string, detail: string) => void): void {
    const w = this.window ?? 60n;
    if (r.from % w !== 0n || r.to % w !== 0n) find("format/malformed", "FROM and TO are no borders of windows");
  }

  private gap(r: RecordOf<"gap">, index: number): void {
    const find = (code: string, detail: string): void => this.report(code, detail, index);
    this.span(r, find);
    if (r.reason !== "removed") find("explain/gap", `nothing is known of ${r.node === "*" ? "all nodes" : r.node}: ${r.reason}`);
    this.gapsAll++;
    if (this.gaps.length < 1000) this.gaps.push({ node: r.node, from: r.from, to: r.to, reason: r.reason });
    if (r.node === "*") {
      for (const n of this.nodes.values()) if (n.covered !== undefined) n.cover(r.from, r.to, find);
      return;
    }
    const n = this.node(r.node, index);
    n.cover(r.from, r.to, find);
    if (r.seq0 !== undefined && r.seq1 !== undefined) n.explain(r.seq1 - r.seq0);
    if (r.reason === "removed") this.nodes.delete(r.node);
  }

  private restore(r: RecordOf<"restore">, index: number): void {
    if (r.size !== BigInt(index)) this.report("format/malformed", `SIZE ${r.size} is not ${index}`, index);
    this.report("explain/restore", `the ledger came back at ${r.size}: ${r.cause}`, index);
    this.restored = true;
    this.ahead = [];
    for (const n of this.nodes.values()) n.forget();
    this.seats.forget();
    this.claim(index, r.size, r.root, "history/differs", false);
  }

  private seen(r: RecordOf<"seen">, index: number): void {
    const due = this.endOfWindow(r.time > this.until ? r.time : this.until);
    const fell = this.node(r.node, index).seen(r, due);
    if (fell) this.ahead.push({ index, detail: `TAKEN of ${r.node} falls` });
    if (this.restored) return;
    if (r.size > BigInt(index)) this.ahead.push({ index, detail: `${r.node} holds a checkpoint of size ${r.size}` });
    this.claim(index, r.size, r.root, "history/witness_ahead", true);
  }

  private claim(index: number, size: bigint, root: string, code: Claim["code"], seen: boolean): void {
    const key = `${seen ? 1 : 0} ${size} ${root}`;
    if (!this.claims.has(key)) this.claims.set(key, { index, size, root, code, seen });
  }

  private key(r: RecordOf<"key">, find: (code: string, detail: string) => void): void {
    const key = `${r.role} ${r.vkey}`;
    if (!belongs(r.vkey, r.role, this.name)) find("format/malformed", "a key of another ledger");
    if (r.action === "remove") {
      if (r.role === "site") find("format/malformed", "the key of the site is never removed");
      else if (!this.keys.delete(key)) find("records/totals", "a key is removed that is not there");
      return;
    }
    if (this.keys.has(key)) find("records/totals", "a key is added twice");
    this.keys.add(key);
    if (r.role === "site" || r.role === "site-pq") this.added.push(r.vkey);
  }

  private close(r: RecordOf<"close key" | "close node" | "close total" | "close end">, line: string, index: number): void {
    const find = (code: string, detail: string): void => this.report(code, detail, index);
    const group = (this.group ??= new Group());
    if (r.kind === "close end") {
      this.group = undefined;
      this.closeEnd(r, group, index);
      return;
    }
    if (!group.add(r.kind, line)) find("records/totals", "a line of a close stands out of order");
    const close = this.closes + 1;
    switch (r.kind) {
      case "close key": {
        const key = `${r.role} ${r.vkey}`;
        if (!this.keys.has(key)) find("records/totals", "a key is listed that is not enrolled");
        group.keys.add(key);
        break;
      }
      case "close node": {
        const n = this.node(r.node, index);
        n.state(r, find);
        n.listed = close;
        group.accepted.set(n, r.accepted);
        break;
      }
      case "close total": {
        const m = this.meter(r.meter, r.agg, index);
        if (m === undefined) break;
        m.state(r, find);
        m.listed = close;
      }
    }
  }

  private closeEnd(r: RecordOf<"close end">, group: Group, index: number): void {
    const find = (code: string, detail: string): void => this.report(code, detail, index);
    const wrong = (code: string, what: string, says: bigint, is: bigint): void => find(code, `${what} is stated as ${says}, the records give ${is}`);
    this.closes++;
    if (index % 2 !== 0) find("format/malformed", "close end has an odd index");
    if (base64(group.hash.digest()) !== r.group) find("records/totals", "GROUP is not the hash of the lines before");
    if (r.no !== this.no + 1n) wrong("records/sequence_gap", "NO", r.no, this.no + 1n);
    if (r.boots !== this.boots) wrong("records/totals", "BOOTS", r.boots, this.boots);
    if (r.serial !== this.serial) wrong("records/totals", "SERIAL", r.serial, this.serial);
    if (r.until % (this.window ?? 60n) !== 0n) find("records/window_gap", `UNTIL ${r.until} is no border of a window`);
    if (r.until < this.until) wrong("records/window_gap", "UNTIL", r.until, this.until);
    else if (r.until < this.usageTo) wrong("records/window_gap", "UNTIL", r.until, this.usageTo);
    for (const key of this.keys) if (!key.startsWith("site ") && !group.keys.has(key)) find("records/totals", "an enrolled key is not listed");
    for (const [name, m] of this.meters) {
      if (m.listed !== this.closes) find("records/totals", `the meter ${name} is not listed`);
      m.closed();
    }
    const due = this.endOfWindow(r.time > r.until ? r.time : r.until);
    for (const [name, n] of this.nodes) {
      if (n.listed !== this.closes) find("records/sequence_gap", `the node ${name} is not listed`);
      if (n.covered !== undefined && n.covered < r.until) find("records/window_gap", `${name} is covered up to ${n.covered}, not to ${r.until}`);
      n.closed(r.until, find);
      n.stated(group.accepted.get(n) ?? 0n, due);
    }
    this.no = r.no;
    this.boots = r.boots;
    this.serial = r.serial;
    this.until = r.until;
    this.usageTo = r.until;
    this.lastEnd = index;
    this.whole = true;
  }

  private node(name: string, index: number): Account {
    let n = this.nodes.get(name);
    if (n === undefined) {
      n = new Account(name);
      this.nodes.set(name, n);
      this.atMost("nodes", this.nodes.size, NODES_MAX, index);
    }
    return n;
  }

  /** meter gives the meter of a name; undefined: it has another aggregation. */
  private meter(name: string, agg: Meter["agg"], index: number): Meter | undefined {
    let m = this.meters.get(name);
    if (m === undefined) {
      m = new Meter(agg);
      this.meters.set(name, m);
      this.atMost("meters", this.meters.size, METERS_MAX, index);
    }
    if (m.agg === agg) return m;
    this.report("records/totals", `${name} is ${agg}, it was ${m.agg}`, index);
    return undefined;
  }

  private atMost(what: string, count: number, most: number, index: number): void {
    if (count <= most || this.tooMany.has(what)) return;
    this.tooMany.add(what);
    this.report("size/too_large", `more than ${most} ${what}`, index);
  }

  /** named are the roots that records name, but for what a restore explains. */
  named(): Claim[] {
    return [...this.claims.values()].filter((c) => !(this.restored && c.seen));
  }

  /** beyond is what nodes saw beyond the ledger. */
  beyond(): readonly { index: number; detail: string }[] {
    return this.ahead;
  }
}

/** oneWindow tells whether a cell is one window, of any length that windows may have. */
function oneWindow(r: { from: bigint; to: bigint }): boolean {
  const length = r.to - r.from;
  return isWindow(length) && r.from % length === 0n;
}
