// Verifies a reply: docs/formats/reply.md, "Checks, in this order".

import { base64, hex } from "./bytes";
import * as keys from "./keys";
import type { Checkpoint, Key, Note } from "./keys";
import { Lines } from "./lines";
import { checkType, noteOf, Ordered, readRawNote, words, type RawNote } from "./notes";
import { Misspelt, need, Refusal, spelt } from "./refusal";
import type { File } from "./report";
import * as s from "./spelling";
import { EMPTY_ROOT } from "./tree";

export const REPLY_MAX = 1 << 20;
const RECEIPT_MAX = 64 << 10;
const NOTE_MAX = 256 << 10;

export interface ReplyOptions {
  readonly origin?: string;
  /** Keys that must have signed the receipt's checkpoint; none: it is not asked. */
  readonly siteKeys?: readonly string[];
  readonly receiptKeys?: readonly string[];
  readonly replyKeys?: readonly string[];
  /** The site's own tree, as far as known: its size, and roots. */
  readonly tree?: { readonly size: bigint; readonly roots: readonly { readonly size: bigint; readonly root: string }[] };
}

interface Size {
  readonly size: bigint;
  readonly root: string;
}

export interface Acceptance {
  readonly origin: string;
  readonly report: string;
  readonly base: Size;
  readonly accepted: Size;
  readonly from: bigint;
  readonly until: bigint;
  readonly totals: readonly { readonly meter: string; readonly agg: s.Aggregation; readonly count: bigint; readonly value: bigint; readonly dvalue: bigint }[];
  readonly findings: readonly { readonly code: string; readonly record: bigint }[];
  readonly verdict: "ok" | "explain";
  readonly license: bigint | "pending" | "none";
  readonly nextReportBy: bigint | undefined;
  readonly reference: string | undefined;
  readonly final: boolean;
  readonly issued: bigint;
  readonly extra: readonly (readonly [string, string])[];
}

export interface Rejection {
  readonly origin: string | undefined;
  readonly report: string;
  readonly code: string;
  readonly fixBy: string;
  readonly record: bigint | undefined;
  readonly line: bigint | undefined;
  readonly last: Size | undefined;
  readonly message: string;
  readonly how: string;
  readonly issued: bigint;
  readonly extra: readonly (readonly [string, string])[];
}

const PARTS = ["receipt", "acceptance", "license", "rejection"] as const;
type Part = (typeof PARTS)[number];

export interface Reply {
  readonly kind: "reply";
  readonly origin: string;
  readonly report: string | undefined;
  readonly result: "accepted" | "refresh" | "rejected";
  readonly checkpoint: Checkpoint | undefined;
  readonly acceptance: Acceptance | undefined;
  readonly rejection: Rejection | undefined;
  /** The license, as its own note. */
  readonly license: Note | undefined;
  /** Keys whose signatures held, with the time of a receipt. */
  readonly signedBy: readonly { readonly key: Key; readonly time: bigint | undefined }[];
  readonly notChecked: readonly string[];
  readonly sha256: string;
}

export async function verifyReply(file: File, options: ReplyOptions): Promise<Reply> {
  const lines = new Lines(file(), REPLY_MAX, undefined, Infinity);
  try {
    return await new Verifier(lines, options).verify();
  } catch (err) {
    if (err instanceof Misspelt) err = new Refusal("format/malformed", err.message);
    if (err instanceof Refusal && err.line === 0) err.line = lines.number;
    throw err;
  } finally {
    await lines.close();
  }
}

class Verifier {
  private readonly notes = new Map<Part, Note>();
  private readonly signedBy: { key: Key; time: bigint | undefined }[] = [];
  private readonly notChecked = new Set<string>();

  constructor(
    private readonly lines: Lines,
    private readonly options: ReplyOptions,
  ) {}

  async verify(): Promise<Reply> {
    const { lines, notes } = this;
    // 1
    await checkType(lines, "reply");
    const field = async <T>(name: string, read: s.Read<T>): Promise<T> => {
      const line = await lines.next();
      return spelt(() => (line.startsWith(name + " ") ? read(line.slice(name.length + 1)) : s.fail(`${name} line`, line)));
    };
    const origin = await field("origin", keys.origin);
    const report = await field("report", s.orDash(s.hash));
    const result = await field("result", s.oneOf("accepted", "refresh", "rejected"));
    need((await lines.next()) === "", "format/malformed", "no empty line before the parts");
    const raw = await this.parts();
    const digest = base64(lines.before());
    const stated = spelt(() => s.hash(lines.line.slice(4)));
    need(await lines.ended(), "format/malformed", "something follows the end");
    need(stated === digest, "format/malformed", "the end line is not that of this text");
    // 2
    for (const [part, note] of raw) notes.set(part, noteOf(note));
    const has = [...notes.keys()].join(" ");
    const wanted = { accepted: ["receipt acceptance", "receipt acceptance license"], refresh: ["license"], rejected: ["rejection"] }[result];
    need(wanted.includes(has), "format/malformed", `the parts are not those of ${result}`);
    need((report === undefined) === (result === "refresh"), "format/malformed", "the label of the report");
    const receipt = notes.get("receipt");
    const checkpoint = receipt && spelt(() => keys.readCheckpoint(receipt.text));
    const accepted = notes.get("acceptance");
    const acceptance = accepted && spelt(() => readAcceptance(accepted.text));
    const rejected = notes.get("rejection");
    const rejection = rejected && spelt(() => readRejection(rejected.text));
    this.labels(origin, report, checkpoint, acceptance, rejection);
    // 3
    need(this.options.origin === undefined || this.options.origin === origin, "ledger/wrong_ledger", `this is a reply for ${origin}`);
    // 4
    if (receipt !== undefined && checkpoint !== undefined) await this.receipt(receipt, checkpoint);
    // 5, 6
    if (accepted !== undefined && acceptance !== undefined && checkpoint !== undefined) {
      await this.byReplyKey(accepted);
      const same = acceptance.accepted.size === checkpoint.size && acceptance.accepted.root === checkpoint.root;
      need(same, "proof/root_mismatch", "the acceptance is of another checkpoint than the receipt");
    }
    if (rejected !== undefined) await this.byReplyKey(rejected);
    return {
      kind: "reply",
      origin,
      report,
      result,
      checkpoint,
      acceptance,
      rejection,
      license: notes.get("license"),
      signedBy: this.signedBy,
      notChecked: [...this.notChecked],
      sha256: hex(lines.whole()),
    };
  }

  private async parts(): Promise<Map<Part, RawNote>> {
    const lines = this.lines;
    const raw = new Map<Part, RawNote>();
    let last = -1;
    await lines.next();
    while (!lines.line.startsWith("end ")) {
      const at = PARTS.findIndex((p) => lines.line === `part ${p}`);
      need(at > last, "format/malformed", "no part, or one out of order");
      last = at;
      const part = PARTS[at]!;
      const begin = lines.offset;
      const note = await readRawNote(lines);
      need(lines.offset - begin <= (part === "receipt" ? RECEIPT_MAX : NOTE_MAX), "size/too_large", `the ${part} is too large`);
      raw.set(part, note);
      await lines.next();
    }
    need(raw.size > 0, "format/malformed", "no part");
    return raw;
  }

  private labels(origin: string, report: string | undefined, checkpoint: Checkpoint | undefined, acceptance: Acceptance | undefined, rejection: Rejection | undefined): void {
    const same = (what: string, is: unknown, label: unknown): void => need(is === label, "format/malformed", `${what} is not that of the label`);
    if (checkpoint !== undefined) same("origin of the receipt", checkpoint.origin, origin);
    for (const note of [acceptance, rejection]) {
      if (note === undefined) continue;
      same("origin", note.origin, origin);
      same("report", note.report, report);
    }
    const license = this.notes.get("license");
    if (license !== undefined) need(license.text.startsWith("meterseal-license/v"), "format/malformed", "the part license is none");
    if (license !== undefined) same("site of the license", valueOf(license, "site"), origin);
    if (acceptance === undefined) return;
    const serial = typeof acceptance.license === "bigint" ? acceptance.license.toString() : undefined;
    need((serial !== undefined) === (license !== undefined), "format/malformed", "the acceptance names a license that is not there, or none where one is");
    if (license !== undefined) need(valueOf(license, "serial") === serial, "format/malformed", "the license has another serial than the acceptance says");
  }

  private async receipt(note: Note, checkpoint: Checkpoint): Promise<void> {
    const o = this.options;
    for (const vkey of o.siteKeys ?? []) {
      const key = spelt(() => keys.readKey(vkey));
      const signed = await keys.signedBy(note, key);
      need(signed.good, "signature/invalid", `the site has not signed the receipt's checkpoint: ${key.name}`);
      this.held(key, signed, undefined);
    }
    await this.oneOf(note, o.receiptKeys ?? [], "receipt", "receipt-pq");
    if (o.tree === undefined) return;
    need(checkpoint.size <= o.tree.size, "ledger_behind_pin", `the receipt is of ${checkpoint.size} records, the site has ${o.tree.size}`);
    const root = o.tree.roots.find((r) => r.size === checkpoint.size)?.root;
    need(root === checkpoint.root, "ledger_off_pin", "the site has another root at that size");
  }

  private byReplyKey(note: Note): Promise<void> {
    return this.oneOf(note, this.options.replyKeys ?? [], "reply");
  }

  /** oneOf asks that one key of a role has signed; the first role is the one that counts. */
  private async oneOf(note: Note, vkeys: readonly string[], role: keys.Role, also?: keys.Role): Promise<void> {
    const known = vkeys.map((v) => spelt(() => keys.readKey(v)));
    need(known.some((k) => keys.isFor(k, role)), "key/unknown", `no ${role} key of the vendor is known`); // prettier-ignore
    let good = false;
    for (const key of known) {
      if (!keys.isFor(key, role) && (also === undefined || !keys.isFor(key, also))) continue;
      const signed = await keys.signedBy(note, key);
      if (!signed.good) continue;
      good ||= keys.isFor(key, role);
      this.held(key, signed, role === "receipt" && signed.field !== undefined ? keys.timeOf(signed.field) : undefined);
    }
    need(good, "signature/invalid", `it is not signed by a ${role} key of the vendor that is known`);
  }

  private held(key: Key, signed: keys.Signed, time: bigint | undefined): void {
    if (signed.checked) this.signedBy.push({ key, time });
    else this.notChecked.add("ML-DSA signatures");
  }
}

/** valueOf is the value of the first line of a keyword; undefined: there is none. */
function valueOf(note: Note, keyword: string): string | undefined {
  return note.text
    .split("\n")
    .find((l) => l.startsWith(keyword + " "))
    ?.slice(keyword.length + 1);
}

const finding = s.matching(/^[a-z][a-z0-9_]*\/[a-z][a-z0-9_]*$/, "code");
const yesNo = (text: string): boolean => s.oneOf("yes", "no")(text) === "yes";

const sized = words(2, ([size, root]): Size => {
  const out = { size: s.uint(size!), root: s.hash(root!) };
  return out.size > 0n || out.root === EMPTY_ROOT ? out : s.fail("root of nothing", root!);
});

function version(line: string, name: string): void {
  const type = `meterseal-${name}/v`;
  if (!line.startsWith(type)) s.fail(name, line);
  const n = s.uint(line.slice(type.length));
  need(n <= 1n, "version/too_new", `version ${n} of the ${name}`);
  need(n >= 1n, "version/too_old", `version ${n} of the ${name}`);
}

function readAcceptance(text: string): Acceptance {
  const lines = new Ordered(text);
  version(lines.first(), "acceptance");
  const origin = lines.one("origin", keys.origin);
  const report = lines.one("report", s.hash);
  const base = lines.one("base", sized);
  const accepted = lines.one("accepted", sized);
  if (accepted.size <= base.size) s.fail("size above that of the base", accepted.size.toString());
  const [from, until] = lines.one("period", words(2, (f) => [s.date(f[0]!), s.date(f[1]!)] as const)); // prettier-ignore
  const totals = lines.many(
    "total",
    words(5, (f) => ({ meter: s.meter(f[0]!), agg: s.aggregation(f[1]!), count: s.uint(f[2]!), value: s.uint(f[3]!), dvalue: s.int(f[4]!) })),
  );
  if (totals.length > 1024) s.fail("list of at most 1,024 totals", `${totals.length}`);
  for (const [i, t] of totals.entries()) if (i > 0 && t.meter <= totals[i - 1]!.meter) s.fail("meter in its order", t.meter);
  const findings = lines.many("finding", words(2, (f) => ({ code: finding(f[0]!), record: s.uint(f[1]!) })), false); // prettier-ignore
  if (findings.length > 100) s.fail("list of at most 100 findings", `${findings.length}`);
  const verdict = lines.one("verdict", s.oneOf("ok", "explain"));
  if ((verdict === "explain") !== findings.length > 0) s.fail("verdict for these findings", verdict);
  const license = lines.one("license", (t) => (t === "pending" || t === "none" ? t : s.uint(t)));
  if (license === 0n) s.fail("serial of a license", "0");
  const nextReportBy = lines.maybe("next-report-by", s.date);
  const reference = lines.maybe("reference", s.text);
  const final = lines.one("final", yesNo);
  const issued = lines.one("issued", s.date);
  const extra = lines.extra(s.text);
  lines.end();
  return { origin, report, base, accepted, from, until, totals, findings, verdict, license, nextReportBy, reference, final, issued, extra };
}

function readRejection(text: string): Rejection {
  const lines = new Ordered(text);
  version(lines.first(), "rejection");
  const origin = lines.one("origin", s.orDash(keys.origin));
  const report = lines.one("report", s.hash);
  const code = lines.one("code", finding);
  const fixBy = lines.one("fix-by", s.oneOf("site", "courier", "vendor"));
  const record = lines.one("record", s.orDash(s.uint));
  const line = lines.one("line", s.orDash(s.uint));
  if (line === 0n) s.fail("number of a line", "0");
  const last = lines.one("last", (t) => (t === "- -" ? undefined : sized(t)));
  const message = lines.one("message", s.text);
  const how = lines.one("how", s.text);
  const issued = lines.one("issued", s.date);
  const extra = lines.extra(s.text);
  lines.end();
  return { origin, report, code, fixBy, record, line, last, message, how, issued, extra };
}
