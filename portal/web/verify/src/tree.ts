// The tree of RFC 6962, as far as its frontier.

import { base64 } from "./bytes";
import { Sha256 } from "./sha256";

export type Hash = Uint8Array<ArrayBuffer>;

const hasher = new Sha256();

/** leafOf hashes a line, without its LF: bytes from..to of data. */
export function leafOf(data: Uint8Array, from = 0, to = data.length): Hash {
  return hasher.reset().byte(0).update(data, from, to).digest();
}

export function inner(left: Hash, right: Hash): Hash {
  return hasher.reset().byte(1).update(left).update(right).digest();
}

export const EMPTY_ROOT = base64(new Sha256().digest());

/** A Tree keeps the roots of the perfect subtrees of its leaves, largest first. */
export class Tree {
  constructor(
    public size = 0,
    private readonly frontier: Hash[] = [],
  ) {}

  append(leaf: Hash): void {
    let h = leaf;
    for (let n = this.size; n % 2 === 1; n = (n - 1) / 2) h = inner(this.frontier.pop()!, h);
    this.frontier.push(h);
    this.size++;
  }

  /** root in base64. */
  root(): string {
    if (this.frontier.length === 0) return EMPTY_ROOT;
    return base64(this.frontier.reduceRight((right, left) => inner(left, right)));
  }
}

/** onesOf is the number of hashes in the frontier of a tree. */
export function onesOf(size: bigint): number {
  let ones = 0;
  for (; size > 0n; size >>= 1n) ones += Number(size & 1n);
  return ones;
}
