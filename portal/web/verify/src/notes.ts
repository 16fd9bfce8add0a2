// Documents and the notes in them: first lines, signature lines, and lines that
// stand in a fixed order.

import { DASH, readSignature, type Note } from "./keys";
import type { Lines } from "./lines";
import { need, Refusal, spelt } from "./refusal";
import { fail, uint, type Read } from "./spelling";

/** checkType reads the first line of a document of ours. */
export async function checkType(lines: Lines, name: "report" | "reply"): Promise<void> {
  const type = `meterseal-${name}/`;
  const first = await lines.peek(1024);
  need(first.length > 0, `format/not_a_${name}`, "the file is empty");
  const text = String.fromCharCode(...first);
  const wide = text.slice(0, 64).replaceAll("\0", "").replace(/^(?:\u00ff\u00fe|\u00fe\u00ff|\u00ef\u00bb\u00bf)/, "");
  if (wide !== text.slice(0, 64)) {
    need(!wide.startsWith(type), "format/line_ends_changed", "the file was saved in another encoding");
  }
  if (!text.includes("\n") && type.startsWith(text)) throw new Refusal("format/truncated", "the text ends within its first line");
  need(text.startsWith(type), `format/not_a_${name}`, `this is no ${name}`);
  const line = text.split("\n", 1)[0]!;
  need(/^[ -~]*$/.test(line), "format/line_ends_changed", "the first line was changed on the way");
  need(line[type.length] === "v", `format/not_a_${name}`, `this is no ${name}`);
  await lines.next();
  const version = spelt(() => uint(line.slice(type.length + 1)));
  need(version <= 1n, "version/too_new", `version ${version} of the format; this verifier reads 1`);
  need(version >= 1n, "version/too_old", `version ${version} of the format; this verifier reads 1`);
}

/** A RawNote is a note of which the signature lines are not read yet. */
export interface RawNote {
  readonly text: string;
  readonly signed: readonly string[];
}

/** readRawNote reads a note, and the empty line behind it. */
export async function readRawNote(lines: Lines): Promise<RawNote> {
  let text = "";
  for (let line = await lines.next(); line !== ""; line = await lines.next()) {
    need(!line.startsWith(DASH), "format/malformed", "a signature line within a note");
    text += line + "\n";
  }
  const signed = [];
  for (let line = await lines.next(); line !== ""; line = await lines.next()) {
    need(line.startsWith(DASH), "format/malformed", "no signature line where one is due");
    if (signed.push(line) > 16) throw new Refusal("format/malformed", "more than 16 signature lines");
  }
  return { text, signed };
}

/** noteOf reads the signature lines of a note. */
export function noteOf(raw: RawNote): Note {
  need(raw.text !== "" && raw.signed.length > 0, "format/malformed", "no signed note");
  return { text: raw.text, signatures: raw.signed.map((line) => spelt(() => readSignature(line))) };
}

/** Ordered reads the lines of a note, each a keyword and its value, in their order. */
export class Ordered {
  private readonly lines: string[];
  private at = 0;

  constructor(text: string) {
    this.lines = text.split("\n").slice(0, -1);
  }

  private get line(): string | undefined {
    return this.lines[this.at];
  }

  /** first takes the first line. */
  first(): string {
    return this.lines[this.at++] ?? "";
  }

  private is(keyword: string): boolean {
    return this.line?.startsWith(keyword + " ") === true;
  }

  private value(keyword: string): string {
    return this.lines[this.at++]!.slice(keyword.length + 1);
  }

  /** one reads a line that has to be there. */
  one<T>(keyword: string, read: Read<T>): T {
    return this.is(keyword) ? read(this.value(keyword)) : fail(`${keyword} line`, this.line ?? "");
  }

  /** maybe reads a line that may be missing. */
  maybe<T>(keyword: string, read: Read<T>): T | undefined {
    return this.is(keyword) ? read(this.value(keyword)) : undefined;
  }

  /** many reads lines that may repeat, each once and ascending unless said otherwise. */
  many<T>(keyword: string, read: Read<T>, ascending = true): T[] {
    const out: T[] = [];
    for (let last = ""; this.is(keyword); ) {
      const line = this.line!;
      if (ascending && line <= last) fail("line in its order", line);
      last = line;
      out.push(read(this.value(keyword)));
    }
    return out;
  }

  /** extra reads x-NAME lines, which are shown and mean nothing. */
  extra(text: Read<string>): [name: string, text: string][] {
    const out: [string, string][] = [];
    for (let last = ""; this.line?.startsWith("x-"); this.at++) {
      const line = this.line;
      const space = line.indexOf(" ");
      const keyword = line.slice(0, space);
      if (space < 0 || !/^x-[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/.test(keyword)) fail("x- line", line);
      if (line <= last) fail("line in its order", line);
      last = line;
      out.push([keyword, text(line.slice(space + 1))]);
    }
    return out;
  }

  /** end asks that nothing is left. */
  end(): void {
    if (this.line !== undefined) fail("line that stands here", this.line);
  }
}

/** words splits a value into exactly so many fields. */
export const words =
  <T>(count: number, read: (fields: string[]) => T): Read<T> =>
  (text) => {
    const fields = text.split(" ");
    return fields.length === count && !fields.includes("") ? read(fields) : fail(`list of ${count} fields`, text);
  };
