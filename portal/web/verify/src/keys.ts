// Keys, and notes that they sign: docs/formats/ledger.md, "Checkpoint" and "Keys".

import { base64, concat, hex, unbase64, unbig, utf8 } from "./bytes";
import { need } from "./refusal";
import { sha256 } from "./sha256";
import { fail, hash, matching, uint } from "./spelling";
import { EMPTY_ROOT } from "./tree";

const HOST = "(?=[^/]{1,64}(?:/|$))[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*";
const ORIGIN = `${HOST}/[A-Za-z0-9][A-Za-z0-9_-]{0,31}/[0-9a-hjkmnp-tv-z]{20}`;
const LABEL = "[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}";

export const origin = matching(new RegExp(`^${ORIGIN}$`), "origin");

export type Role = "site" | "site-pq" | "replica" | "node" | "license" | "receipt" | "receipt-pq" | "reply";

const ED25519 = 0x01;
const COSIGNATURE = 0x04;
const ML_DSA = 0x06;

// The type of a key and the shape of its name say what it is for.
const ROLES: Record<Role, readonly [type: number, name: RegExp]> = {
  site: [ED25519, new RegExp(`^${ORIGIN}$`)],
  "site-pq": [ML_DSA, new RegExp(`^${ORIGIN}$`)],
  replica: [COSIGNATURE, new RegExp(`^${ORIGIN}/replica/(?:0|[1-9][0-9]*)$`)],
  node: [COSIGNATURE, new RegExp(`^${ORIGIN}/node/[A-Za-z0-9][A-Za-z0-9_:/-]{0,127}$`)],
  license: [ED25519, new RegExp(`^${HOST}/license/${LABEL}$`)],
  receipt: [COSIGNATURE, new RegExp(`^${HOST}/receipt/${LABEL}$`)],
  "receipt-pq": [ML_DSA, new RegExp(`^${HOST}/receipt/${LABEL}$`)],
  reply: [ED25519, new RegExp(`^${HOST}/reply/${LABEL}$`)],
};

const KEY_SIZES = new Map([[ED25519, 32], [COSIGNATURE, 32], [ML_DSA, 1312]]); // prettier-ignore
const SIGNATURE_SIZES = new Map([[ED25519, 64], [COSIGNATURE, 72], [ML_DSA, 2428]]); // prettier-ignore

export interface Key {
  readonly vkey: string;
  readonly name: string;
  readonly id: string; // 8 hex digits
  readonly type: number;
  readonly public: Uint8Array<ArrayBuffer>;
}

/** readKey reads a vkey, of one of the roles if any are named. */
export function readKey(vkey: string, ...roles: readonly Role[]): Key {
  const [name, id, coded, ...rest] = splitKey(vkey);
  const data = coded === undefined ? undefined : unbase64(coded);
  if (name === undefined || id === undefined || data === undefined || rest.length > 0) return fail("key", vkey);
  if (!/^[!-*,-~]{1,255}$/.test(name) || !/^[0-9a-f]{8}$/.test(id)) fail("key", vkey);
  const type = data[0];
  if (type === undefined || KEY_SIZES.get(type) !== data.length - 1) fail("key of a known type", vkey);
  if (hex(sha256(utf8(name + "\n"), data).subarray(0, 4)) !== id) fail("key with its own ID", vkey);
  const key: Key = { vkey, name, id, type, public: data.slice(1) };
  if (roles.length > 0 && !roles.some((r) => isFor(key, r))) fail(`key of a ${roles.join(" or ")}`, vkey);
  return key;
}

// The base64 may have "+" too.
function splitKey(vkey: string): string[] {
  const a = vkey.indexOf("+");
  const b = vkey.indexOf("+", a + 1);
  return a < 0 || b < 0 ? [] : [vkey.slice(0, a), vkey.slice(a + 1, b), vkey.slice(b + 1)];
}

export function isFor(key: Key, role: Role): boolean {
  return key.type === ROLES[role][0] && ROLES[role][1].test(key.name);
}

/** isPostQuantum tells keys whose signatures this verifier does not check. */
export const isPostQuantum = (key: Key): boolean => key.type === ML_DSA;

// ---------------------------------------------------------------------- notes

export interface Signature {
  readonly name: string;
  readonly id: string;
  readonly field: Uint8Array<ArrayBuffer>; // key ID and signature
}

export interface Note {
  readonly text: string; // with the LF of its last line
  readonly signatures: readonly Signature[];
}

/** DASH begins a signature line. */
export const DASH = "\u2014 ";

/** readSignature reads a signature line. */
export function readSignature(line: string): Signature {
  const [name, coded, ...rest] = line.slice(DASH.length).split(" ");
  const field = coded === undefined ? undefined : unbase64(coded);
  if (!line.startsWith(DASH) || !name || field === undefined || field.length < 5 || rest.length > 0) {
    return fail("signature line", line);
  }
  if (!/^[!-*,-~]+$/.test(name)) fail("name of a key", name);
  return { name, id: hex(field.subarray(0, 4)), field };
}

export interface Checkpoint {
  readonly origin: string;
  readonly size: bigint;
  readonly root: string;
}

/** readCheckpoint reads the three lines of a checkpoint. */
export function readCheckpoint(text: string): Checkpoint {
  const lines = text.split("\n");
  if (lines.length !== 4 || lines[3] !== "") fail("checkpoint of three lines", text);
  const [name, size, root] = lines as [string, string, string];
  if (!/^[!-*,-~]{1,255}$/.test(name)) fail("name of a key", name);
  const c = { origin: name, size: uint(size), root: hash(root) };
  if (c.size === 0n && c.root !== EMPTY_ROOT) fail("root of an empty tree", root);
  return c;
}

/** Signed is what signedBy finds. */
export type Signed = { readonly good: boolean; readonly field?: Uint8Array<ArrayBuffer>; readonly checked: boolean };

/**
 * signedBy tells whether a key has signed a note, by exactly one line. Of
 * post-quantum signatures only the size is looked at: checked is false.
 */
export async function signedBy(note: Note, key: Key): Promise<Signed> {
  const found = note.signatures.filter((s) => s.name === key.name && s.id === key.id);
  const field = found[0]?.field;
  if (found.length !== 1 || field === undefined) return { good: false, checked: true };
  const signature = field.slice(4);
  if (SIGNATURE_SIZES.get(key.type) !== signature.length) return { good: false, checked: true };
  if (isPostQuantum(key)) return { good: true, field, checked: false };
  let message = utf8(note.text);
  if (key.type === COSIGNATURE) message = concat(utf8(`cosignature/v1\ntime ${unbig(signature.subarray(0, 8))}\n`), message);
  const good = await ed25519(key.public, message, signature.slice(-64));
  return good ? { good, field, checked: true } : { good, checked: true };
}

/** timeOf is the time of a cosignature, in seconds. */
export const timeOf = (field: Uint8Array): bigint => unbig(field.subarray(4, 12));

async function ed25519(key: Uint8Array<ArrayBuffer>, message: Uint8Array<ArrayBuffer>, signature: Uint8Array<ArrayBuffer>): Promise<boolean> {
  const imported = await subtle().importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  return subtle().verify({ name: "Ed25519" }, imported, signature, message);
}

function subtle(): SubtleCrypto {
  const s = globalThis.crypto?.subtle;
  need(s, "browser/no_crypto", "this browser gives no cryptography to this page: open it from https://, or as a file");
  return s;
}

/** digestOf is DIGEST of a receipt record: the hash of its signature field. */
export const digestOf = (field: Uint8Array): string => base64(sha256(field));

// -------------------------------------------------------------------- origins

const CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz";

/** originOf recomputes the origin that a site key and nonce have in a domain. */
export function originOf(name: string, key: Key, nonce: string): string {
  const domainAndLicense = name.slice(0, name.lastIndexOf("/"));
  const bytes = Uint8Array.from(nonce.match(/../g) ?? [], (h) => parseInt(h, 16));
  const digest = unbig(sha256(utf8(`meterseal-ledger/v1\n${domainAndLicense}\n`), key.public, bytes));
  let ledger = "";
  for (let i = 1n; i <= 20n; i++) ledger += CROCKFORD[Number((digest >> (256n - 5n * i)) & 31n)]!;
  return `${domainAndLicense}/${ledger}`;
}

/** bindingOf is the hash of a component's raw value. */
export function bindingOf(name: string, component: string, raw: string): string {
  return hex(sha256(utf8(`meterseal-bind/v1\n${name.split("/")[0]}\n${component}\n${raw}`)).subarray(0, 16));
}

