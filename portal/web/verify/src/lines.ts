// The lines of a text that comes in pieces, checked one by one.

import { utf8 } from "./bytes";
import { DASH } from "./keys";
import { need, Refusal } from "./refusal";
import { Sha256 } from "./sha256";

const LINE_MAX = 4096;
const HEAD_MAX = 64 << 10;

// One sign per byte, so that places in text and bytes are the same. Which sign a
// byte above ASCII becomes is not the same everywhere.
const decoder = new TextDecoder("latin1");
const CLEAN = /^[ -~]*$/;
const DASH_BYTES = utf8(DASH);

function refuseCR(line: string): void {
  need(!line.includes("\r"), "format/line_ends_changed", "a carriage return: the line ends were changed on the way");
}

export type Source = AsyncIterable<Uint8Array>;

export class Lines {
  /** Number of the line that was taken last, from 1. */
  number = 0;
  /** That line, without its LF. */
  line = "";
  /** Whether the body has begun, where no signature lines stand. */
  body = false;
  /** Where the line that was taken last stands in bytes. */
  start = 0;
  end = 0;
  /** Bytes of text that have come. */
  came = 0;
  bytes = new Uint8Array(0);

  private text = "";
  private at = 0; // the next line
  private searched = 0; // no LF before
  private hashed = 0; // bytes before are in the digest
  private passed = 0; // bytes of text before bytes[0]
  private done = false;
  private readonly digest = new Sha256();
  private readonly input: AsyncIterator<Uint8Array>;

  constructor(
    source: Source,
    private readonly sizeMax: number,
    private readonly breathe: (came: number) => Promise<void> = () => Promise.resolve(),
    private readonly headMax = HEAD_MAX,
  ) {
    this.input = source[Symbol.asyncIterator]();
  }

  /** Where in the text the next line begins. */
  get offset(): number {
    return this.passed + this.at;
  }

  /**
   * take gives the next line without its LF, if it has come whole; undefined: more
   * must be awaited. Most lines have come, and nothing waits for a promise then.
   */
  take(): string | undefined {
    const lf = this.text.indexOf("\n", this.searched);
    if (lf < 0) {
      this.searched = this.text.length;
      need(this.text.length - this.at <= LINE_MAX, "format/malformed", "a line is longer than 4,096 bytes");
      return undefined;
    }
    this.start = this.at;
    this.end = lf;
    this.at = this.searched = lf + 1;
    this.number++;
    need(lf - this.start <= LINE_MAX, "format/malformed", "a line is longer than 4,096 bytes");
    let line = this.text.slice(this.start, lf);
    if (!CLEAN.test(line)) line = this.signature(line);
    this.line = line;
    need(this.body || this.passed + this.at <= this.headMax, "format/malformed", "what stands before the records is longer than 64 KiB");
    return line;
  }

  /** signature gives a signature line, the only one with another sign than ASCII. */
  private signature(line: string): string {
    refuseCR(line);
    const rest = line.slice(DASH_BYTES.length);
    const dash = !this.body && DASH_BYTES.every((b, i) => this.bytes[this.start + i] === b);
    need(dash && CLEAN.test(rest), "format/malformed", "a sign that no document has");
    return DASH + rest;
  }

  /** next awaits the next line; the end of the text is refused. */
  async next(): Promise<string> {
    for (;;) {
      const line = this.take();
      if (line !== undefined) return line;
      if (!(await this.more())) {
        refuseCR(this.text.slice(this.at));
        throw new Refusal("format/truncated", this.at < this.text.length ? "the text ends within a line" : "the text ends without its last line");
      }
    }
  }

  /** more awaits more bytes; false: there are none. */
  async more(): Promise<boolean> {
    if (this.done) return false;
    await this.breathe(this.came);
    const { value, done } = await this.input.next();
    if (done) {
      this.done = true;
      return false;
    }
    this.came += value.length;
    need(this.came <= this.sizeMax, "size/too_large", `the text is larger than ${this.sizeMax} bytes`);
    this.digest.update(this.bytes, this.hashed, this.at);
    const rest = this.bytes.length - this.at;
    const bytes = new Uint8Array(rest + value.length);
    bytes.set(this.bytes.subarray(this.at));
    bytes.set(value, rest);
    this.passed += this.at;
    this.searched -= this.at;
    this.at = this.hashed = 0;
    this.bytes = bytes;
    this.text = decoder.decode(bytes);
    return true;
  }

  /** before is the hash of every byte before the line that was taken last. */
  before(): Uint8Array<ArrayBuffer> {
    this.digest.update(this.bytes, this.hashed, this.start);
    this.hashed = this.start;
    return this.digest.copy().digest();
  }

  /** whole is the hash of the text up to where lines were taken. */
  whole(): Uint8Array<ArrayBuffer> {
    this.digest.update(this.bytes, this.hashed, this.at);
    this.hashed = this.at;
    return this.digest.copy().digest();
  }

  /** ended tells whether nothing follows. */
  async ended(): Promise<boolean> {
    while (this.at === this.text.length) if (!(await this.more())) return true;
    return false;
  }

  /** close gives the source back before its end. */
  async close(): Promise<void> {
    this.done = true;
    await this.input.return?.();
  }

  /** peek looks at the first bytes without taking them. */
  async peek(count: number): Promise<Uint8Array> {
    while (this.bytes.length < count && (await this.more()));
    return this.bytes.subarray(0, count);
  }
}

