// The spellings of docs/formats/ledger.md: every value has exactly one. A reader
// gives the value, or throws Misspelt.

import { utf8 } from "./bytes";
import { Misspelt } from "./refusal";

export type Read<T> = (text: string) => T;

/** MAX is the largest number of a ledger, MIN the smallest. */
export const MAX = 2n ** 63n - 1n;
const NUMBER = /^(?:0|[1-9][0-9]{0,18})$/;

export const fits = (n: bigint): boolean => n <= MAX && n >= -MAX;

export function fail(what: string, text: string): never {
  throw new Misspelt(`${text === "" ? "nothing" : JSON.stringify(text.slice(0, 80))} is no ${what}`);
}

export function uint(text: string): bigint {
  if (!NUMBER.test(text)) fail("number", text);
  const n = BigInt(text);
  return n <= MAX ? n : fail("number up to 2^63-1", text);
}

export function int(text: string): bigint {
  if (!text.startsWith("-")) return uint(text);
  const n = uint(text.slice(1));
  return n > 0n ? -n : fail("number", text);
}

export const matching =
  (pattern: RegExp, what: string): Read<string> =>
  (text) =>
    pattern.test(text) ? text : fail(what, text);

export const oneOf = <T extends string>(...words: readonly T[]): Read<T> => {
  const known = new Set<string>(words);
  return (text) => (known.has(text) ? (text as T) : fail(`"${words.join('", "')}"`, text));
};

export const orDash =
  <T>(read: Read<T>): Read<T | undefined> =>
  (text) =>
    text === "-" ? undefined : read(text);

// A hash stays in its one spelling: equal hashes are equal texts. The last sign of
// 32 bytes has two bits that must be 0, that of 16 bytes has four.
export const hash = matching(/^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/, "hash");
export const b16 = matching(/^[A-Za-z0-9+/]{21}[AQgw]==$/, "base64 of 16 bytes");
export const hexOf = (digits: number): Read<string> => matching(new RegExp(`^[0-9a-f]{${digits}}$`), `${digits} hex digits`);

export const name = matching(/^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$/, "name");
export const node = matching(/^[A-Za-z0-9][A-Za-z0-9_:/-]{0,127}$/, "node");
export const meter = matching(/^(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9._:/-]{0,126}[A-Za-z0-9_:/-])?$/, "meter");
export const id = matching(/^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$/, "license id");

export type Aggregation = "count" | "sum" | "min" | "max" | "latest" | "unique" | "weighted" | "peak";
export const aggregation: Read<Aggregation> = oneOf("count", "sum", "min", "max", "latest", "unique", "weighted", "peak");

/** isLevel tells aggregations whose quantities set a level until the next one. */
export const isLevel = (a: Aggregation): boolean => a === "weighted" || a === "peak";

/** windowLength is the length of a window in seconds. */
export function windowLength(text: string): bigint {
  const n = uint(text);
  return isWindow(n) ? n : fail("length of a window", text);
}

export const isWindow = (n: bigint): boolean => n >= 60n && n <= 86400n && 86400n % n === 0n;

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const PLAIN = /^[A-Za-z0-9._:/@,~-]*$/;

/** value gives the text that an escaped value stands for. */
export function value(text: string): string {
  if (text !== "" && text.length <= 1024 && PLAIN.test(text)) return text;
  return unescape(text, /^[A-Za-z0-9._:/@,~-]$/, "value");
}

/** text is a value in which spaces and all signs but "%" stand for themselves. */
export function text(s: string): string {
  if (s.startsWith(" ") || s.endsWith(" ")) fail("text", s);
  return unescape(s, /^[ -$&-~]$/, "text");
}

function unescape(escaped: string, plain: RegExp, what: string): string {
  const bytes: number[] = [];
  for (let i = 0; i < escaped.length; i++) {
    const c = escaped[i]!;
    if (c !== "%") {
      if (!plain.test(c)) fail(what, escaped);
      bytes.push(c.charCodeAt(0));
      continue;
    }
    const digits = escaped.slice(i + 1, i + 3);
    if (!/^[0-9A-F]{2}$/.test(digits)) fail(what, escaped);
    const b = parseInt(digits, 16);
    if (plain.test(String.fromCharCode(b))) fail(what, escaped); // it stands for itself
    bytes.push(b);
    i += 2;
  }
  if (bytes.length === 0 || bytes.length > 1024) fail(`${what} of 1 to 1,024 bytes`, escaped);
  try {
    return decoder.decode(new Uint8Array(bytes));
  } catch {
    return fail(`${what} in UTF-8`, escaped);
  }
}

const ATTRIBUTE = /^[A-Za-z][A-Za-z0-9._-]{0,63}$/;

/** attributes reads NAME=VALUE fields, which ascend by name. */
export function attributes(fields: readonly string[]): Map<string, string> {
  const out = new Map<string, string>();
  let last = "";
  for (const field of fields) {
    const eq = field.indexOf("=");
    const key = field.slice(0, eq);
    if (eq < 0 || !ATTRIBUTE.test(key)) fail("attribute", field);
    if (key <= last) fail("attribute in its order", field);
    out.set(key, value(field.slice(eq + 1)));
    last = key;
  }
  return out;
}

/** date reads an instant of a note, in seconds since 1970 UTC. */
export function date(s: string): bigint {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(s)) fail("date", s);
  const ms = Date.parse(s);
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 19) + "Z" !== s) fail("date", s);
  return BigInt(ms / 1000);
}

const SPAN = { s: 1n, m: 60n, h: 3600n, d: 86400n } as const;

/** span reads a length of time such as 14d, in seconds. */
export function span(s: string): bigint {
  const unit = SPAN[s.slice(-1) as keyof typeof SPAN];
  if (unit === undefined) fail("span of time", s);
  const n = uint(s.slice(0, -1)) * unit;
  return fits(n) ? n : fail("span of time", s);
}

/** lengthOf is the number of bytes of a text. */
export const lengthOf = (s: string): number => utf8(s).length;
