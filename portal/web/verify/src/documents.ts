// What a file is, and what one document proves that another needs.

import { concat, hex, startsWith, utf8 } from "./bytes";
import { isFor, readKey, type Key, type Role } from "./keys";
import { verifyLicense, type License } from "./license";
import { Misspelt, Refusal } from "./refusal";
import { REPLY_MAX, verifyReply, type Reply } from "./reply";
import { verifyReport } from "./report";
import { Sha256 } from "./sha256";
import { showLicense, showReply } from "./showreply";
import { showReport, type Showing } from "./showreport";
import { hash, uint } from "./spelling";

/** Known is what is known before documents are verified. */
export class Known {
  readonly keys: Key[] = [];
  /** Accepted checkpoints; of what was entered the origin is not known. */
  readonly accepted: { origin?: string; size: bigint; root: string }[] = [];
  /** What of the entered text could not be read. */
  readonly problem: string;

  constructor(entered: string) {
    const bad: string[] = [];
    for (const line of entered.split("\n").map((l) => l.trim())) {
      if (line === "") continue;
      try {
        this.add(line);
      } catch (err) {
        if (!(err instanceof Misspelt)) throw err;
        bad.push(line.slice(0, 40));
      }
    }
    this.problem = bad.length === 0 ? "" : `Not read, since it is neither a key nor a checkpoint: ${bad.join("; ")}`;
  }

  private add(line: string): void {
    const [size, root, ...more] = line.split(" ");
    if (root !== undefined && more.length === 0) this.accepted.push({ size: uint(size!), root: hash(root) });
    else this.keys.push(readKey(line));
  }

  /** take takes the keys of a license that the vendor has signed. */
  take(license: License): void {
    const has = new Set(this.keys.map((k) => k.vkey));
    this.keys.push(...[...license.siteKeys, ...license.receiptKeys, ...license.replyKeys].filter((k) => !has.has(k.vkey)));
  }

  of(...roles: readonly Role[]): string[] {
    return this.keys.filter((k) => roles.some((r) => isFor(k, r))).map((k) => k.vkey);
  }
}

/** A Document is a file of a kind that can be verified. */
export interface Document {
  /** learn takes what other documents may use. */
  learn(known: Known): Promise<void>;
  verify(known: Known, progress: (bytes: number) => Promise<void>): Promise<Showing>;
  digest(): Promise<string>;
}

/** Bytes that are worked on before the page may breathe. */
const PIECE = 128 << 10;

/** read gives the bytes of a file piece by piece. */
export async function* read(file: Blob): AsyncGenerator<Uint8Array> {
  const reader = file.stream().getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      for (let i = 0; i < value.length; i += PIECE) yield value.subarray(i, i + PIECE);
    }
  } finally {
    await reader.cancel();
  }
}

/** documentOf tells by its first bytes what a file is. */
export async function documentOf(file: File): Promise<Document> {
  const first = new Uint8Array(await file.slice(0, 64).arrayBuffer());
  const begins = (prefix: string): boolean => startsWith(first, utf8(prefix));
  if (begins("meterseal-reply/")) return new ReplyFile(file);
  if (begins("meterseal-license/") || begins("ms1.")) return new LicenseFile(file);
  return new ReportFile(file);
}

abstract class FileDocument implements Document {
  protected sha256: string | undefined;

  constructor(protected readonly file: File) {}

  protected readonly bytes = (): AsyncGenerator<Uint8Array> => read(this.file);

  abstract learn(known: Known): Promise<void>;
  abstract verify(known: Known, progress: (bytes: number) => Promise<void>): Promise<Showing>;

  async digest(): Promise<string> {
    if (this.sha256 !== undefined) return this.sha256;
    const hash = new Sha256();
    for await (const chunk of this.bytes()) hash.update(chunk);
    return (this.sha256 = hex(hash.digest()));
  }
}

class ReportFile extends FileDocument {
  async learn(): Promise<void> {}

  async verify(known: Known, progress: (bytes: number) => Promise<void>): Promise<Showing> {
    const origin = await this.origin();
    const [site, ...others] = ofLedger(known.of("site"), origin);
    const [pq] = ofLedger(known.of("site-pq"), origin);
    const r = await verifyReport(this.bytes, {
      siteKeys: site === undefined ? [] : pq === undefined ? [site] : [site, pq],
      rotatedKeys: others,
      receiptKeys: known.of("receipt", "receipt-pq"),
      accepted: known.accepted.filter((c) => c.origin === undefined || c.origin === origin),
      trustFile: true,
      progress,
    });
    this.sha256 = r.sha256;
    return showReport(r, site !== undefined);
  }

  /** The ledger that the head names, to choose keys by; undefined: it is wrapped. */
  private async origin(): Promise<string | undefined> {
    return /^key ([^+\n]+)\+/m.exec(await this.file.slice(0, 4096).text())?.[1];
  }
}

class LicenseFile extends FileDocument {
  /** A license that a known key signed brings the keys of site and vendor. */
  async learn(known: Known): Promise<void> {
    const licenseKeys = known.of("license");
    if (licenseKeys.length === 0) return;
    try {
      known.take(await verifyLicense(this.bytes, { licenseKeys }));
    } catch (err) {
      if (!(err instanceof Refusal)) throw err; // verify says it
    }
  }

  async verify(known: Known): Promise<Showing> {
    return showLicense(await verifyLicense(this.bytes, { licenseKeys: known.of("license"), trustFile: true }));
  }
}

class ReplyFile extends FileDocument {
  private reply: Reply | undefined;
  private license: License | undefined;
  private vendorKeyKnown = false;
  private siteKeyKnown = false;

  /** A reply whose license or keys are known brings an accepted checkpoint. */
  async learn(known: Known): Promise<void> {
    try {
      await this.read(known);
    } catch (err) {
      if (!(err instanceof Refusal)) throw err; // verify says it
      return;
    }
    if (this.license?.signedBy !== undefined) known.take(this.license);
    const c = this.reply?.checkpoint;
    if (c !== undefined && this.vendorKeyKnown) known.accepted.push({ ...c });
  }

  private async read(known: Known): Promise<Reply> {
    const licenseKeys = known.of("license");
    const note = await licenseOf(this.bytes);
    this.license = note && (await verifyLicense(async function* () { yield note; }, { licenseKeys, trustFile: true })); // prettier-ignore
    const receiptKeys = known.of("receipt", "receipt-pq");
    const replyKeys = known.of("reply");
    this.vendorKeyKnown = receiptKeys.length + replyKeys.length > 0 || this.license?.signedBy !== undefined;
    const origin = /\norigin ([^\n]+)\n/.exec(await this.file.slice(0, 1024).text())?.[1];
    const siteKeys = known.of("site", "site-pq").filter((v) => readKey(v).name === origin);
    this.siteKeyKnown = siteKeys.length > 0;
    const brought = this.license !== undefined && (this.license.signedBy !== undefined || !this.vendorKeyKnown) ? this.license : undefined;
    const all = (own: readonly string[], more: readonly Key[] = []): string[] => [...new Set([...own, ...more.map((k) => k.vkey)])];
    const any = brought !== undefined || this.vendorKeyKnown;
    if (!any && note === undefined) throw new Refusal("browser/key_wanted", "no key of the vendor is known");
    return (this.reply = await verifyReply(this.bytes, {
      siteKeys,
      receiptKeys: all(receiptKeys, brought?.receiptKeys),
      replyKeys: all(replyKeys, brought?.replyKeys),
    }));
  }

  async verify(known: Known): Promise<Showing> {
    const reply = await this.read(known);
    this.sha256 = reply.sha256;
    const license = this.license && showLicense(this.license);
    return showReply(reply, license, this.siteKeyKnown, this.vendorKeyKnown);
  }
}

/**
 * ofLedger gives the keys of a ledger, the one that was learnt last first; if there is none,
 * those of others, so that the report is said to be of another ledger.
 */
function ofLedger(vkeys: readonly string[], origin: string | undefined): string[] {
  const own = vkeys.filter((v) => readKey(v).name === origin);
  return (own.length > 0 ? own : [...vkeys]).reverse();
}

/** licenseOf finds the license in a reply; what it is worth verifyReply says. */
async function licenseOf(bytes: () => AsyncGenerator<Uint8Array>): Promise<Uint8Array | undefined> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes()) {
    if ((size += chunk.length) > REPLY_MAX) return undefined;
    chunks.push(chunk);
  }
  const text = new TextDecoder().decode(concat(...chunks));
  const [, part] = /\npart license\n([^]*?\n)\nend /.exec(text) ?? [];
  return part === undefined ? undefined : utf8(part);
}
