// Verifies a usage report in one pass: the steps of docs/formats/report.md,
// "Checks, in this order".

import { Events, type Cell, type Users } from "./events";
import { base64, hex, unbase64, utf8 } from "./bytes";
import { Fold } from "./fold";
import * as keys from "./keys";
import { bindingOf, type Checkpoint, type Key, type Note } from "./keys";
import { Lines, type Source } from "./lines";
import { checkType, noteOf, readRawNote } from "./notes";
import { readRecord, type LedgerRecord, type RecordOf } from "./record";
import { Misspelt, need, Refusal, spelt } from "./refusal";
import { Sha256 } from "./sha256";
import * as s from "./spelling";
import { leafOf, onesOf, Tree, type Hash } from "./tree";
import { unwrap, type Wrapping } from "./unwrap";

export type Level = "standard" | "pseudonymous" | "detailed";
export type Verdict = "ok" | "explain" | "reject";

export interface Finding {
  readonly code: string;
  readonly verdict: Verdict;
  readonly record: number;
  readonly detail: string;
}

/** What is known before a report is verified. */
export interface ReportOptions {
  /** The keys on record: the site's, then site-pq's if one is enrolled. */
  readonly siteKeys?: readonly string[];
  /** Earlier keys of the site. */
  readonly rotatedKeys?: readonly string[];
  readonly origin?: string;
  readonly accepted?: readonly { readonly size: bigint; readonly root: string }[];
  readonly receiptKeys?: readonly string[];
  /** Take key and base from the file: nothing is said then about who made it. */
  readonly trustFile?: boolean;
  readonly sizeMax?: number;
  /** Is told how many bytes of text were read; the page stays alive meanwhile. */
  readonly progress?: (bytes: number) => Promise<void>;
}

export interface MeterTotal {
  readonly meter: string;
  readonly agg: s.Aggregation;
  /** Of the records of this report. */
  readonly count: bigint;
  readonly value: bigint | undefined;
  readonly adjusted: bigint;
  /** Since the ledger was opened. */
  readonly allCount: bigint;
  readonly allValue: bigint | undefined;
  readonly allAdjusted: bigint;
}

export interface Report {
  readonly kind: "report";
  readonly verdict: Verdict;
  /** Of the finding that decides; "-": none. */
  readonly code: string;
  readonly record: number;
  readonly duplicate: boolean;
  readonly findings: readonly Finding[];
  readonly origin: string;
  readonly level: Level;
  readonly base: Checkpoint;
  readonly baseProvenBy: "opening" | "accepted" | "receipt" | "file";
  readonly size: bigint;
  readonly root: string;
  readonly keys: readonly Key[];
  readonly newKeys: readonly Key[];
  readonly totals: readonly MeterTotal[];
  readonly nodes: readonly { readonly name: string; readonly counted: bigint; readonly covered: bigint | undefined }[];
  readonly kinds: ReadonlyMap<string, number>;
  readonly gaps: Fold["gaps"];
  readonly gapsAll: number;
  readonly from: bigint;
  readonly until: bigint;
  readonly closes: number;
  readonly final: boolean;
  readonly notChecked: readonly string[];
  readonly wrapping: Wrapping;
  readonly bytes: number;
  readonly sha256: string; // of the file
  readonly textSha256: string;
}

interface Head {
  readonly level: Level;
  readonly keys: Key[];
  readonly newKeys: Key[];
  readonly size: bigint;
  readonly root: string;
  readonly frontier: Hash[];
  readonly prev: string | undefined;
}

const SIZE_MAX = 1 << 30;
const FINDINGS_MAX = 100;
const ROLES = [["site"], ["site-pq"]] as const;

/** A File can be read from its beginning, more than once. */
export type File = () => Source;

export async function verifyReport(file: File, options: ReportOptions): Promise<Report> {
  return new Verifier(file, options).verify();
}

class Verifier {
  private readonly findings: Finding[] = [];
  private readonly notChecked = new Set<string>();
  private readonly accepted: ReadonlyMap<bigint, string>;
  private lines!: Lines;
  private fold!: Fold;
  private tree!: Tree;
  private base = 0;

  constructor(
    private readonly file: File,
    private readonly options: ReportOptions,
  ) {
    this.accepted = new Map((options.accepted ?? []).map((c) => [c.size, c.root]));
  }

  async verify(): Promise<Report> {
    try {
      return await this.steps();
    } catch (err) {
      throw this.placed(err);
    } finally {
      await this.lines?.close();
    }
  }

  /** placed says where a refusal came about, as far as one can say. */
  private placed(err: unknown): unknown {
    if (err instanceof Misspelt) err = new Refusal("format/malformed", err.message);
    if (!(err instanceof Refusal)) return err;
    if (err.line === 0 && this.lines !== undefined) err.line = this.lines.number;
    const first = this.findings[0];
    if (first !== undefined) {
      err.message += ` (the first record that does not fit what stands before it is ${first.record}: ${first.detail})`;
    }
    return err;
  }

  private find(code: string, detail: string, record: number): void {
    const verdict = code.startsWith("explain/") ? "explain" : "reject";
    if (this.findings.length < FINDINGS_MAX) this.findings.push({ code, verdict, record, detail });
  }

  private async steps(): Promise<Report> {
    const fileHash = new Sha256();
    const { wrapping, text } = await unwrap(this.file(), fileHash);
    const lines = (this.lines = new Lines(text, this.options.sizeMax ?? SIZE_MAX, (n) => this.options.progress?.(n) ?? Promise.resolve()));
    // 1, 2
    await checkType(lines, "report");
    const head = await readHead(lines);
    const old = head.size > 0n ? await readRawNote(lines) : undefined;
    const note = await readRawNote(lines);
    lines.body = true;
    const origin = this.checkKeys(head);
    // 3
    const signed = await this.checkNote(noteOf(note), head, origin);
    // 4, 5
    need(signed.size < 2n ** 52n, "size/too_large", "more records than this verifier counts");
    const base = await this.checkBase(head, old && noteOf(old), origin);
    await this.state(head);
    // 6, 7
    const users: Users = new Map();
    await this.records(head, signed, users);
    await this.end(signed);
    // 8, 9
    this.identity(head, signed, origin);
    need(base.by !== undefined, "history/base_missing", `the base of ${head.size} records is not known`);
    await this.compare(head, signed, base.receipt);
    const textHash = hex(lines.whole());
    return this.result(head, signed, base.by, {
      wrapping,
      bytes: lines.came,
      textSha256: textHash,
      sha256: hex(fileHash.digest()),
    });
  }

  private checkKeys(head: Head): string {
    const o = this.options;
    for (const [i, key] of head.keys.entries()) need(keys.isFor(key, ROLES[i]![0]), "key/unknown", `${key.name} is no key of a site`);
    const origin = head.keys[0]!.name;
    for (const key of [...head.keys, ...head.newKeys]) need(key.name === origin, "key/unknown", "keys of two ledgers");
    for (const key of head.newKeys) need(keys.isFor(key, "site") || keys.isFor(key, "site-pq"), "key/unknown", `${key.name} is no key of a site`);
    const [site, pq] = o.siteKeys ?? [];
    const expected = o.origin ?? (site === undefined ? undefined : spelt(() => keys.readKey(site)).name);
    if (site === undefined && o.trustFile !== true) {
      need(head.size === 0n && head.keys.length === 1, "key/unknown", "no key of the site is known, and this is no first report");
    }
    need(expected === undefined || expected === origin, "ledger/wrong_ledger", `this is a report of ${origin}`);
    if (site === undefined) return origin;
    const has = head.keys.map((k) => k.vkey);
    const brings = head.newKeys.map((k) => k.vkey);
    if (has[0] !== site) {
      need(o.rotatedKeys?.includes(has[0]!), "key/unknown", "the key of the report is not the site's");
      need(brings.includes(site), "key/rotated", "an earlier key of the site");
      return origin;
    }
    need(has[1] === undefined || has[1] === pq, "key/unknown", "the second key is not on record");
    need(pq === undefined || has[1] === pq || brings.includes(pq), "signature/invalid", "the second key of the site has not signed");
    return origin;
  }

  private async checkNote(note: Note, head: Head, origin: string): Promise<Checkpoint> {
    const c = spelt(() => keys.readCheckpoint(note.text));
    for (const key of [...head.keys, ...head.newKeys]) {
      const signed = await keys.signedBy(note, key);
      need(signed.good, "signature/invalid", `the checkpoint is not signed by ${key.name}+${key.id}`);
      if (!signed.checked) this.notChecked.add("ML-DSA signatures");
    }
    need(c.origin === origin, "format/malformed", "the checkpoint is of another origin");
    need(c.size > head.size, "format/malformed", "the new checkpoint is not above the old one");
    return c;
  }

  private async checkBase(head: Head, old: Note | undefined, origin: string): Promise<{ by: Report["baseProvenBy"] | undefined; receipt?: Uint8Array }> {
    this.base = Number(head.size);
    this.tree = new Tree(this.base, head.frontier.slice());
    this.fold = new Fold(origin, this.base, (code, detail, index) => this.find(code, detail, index));
    if (old === undefined || head.prev === undefined) return { by: "opening" };
    need(this.tree.root() === head.root, "proof/root_mismatch", "the frontier does not give the old root");
    need(base64(leafOf(utf8(head.prev))) === base64(head.frontier.at(-1)!), "proof/root_mismatch", "prev is not the last record of the base");
    const c = spelt(() => keys.readCheckpoint(old.text));
    need(c.origin === origin && c.size === head.size && c.root === head.root, "proof/root_mismatch", "the old note says otherwise");
    let receipt: Uint8Array | undefined;
    for (const vkey of this.options.receiptKeys ?? []) {
      const signed = await keys.signedBy(old, spelt(() => keys.readKey(vkey)));
      if (!signed.good) continue;
      if (signed.checked) receipt ??= signed.field;
      else this.notChecked.add("ML-DSA signatures");
    }
    const accepted = this.accepted.get(head.size);
    if (accepted !== undefined && accepted !== head.root) this.find("history/differs", `the base was accepted with the root ${accepted}`, this.base - 1);
    const by = accepted !== undefined ? "accepted" : receipt !== undefined ? "receipt" : this.options.trustFile === true ? "file" : undefined;
    return { by, ...(receipt && { receipt }) };
  }

  /** state reads the lines of the close that the base ends with. */
  private async state(head: Head): Promise<void> {
    const lines = this.lines;
    await lines.next();
    if (head.prev === undefined) return;
    const end = spelt(() => readRecord(head.prev!));
    need(end.kind === "close end", "format/malformed", "prev is no close end");
    const group = new Sha256();
    const state: string[] = [];
    for (let line = lines.line; line.startsWith("= "); line = await lines.next()) {
      group.update(utf8(line.slice(2) + "\n"));
      state.push(line.slice(2));
    }
    need(base64(group.digest()) === end.group, "proof/root_mismatch", "the state is not that of prev");
    const read = state.map((line) => spelt(() => readRecord(line), "proof/root_mismatch"));
    this.fold.fromBase(end, read);
  }

  private async records(head: Head, signed: Checkpoint, users: Users): Promise<void> {
    const { lines, tree, fold } = this;
    const last = Number(signed.size);
    let line = lines.line;
    while (!line.startsWith("end ")) {
      need(line !== "" && line[0] !== ">", "format/malformed", "an empty line, or an event of no record");
      need(tree.size < last, "proof/root_mismatch", "there are more records than were signed");
      need(line[0] !== " " && line[0] !== "=", "format/malformed", "a line that is no record");
      const index = tree.size;
      tree.append(leafOf(lines.bytes, lines.start, lines.end));
      const r = fold.add(line, index);
      if (this.accepted.size > 0) this.atAccepted(tree, last);
      line = lines.take() ?? (await lines.next());
      if (line.startsWith(">")) line = await this.events(head.level, r, index, users);
    }
  }

  private atAccepted(tree: Tree, last: number): void {
    const accepted = this.accepted.get(BigInt(tree.size));
    if (accepted === undefined || accepted === tree.root()) return;
    const code = tree.size === last ? "history/fork" : "history/differs";
    this.find(code, `at ${tree.size} records another root was accepted`, tree.size - 1);
  }

  private async events(level: Level, r: LedgerRecord | undefined, index: number, users: Users): Promise<string> {
    const lines = this.lines;
    need(level !== "standard", "format/malformed", "a standard report has no events");
    if (r?.kind === "boot") return this.bindings(level, r);
    need(r !== undefined && isCell(r), "format/malformed", "events of a record that has none");
    const events = new Events(r, users);
    let line = lines.line;
    while (line.startsWith(">")) {
      need(line.startsWith("> "), "format/malformed", "a private line of no event");
      events.event(line.slice(2));
      line = lines.take() ?? (await lines.next());
      if (line.startsWith(">> ")) {
        need(level === "detailed", "format/malformed", "a private line in a report that is not detailed");
        events.opened(line.slice(3));
        line = lines.take() ?? (await lines.next());
      }
      need(level !== "detailed" || events.closed, "format/malformed", "an event without its private line");
    }
    need(line !== "", "format/malformed", "an empty line");
    const all = events.end((code, detail) => this.find(code, detail, index));
    if (!all) this.notChecked.add(`the events of record ${index}: they are too many`);
    return line;
  }

  private async bindings(level: Level, r: RecordOf<"boot">): Promise<string> {
    const line = this.lines.line;
    need(level === "detailed" && line.startsWith(">> - "), "format/malformed", "bindings in a report that is not detailed");
    const values = spelt(() => s.attributes(line.slice(5).split(" ")));
    for (const [component, raw] of values) {
      const good = bindingOf(this.fold.name, component, raw) === r.attributes.get("bind." + component);
      need(good, "proof/root_mismatch", `the value of ${component} is not the one that was signed`);
    }
    return this.lines.next();
  }

  private async end(signed: Checkpoint): Promise<void> {
    const lines = this.lines;
    const digest = base64(lines.before());
    const [size, stated, ...more] = lines.line.slice(4).split(" ");
    need(more.length === 0 && stated !== undefined, "format/malformed", "no end line");
    const says = spelt(() => ({ size: s.uint(size!), hash: s.hash(stated) }));
    need(await lines.ended(), "format/malformed", "something follows the end");
    const whole = BigInt(this.tree.size) === signed.size && this.tree.root() === signed.root;
    need(whole, "proof/root_mismatch", "the records do not give what the site has signed");
    need(says.size === signed.size && says.hash === digest, "proof/root_mismatch", "the end line is not that of this text");
  }

  private identity(head: Head, signed: Checkpoint, origin: string): void {
    const { fold } = this;
    if (head.size === 0n) {
      const r = fold.opened;
      const good = r !== undefined && r.key.vkey === head.keys[0]!.vkey && r.origin === origin && keys.originOf(origin, r.key, r.nonce) === origin;
      need(good, "key/unknown", "the ledger was not opened by the key of the report");
    }
    const has = new Set(head.keys.map((k) => k.vkey));
    const brings = new Set(head.newKeys.map((k) => k.vkey));
    const added = new Set(fold.added);
    const good = [...brings].every((k) => added.has(k)) && [...added].every((k) => brings.has(k) || has.has(k));
    if (!good) this.find("format/malformed", "the new-key lines are not the keys that records enrol", Number(signed.size) - 1);
  }

  /** compare holds the roots that records name against those that are known. */
  private async compare(head: Head, signed: Checkpoint, receipt: Uint8Array | undefined): Promise<void> {
    const fold = this.fold;
    const last = Number(signed.size);
    for (const a of fold.beyond()) this.find("history/witness_ahead", a.detail, a.index);
    this.findings.sort((a, b) => a.record - b.record); // where they would have come
    const roots = new Map(this.accepted);
    roots.set(0n, new Tree().root()).set(head.size, head.root).set(signed.size, signed.root);
    const named = fold.named();
    await this.rootsAt(head, named.map((c) => c.size), roots); // prettier-ignore
    for (const c of named) {
      const root = roots.get(c.size);
      if (root === undefined) roots.set(c.size, c.root);
      else if (root !== c.root) this.find(c.code, `another root of ${c.size} records than ${root}`, c.index);
    }
    let given = false;
    for (const { index, r } of fold.receipts) {
      if (r.size !== head.size) continue;
      given = true;
      const good = receipt === undefined || (r.vtime === keys.timeOf(receipt) && r.digest === keys.digestOf(receipt));
      if (!good) this.find("history/differs", "another receipt than the one on the old note", index);
    }
    if (!fold.whole) this.find("format/malformed", "the last record is neither close end nor retire", last - 1);
    let newest = 0n;
    for (const size of this.accepted.keys()) if (size > newest) newest = size;
    if (signed.size <= newest && !this.accepted.has(signed.size)) this.find("history/rolled_back", `${newest} records were accepted`, last - 1);
    if (receipt !== undefined && !given) this.find("explain/receipt_missing", "no record of the receipt of the base", this.base);
  }

  /** rootsAt reads the file again for the roots of sizes within the report. */
  private async rootsAt(head: Head, sizes: readonly bigint[], roots: Map<bigint, string>): Promise<void> {
    const wanted = new Set(sizes.filter((n) => n > head.size && !roots.has(n) && n <= BigInt(this.tree.size)).map(Number));
    if (wanted.size === 0) return;
    const { text } = await unwrap(this.file(), new Sha256());
    const lines = new Lines(text, this.options.sizeMax ?? SIZE_MAX, (n) => this.options.progress?.(n) ?? Promise.resolve());
    try {
      while (!(await lines.next()).startsWith("old "));
      for (let notes = head.size > 0n ? 5 : 3; notes > 0; ) if ((await lines.next()) === "") notes--;
      lines.body = true;
      const tree = new Tree(this.base, head.frontier.slice());
      for (let line = await lines.next(); !line.startsWith("end ") && wanted.size > 0; line = lines.take() ?? (await lines.next())) {
        if (line.startsWith("=") || line.startsWith(">")) continue;
        tree.append(leafOf(lines.bytes, lines.start, lines.end));
        if (wanted.delete(tree.size)) roots.set(BigInt(tree.size), tree.root());
      }
    } finally {
      await lines.close();
    }
  }

  private result(head: Head, signed: Checkpoint, by: Report["baseProvenBy"], file: Pick<Report, "wrapping" | "bytes" | "sha256" | "textSha256">): Report {
    const { fold, findings } = this;
    const decides = findings.find((f) => f.verdict === "reject") ?? findings[0];
    const totals = [...fold.meters].map(([meter, m]) => ({
      meter,
      agg: m.agg,
      count: m.read.count,
      value: m.agg === "unique" ? undefined : m.read.value,
      adjusted: m.read.dvalue,
      allCount: m.all.count,
      allValue: m.agg === "unique" ? undefined : m.all.value,
      allAdjusted: m.all.dvalue,
    }));
    return {
      kind: "report",
      verdict: decides?.verdict ?? "ok",
      code: decides?.code ?? "-",
      record: decides?.record ?? -1,
      duplicate: this.accepted.get(signed.size) === signed.root,
      findings,
      origin: signed.origin,
      level: head.level,
      base: { origin: signed.origin, size: head.size, root: head.root },
      baseProvenBy: by,
      size: signed.size,
      root: signed.root,
      keys: head.keys,
      newKeys: head.newKeys,
      totals: totals.sort((a, b) => (a.meter < b.meter ? -1 : 1)),
      nodes: [...fold.nodes.values()].map(({ name, counted, covered }) => ({ name, counted, covered })),
      kinds: fold.kinds,
      gaps: fold.gaps,
      gapsAll: fold.gapsAll,
      from: fold.from,
      until: fold.until,
      closes: fold.closes,
      final: fold.retired,
      notChecked: [...this.notChecked],
      ...file,
    };
  }
}

const isCell = (r: LedgerRecord): r is Cell => r.kind === "usage" || r.kind === "late" || r.kind === "adjust" || r.kind === "seat";

async function readHead(lines: Lines): Promise<Head> {
  const field = (name: string): string => {
    need(lines.line.startsWith(name + " "), "format/malformed", `the head has no ${name} where it is due`);
    return lines.line.slice(name.length + 1);
  };
  await lines.next();
  const level = spelt(() => s.oneOf("standard", "pseudonymous", "detailed")(field("level")));
  const list = async (name: string, least: number): Promise<Key[]> => {
    const out: Key[] = [];
    while (out.length < least || (out.length < 2 && lines.line.startsWith(name + " "))) {
      out.push(spelt(() => keys.readKey(field(name))));
      await lines.next();
    }
    return out;
  };
  await lines.next();
  const own = await list("key", 1);
  const brought = await list("new-key", 0);
  const [n, root, ...more] = field("old").split(" ");
  need(root !== undefined && more.length === 0, "format/malformed", "no old line");
  const size = spelt(() => s.uint(n!));
  spelt(() => s.hash(root));
  need(size > 0n || root === new Tree().root(), "format/malformed", "the root of nothing is another");
  need(size < 2n ** 52n, "size/too_large", "more records than this verifier counts");
  const frontier: Hash[] = [];
  for (let ones = onesOf(size); ones > 0; ones--) {
    const line = await lines.next();
    frontier.push(unbase64(spelt(() => s.hash(line)))!);
  }
  await lines.next();
  let prev: string | undefined;
  if (size > 0n) {
    prev = field("prev");
    await lines.next();
  }
  need(lines.line === "", "format/malformed", "a line that the head does not have");
  return { level, keys: own, newKeys: brought, size, root, frontier, prev };
}
