// SHA-256 (FIPS 180-4), fed piece by piece. WebCrypto has it only for a whole
// message, and answers each by a promise; a tree of a million leaves asks for
// three million of them.

const K = new Int32Array(64);
const START = new Int32Array(8);

// The constants are the fractions of cube and square roots of the first primes:
// 32 bits behind the point, by whole numbers so that no float rounds.
{
  let found = 0;
  for (let n = 2; found < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) prime = false;
    if (!prime) continue;
    K[found] = Number(BigInt.asIntN(32, root(BigInt(n) << 96n, 3)));
    if (found < 8) START[found] = Number(BigInt.asIntN(32, root(BigInt(n) << 64n, 2)));
    found++;
  }
}

/** root is the whole part of a root, bit by bit. */
function root(of: bigint, degree: number): bigint {
  let out = 0n;
  for (let bit = 1n << 40n; bit > 0n; bit >>= 1n) if ((out | bit) ** BigInt(degree) <= of) out |= bit;
  return out;
}

const W = new Int32Array(64);

export class Sha256 {
  private readonly state = START.slice();
  private readonly block = new Uint8Array(64);
  private readonly tail = new DataView(this.block.buffer);
  private held = 0; // bytes in block
  private length = 0; // bytes in all

  update(data: Uint8Array, from = 0, to = data.length): this {
    this.length += to - from;
    if (this.held > 0) {
      const n = Math.min(64 - this.held, to - from);
      for (let i = 0; i < n; i++) this.block[this.held + i] = data[from + i]!;
      this.held += n;
      from += n;
      if (this.held < 64) return this;
      this.compress(this.block, 0);
      this.held = 0;
    }
    for (; to - from >= 64; from += 64) this.compress(data, from);
    for (; from < to; from++) this.block[this.held++] = data[from]!;
    return this;
  }

  byte(b: number): this {
    this.length++;
    this.block[this.held++] = b;
    if (this.held === 64) {
      this.compress(this.block, 0);
      this.held = 0;
    }
    return this;
  }

  copy(): Sha256 {
    const c = new Sha256();
    c.state.set(this.state);
    c.block.set(this.block);
    c.held = this.held;
    c.length = this.length;
    return c;
  }

  reset(): this {
    this.state.set(START);
    this.held = this.length = 0;
    return this;
  }

  /** digest ends the message; only reset may follow. */
  digest(): Uint8Array<ArrayBuffer> {
    const bytes = this.length;
    this.block[this.held++] = 0x80;
    if (this.held > 56) {
      this.block.fill(0, this.held);
      this.compress(this.block, 0);
      this.held = 0;
    }
    this.block.fill(0, this.held);
    this.tail.setUint32(56, Math.floor(bytes / 0x20000000));
    this.tail.setUint32(60, (bytes << 3) >>> 0);
    this.compress(this.block, 0);
    const out = new Uint8Array(32);
    for (let i = 0; i < 32; i++) out[i] = this.state[i >> 2]! >> (24 - 8 * (i & 3));
    return out;
  }

  private compress(data: Uint8Array, at: number): void {
    for (let i = 0; i < 16; i++, at += 4) {
      W[i] = (data[at]! << 24) | (data[at + 1]! << 16) | (data[at + 2]! << 8) | data[at + 3]!;
    }
    for (let i = 16; i < 64; i++) {
      const x = W[i - 15]!;
      const y = W[i - 2]!;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      W[i] = (W[i - 16]! + s0 + W[i - 7]! + s1) | 0;
    }
    const s = this.state;
    let a = s[0]!, b = s[1]!, c = s[2]!, d = s[3]!, e = s[4]!, f = s[5]!, g = s[6]!, h = s[7]!; // prettier-ignore
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i]! + W[i]!) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    s[0] = (s[0]! + a) | 0;
    s[1] = (s[1]! + b) | 0;
    s[2] = (s[2]! + c) | 0;
    s[3] = (s[3]! + d) | 0;
    s[4] = (s[4]! + e) | 0;
    s[5] = (s[5]! + f) | 0;
    s[6] = (s[6]! + g) | 0;
    s[7] = (s[7]! + h) | 0;
  }
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const h = new Sha256();
  for (const p of parts) h.update(p);
  return h.digest();
}
