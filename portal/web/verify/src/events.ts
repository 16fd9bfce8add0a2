// The events under a record: docs/formats/report.md, step 6, and ledger.md,
// "Salted events".

import type { Report } from "./account";
import { base64, unbase64, utf8 } from "./bytes";
import type { RecordOf } from "./record";
import { need } from "./refusal";
import { Misspelt } from "./refusal";
import { sha256 } from "./sha256";
import { attributes, b16, fail, hash, int, isLevel, orDash, uint } from "./spelling";
import { leafOf, Tree } from "./tree";

/** Records that events can stand under. */
export type Cell = RecordOf<"usage" | "late" | "adjust" | "seat">;

const EVENTS_MAX = 1 << 18;
const USERS_MAX = 1 << 16;

interface Event {
  readonly secret: string | undefined; // PRIVATE
  readonly time: bigint;
  readonly quantity: bigint;
  readonly tag: string | undefined;
  readonly kind: string | undefined;
}

const orNone = { b16: orDash(b16), hash: orDash(hash) };

function readEvent(line: string): Event {
  const [time, quantity, tag, secret, ...rest] = line.split(" ");
  if (secret === undefined) fail("event", line);
  const attr = attributes(rest);
  const kind = attr.get("kind");
  if (kind !== undefined && kind !== "void" && kind !== "amend") fail("kind of correction", kind);
  return { secret: orNone.hash(secret), time: uint(time!), quantity: int(quantity!), tag: orNone.b16(tag!), kind };
}

/** Users remembers the tag of each user of a report. */
export type Users = Map<string, string>;

export class Events {
  private readonly tree = new Tree();
  private readonly events: Event[] = [];
  private readonly misspelt: string[] = [];
  private readonly users: string[] = []; // whose tag differs
  private secret: string | undefined; // PRIVATE of the event before, not opened yet

  constructor(
    private readonly cell: Cell,
    private readonly tags: Users,
  ) {}

  /** event takes a line behind "> ". */
  event(line: string): void {
    const salt = saltOf(line);
    const text = line.slice(25);
    const bytes = utf8(text);
    const leaf = new Uint8Array(16 + bytes.length);
    leaf.set(salt);
    leaf.set(bytes, 16);
    this.tree.append(leafOf(leaf));
    const e = this.spelt(() => readEvent(text));
    this.secret = e?.secret; // that of an event that cannot be read is none
    if (e !== undefined && this.events.length <= EVENTS_MAX) this.events.push(e);
  }

  /** opened takes a line behind ">> ", of the event before. */
  opened(line: string): void {
    const salt = saltOf(line);
    const text = line.slice(25);
    need(this.secret !== undefined && text !== "", "format/malformed", "a private line of no event");
    need(base64(sha256(Uint8Array.of(0), salt, utf8(text))) === this.secret, "proof/root_mismatch", "a private line is not the one that was signed");
    this.secret = undefined;
    const secrets = this.spelt(() => attributes(text.split(" ")));
    const user = secrets?.get("user");
    const tag = this.events.at(-1)?.tag;
    if (user === undefined || tag === undefined || ("agg" in this.cell && this.cell.agg === "unique")) return;
    const known = this.tags.get(user);
    if (known === undefined && this.tags.size < USERS_MAX) this.tags.set(user, tag);
    if (known !== undefined && known !== tag) this.users.push(user);
  }

  /** closed tells whether the event before has its private line, if there is one. */
  get closed(): boolean {
    return this.secret === undefined;
  }

  private spelt<T>(read: () => T): T | undefined {
    try {
      return read();
    } catch (err) {
      if (!(err instanceof Misspelt)) throw err;
      this.misspelt.push(err.message);
      return undefined;
    }
  }

  /** end compares all with the record; false: there were too many to do so. */
  end(find: Report): boolean {
    need(this.tree.root() === this.cell.root, "proof/root_mismatch", "the events do not give ROOT of their record");
    if (this.misspelt[0] !== undefined) {
      find("format/malformed", this.misspelt[0]);
      return true;
    }
    const totals = (detail: string): void => find("records/totals", detail);
    if (BigInt(this.tree.size) !== this.cell.count) totals(`there are ${this.tree.size} events, COUNT says ${this.cell.count}`);
    if (this.users[0] !== undefined) totals(`${this.users[0]} has two tags`);
    if (this.events.length > EVENTS_MAX) return false;
    this.fit(totals);
    return true;
  }

  private fit(totals: (detail: string) => void): void {
    const c = this.cell;
    const is = (what: string, says: bigint, good: boolean): void => {
      if (!good) totals(`${what} ${says} is not that of the events`);
    };
    for (const e of this.events) {
      if ((e.kind !== undefined) !== (c.kind === "adjust")) return totals("a correction stands where a use should, or a use where a correction should");
      if (c.kind === "adjust") continue;
      if (e.quantity < 0n) return totals("a QUANTITY is below 0");
      if (e.time < c.from * 1000n || e.time >= c.to * 1000n) return totals("an event lies outside its window");
    }
    if (c.kind === "adjust") {
      is("DVALUE", c.dvalue, c.dvalue === this.sum());
      is("DCOUNT", c.dcount, c.dcount === -BigInt(this.events.filter((e) => e.kind === "void").length));
    } else if (c.kind === "seat") {
      const level = this.level(c.from, c.to, c.start);
      is("PEAK", c.peak, c.peak === level.peak);
      is("SECONDS", c.seconds, c.seconds === level.weighted);
    } else {
      is("VALUE", c.value, this.gives(c));
    }
  }

  private sum(): bigint {
    return this.events.reduce((n, e) => n + e.quantity, 0n);
  }

  /** gives tells whether VALUE of a cell is that of its events. */
  private gives(c: RecordOf<"usage" | "late">): boolean {
    const quantities = this.events.map((e) => e.quantity);
    const first = quantities[0];
    if (isLevel(c.agg)) {
      const level = this.level(c.from, c.to, BigInt(c.attributes.get("start") ?? 0));
      return c.value === (c.agg === "peak" ? level.peak : level.weighted);
    }
    switch (c.agg) {
      case "count":
        return c.value === BigInt(quantities.length);
      case "sum":
        return c.value === this.sum();
      case "unique": {
        const tags = new Set(this.events.map((e) => e.tag));
        const different = BigInt(tags.size);
        return c.value === different || (tags.has(undefined) && c.value === different - 1n);
      }
      default:
        if (first === undefined) return false;
        if (c.agg === "latest") return c.value === this.inTime().at(-1)!.quantity;
        return c.value === quantities.reduce((a, b) => ((c.agg === "min") === b < a ? b : a), first);
    }
  }

  private inTime(): Event[] {
    return [...this.events].sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  }

  /** level follows a level from FROM on. */
  private level(from: bigint, to: bigint, start: bigint): { peak: bigint; weighted: bigint } {
    let level = start;
    let peak = start;
    let at = from * 1000n;
    let area = 0n;
    for (const e of this.inTime()) {
      area += level * (e.time - at);
      at = e.time;
      level = e.quantity;
      if (level > peak) peak = level;
    }
    area += level * (to * 1000n - at);
    return { peak, weighted: area / 1000n };
  }
}

/** saltOf reads the salt that a line begins with. */
function saltOf(line: string): Uint8Array {
  const salt = line.slice(0, 24);
  if (line[24] !== " ") fail("salt and line", line);
  return unbase64(b16(salt))!;
}
