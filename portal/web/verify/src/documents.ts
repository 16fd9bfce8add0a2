// What a file is, and what one document proves that another needs.

import { hex } from "./bytes";
import { isFor, readKey, type Key, type Role } from "./keys";
import { Misspelt } from "./refusal";
import { verifyReport } from "./report";
import { Sha256 } from "./sha256";
import { showReport, type Showing } from "./showreport";
import { hash, uint } from "./spelling";

/** Known is what is known before documents are verified. */
export class Known {
  readonly keys: Key[] = [];
  readonly accepted: { size: bigint; root: string }[] = [];
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

/** read gives the bytes of a file piece by piece. */
export async function* read(file: Blob): AsyncGenerator<Uint8Array> {
  const reader = file.stream().getReader();
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    await reader.cancel();
  }
}

export async function documentOf(file: File): Promise<Document> {
  return new ReportFile(file);
}

class ReportFile implements Document {
  private sha256: string | undefined;

  constructor(private readonly file: File) {}

  async learn(): Promise<void> {}

  async verify(known: Known, progress: (bytes: number) => Promise<void>): Promise<Showing> {
    const siteKeys = known.of("site", "site-pq");
    const r = await verifyReport(() => read(this.file), {
      siteKeys,
      receiptKeys: known.of("receipt", "receipt-pq"),
      accepted: known.accepted,
      trustFile: true,
      progress,
    });
    this.sha256 = r.sha256;
    return showReport(r, siteKeys.length > 0);
  }

  async digest(): Promise<string> {
    return (this.sha256 ??= await digestOf(this.file));
  }
}

async function digestOf(file: File): Promise<string> {
  const hash = new Sha256();
  for await (const chunk of read(file)) hash.update(chunk);
  return hex(hash.digest());
}

