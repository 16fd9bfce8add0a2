// Verifies a license: docs/formats/license.md.

import { concat, hex, unbase64, utf8 } from "./bytes";
import * as keys from "./keys";
import type { Key, Note, Signature } from "./keys";
import { DASH } from "./keys";
import { Ordered, words } from "./notes";
import { Misspelt, need, Refusal } from "./refusal";
import type { File } from "./report";
import { sha256 } from "./sha256";
import * as s from "./spelling";
import { EMPTY_ROOT } from "./tree";

const NOTE_MAX = 256 << 10;
const LINE_MAX = 4096;
const INVALID = "license_invalid";

export interface LicenseOptions {
  /** License keys of the vendor. */
  readonly licenseKeys?: readonly string[];
  /** Take the key from the file: nothing is said then about who made it. */
  readonly trustFile?: boolean;
}

/** A License is its lines, in the order in which they stand. */
export interface License {
  readonly kind: "license";
  readonly id: string;
  readonly serial: bigint;
  readonly lines: readonly (readonly [keyword: string, value: string])[];
  readonly site: string | undefined;
  readonly siteKeys: readonly Key[];
  readonly checkpoint: { readonly size: bigint; readonly root: string };
  readonly receiptKeys: readonly Key[];
  readonly replyKeys: readonly Key[];
  /** The key whose signature held; undefined: no license key is known. */
  readonly signedBy: Key | undefined;
  readonly signatures: readonly Signature[];
  readonly sha256: string;
}

/** verifyLicense verifies a license, or the key that has one in a line. */
export async function verifyLicense(file: File, options: LicenseOptions): Promise<License> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of file()) {
    size += chunk.length;
    need(size <= 2 * NOTE_MAX, INVALID, "it is larger than any license");
    chunks.push(chunk);
  }
  return verifyNote(concat(...chunks), options);
}

async function verifyNote(bytes: Uint8Array, options: LicenseOptions): Promise<License> {
  if (/^ms[0-9]+\./.test(latin(bytes.subarray(0, 16)))) bytes = unpackKey(latin(bytes).replace(/\n$/, ""));
  const { note, lines } = split(bytes);
  let license;
  try {
    license = readLicense(note.text, lines);
  } catch (err) {
    if (err instanceof Misspelt) throw new Refusal(INVALID, err.message);
    throw err;
  }
  const signedBy = await signer(note, options);
  return { ...license, signedBy, signatures: note.signatures, sha256: hex(sha256(bytes)) };
}

/** signer asks for exactly one signature by a license key that is known. */
async function signer(note: Note, options: LicenseOptions): Promise<Key | undefined> {
  const known = (options.licenseKeys ?? []).map((v) => keys.readKey(v)).filter((k) => keys.isFor(k, "license"));
  if (known.length === 0 && options.trustFile === true) return undefined;
  const named = known.filter((k) => note.signatures.some((x) => x.name === k.name && x.id === k.id));
  need(named.length === 1, INVALID, "it is not signed by a license key of the vendor that is known");
  const signed = await keys.signedBy(note, named[0]!);
  need(signed.good, INVALID, "the signature does not fit the text");
  return named[0]!;
}

const latin = (bytes: Uint8Array): string => {
  let out = "";
  for (let i = 0; i < bytes.length; i += 4096) out += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return out;
};

/** unpackKey gives the note of a key: ms1.BASE64URL.CHECKSUM */
export function unpackKey(text: string): Uint8Array {
  const [type, coded, sum, ...more] = text.split(".");
  need(type !== undefined && /^ms[0-9]+$/.test(type), "not_a_license", "this is no license key");
  need(type === "ms1", "upgrade_needed", `a license key of the kind ${type}`);
  const cut = "the checksum does not fit: it was cut or mistyped";
  need(coded !== undefined && sum !== undefined && more.length === 0 && /^[A-Za-z0-9_-]+$/.test(coded), "license_key_cut", cut);
  const padded = coded.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat((4 - (coded.length % 4)) % 4);
  const note = unbase64(padded);
  need(note !== undefined && hex(sha256(note)).slice(0, 8) === sum, "license_key_cut", cut);
  return note;
}

const TYPE = "meterseal-license/v";

/** split reads caps, first line and signature lines. */
function split(bytes: Uint8Array): { note: Note; lines: string[] } {
  const begin = latin(bytes.subarray(0, 256));
  need(begin.startsWith(TYPE), "not_a_license", "this is no license");
  need(bytes.length <= NOTE_MAX, INVALID, "it is larger than 256 KiB");
  const first = begin.split("\n", 1)[0]!;
  const version = first.slice(TYPE.length);
  need(!version.includes("\r"), INVALID, "the line ends were changed on the way");
  need(version === "1", "upgrade_needed", `version ${version.slice(0, 20)} of the license`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new Refusal(INVALID, "signs that no license has");
  }
  need(text.endsWith("\n"), INVALID, "it ends within a line");
  const all = text.slice(0, -1).split("\n");
  const empty = all.indexOf("");
  need(empty > 0, INVALID, "no empty line before the signatures");
  const lines = all.slice(0, empty);
  for (const line of all) need(utf8(line).length <= LINE_MAX, INVALID, "a line is longer than 4,096 bytes");
  for (const line of lines) need(/^[ -~]+$/.test(line), INVALID, "signs that no license has");
  const signed = all.slice(empty + 1);
  need(signed.length >= 1 && signed.length <= 16, INVALID, "1 to 16 signature lines");
  const signatures = signed.map((line) => {
    try {
      need(/^[ -~]*$/.test(line.slice(DASH.length)), INVALID, "signs that no license has");
      return keys.readSignature(line);
    } catch (err) {
      if (err instanceof Misspelt) throw new Refusal(INVALID, err.message);
      throw err;
    }
  });
  return { note: { text: lines.join("\n") + "\n", signatures }, lines };
}

const KEYWORDS = new Set(
  (
    "id serial solution-name product-line type trial licensee issued start end grace report-by report-every report-grace contract-end term " +
    "maintenance-end enforcement outage activate-by suspended feature meter limit credit seats reserve nodes bind match-rate vm allow-offline " +
    "codes max-activations transfers max-term rulebook min-version site site-key checkpoint receipt-key reply-key next-license-key revoked seal-to note"
  ).split(" "),
);

const yesNo = s.oneOf("yes", "no");
const positive = (text: string): bigint => (text === "0" ? s.fail("number above 0", text) : s.uint(text));
const orWord =
  <T>(word: string, read: s.Read<T>): s.Read<T | undefined> =>
  (text) =>
    text === word ? undefined : read(text);
const upTo =
  (most: bigint): s.Read<bigint> =>
  (text) => {
    const n = s.uint(text);
    return n <= most ? n : s.fail(`number up to ${most}`, text);
  };

function readLicense(text: string, all: readonly string[]): Omit<License, "signedBy" | "signatures" | "sha256"> {
  for (const line of all.slice(1)) {
    const keyword = line.split(" ", 1)[0]!;
    if (!KEYWORDS.has(keyword) && !keyword.startsWith("x-")) throw new Refusal("upgrade_needed", `a line that this verifier does not know: ${keyword}`);
  }
  const lines = new Ordered(text);
  lines.first();
  const id = lines.one("id", s.id);
  const serial = lines.one("serial", s.uint);
  lines.one("solution-name", s.text);
  lines.maybe("product-line", s.name);
  dates(lines);
  terms(lines);
  lines.many("bind", words(2, (f) => [s.name(f[0]!), s.hexOf(32)(f[1]!)])); // prettier-ignore
  lines.one("match-rate", upTo(100n));
  lines.one("vm", s.oneOf("allow", "deny"));
  lines.one("allow-offline", yesNo);
  lines.one("codes", yesNo);
  lines.one("max-activations", orWord("unlimited", s.uint));
  lines.one("transfers", (t) => (t === "none" || t === "unlimited" ? t : positive(t)));
  lines.one("max-term", s.span);
  lines.maybe("rulebook", s.value);
  lines.maybe("min-version", s.name);
  const bound = site(lines, serial);
  const receiptKeys = lines.many("receipt-key", (t) => keys.readKey(t, "receipt", "receipt-pq"));
  const replyKeys = lines.many("reply-key", (t) => keys.readKey(t, "reply"));
  if (receiptKeys.length === 0 || replyKeys.length === 0) s.fail("license with receipt and reply keys", "none");
  lines.many("next-license-key", (t) => keys.readKey(t, "license"));
  lines.many("revoked", words(2, (f) => s.oneOf("id", "key")(f[0]!) === "id" ? s.id(s.value(f[1]!)) : keys.readKey(s.value(f[1]!)))); // prettier-ignore
  lines.many("seal-to", s.value);
  lines.extra(s.text);
  lines.maybe("note", s.text);
  lines.end();
  const shown = all.slice(1).map((l) => [l.slice(0, l.indexOf(" ")), l.slice(l.indexOf(" ") + 1)] as const);
  return { kind: "license", id, serial, lines: shown, ...bound, receiptKeys, replyKeys };
}

function dates(lines: Ordered): void {
  const type = lines.one("type", s.oneOf("perpetual", "time-limited", "subscription", "consumption"));
  const trial = lines.one("trial", yesNo) === "yes";
  lines.one("licensee", s.text);
  lines.one("issued", s.date);
  lines.one("start", s.date);
  const end = lines.one("end", orWord("never", s.date));
  if (type === "perpetual" && !trial && end !== undefined) s.fail("end of a perpetual license", "a date");
  if ((type === "time-limited" || type === "subscription" || trial) && end === undefined) s.fail(`end of a ${type} license`, "never");
  lines.one("grace", s.span);
  const by = lines.maybe("report-by", s.date);
  const every = lines.maybe("report-every", (t) => (t === "monthly" || t === "annual" ? 1n : s.span(t)));
  if (every === 0n || (every !== undefined && by === undefined)) s.fail("report-every of this license", "it");
  lines.one("report-grace", s.span);
  lines.maybe("contract-end", s.date);
  lines.maybe("term", s.span);
  lines.maybe("maintenance-end", s.date);
  lines.one("enforcement", s.oneOf("advisory", "soft", "hard"));
  lines.one("outage", s.span);
  lines.one("activate-by", s.span);
  lines.maybe("suspended", s.oneOf("yes"));
}

function terms(lines: Ordered): void {
  const features = new Set(lines.many("feature", s.name));
  const meters = new Set<string>();
  const meter = words(6, (f) => {
    [s.aggregation(f[1]!), s.name(f[2]!), upTo(9n)(f[3]!), yesNo(f[4]!), s.span(f[5]!)];
    return s.meter(f[0]!);
  });
  for (const m of lines.many("meter", meter)) once(meters, m);
  const limits = new Set<string>();
  const limit = words(5, (f) => {
    const kind = s.oneOf("meter", "feature")(f[0]!);
    [s.uint(f[2]!), f[3] === "none" || f[3] === "unlimited" || positive(f[3]!), s.oneOf("none", "daily", "weekly", "monthly", "annual")(f[4]!)];
    if (!(kind === "meter" ? meters : features).has(f[1]!)) s.fail(`${kind} of this license`, f[1]!);
    return `${kind} ${f[1]}`;
  });
  for (const l of lines.many("limit", limit)) once(limits, l);
  lines.many("credit", words(3, (f) => [meters.has(f[0]!) || s.fail("meter of this license", f[0]!), s.date(f[1]!), s.uint(f[2]!)])); // prettier-ignore
  const pools = new Set<string>();
  const seats = words(8, (f) => {
    [s.uint(f[1]!), s.uint(f[2]!), s.span(f[3]!), s.span(f[4]!), s.span(f[5]!), s.oneOf("none", "user", "host")(f[6]!), s.oneOf("exclusive", "additive")(f[7]!)];
    return s.name(f[0]!);
  });
  for (const p of lines.many("seats", seats)) pools.add(p);
  lines.many("reserve", words(3, (f) => [pools.has(f[0]!) || s.fail("pool of this license", f[0]!), s.name(f[1]!), s.uint(f[2]!)])); // prettier-ignore
  lines.maybe("nodes", s.uint);
}

function once(set: Set<string>, name: string): void {
  if (set.has(name)) s.fail("line that stands once", name);
  set.add(name);
}

function site(lines: Ordered, serial: bigint): Pick<License, "site" | "siteKeys" | "checkpoint"> {
  const site = lines.one("site", s.orDash(keys.origin));
  const siteKeys = lines.many("site-key", s.orDash((t) => keys.readKey(t, "site", "site-pq")));
  const checkpoint = lines.one("checkpoint", words(2, (f) => ({ size: s.uint(f[0]!), root: s.hash(f[1]!) }))); // prettier-ignore
  const known = siteKeys.filter((k) => k !== undefined);
  if (site === undefined) {
    const none = serial === 0n && siteKeys.length === 1 && known.length === 0 && checkpoint.size === 0n && checkpoint.root === EMPTY_ROOT;
    if (!none) s.fail("unbound license", "it");
  } else {
    const types = known.map((k) => (keys.isFor(k, "site") ? "site" : "site-pq")).join(" ");
    const bound = serial > 0n && known.length === siteKeys.length && (types === "site" || types === "site site-pq") && checkpoint.size > 0n;
    if (!bound || known.some((k) => k.name !== site)) s.fail("bound license", "it");
  }
  return { site, siteKeys: known, checkpoint };
}
