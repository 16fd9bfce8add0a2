// What the records of a meter come to, and the seats of a pool.

import type { Report } from "./account";
import type { RecordOf } from "./record";
import { fits, isLevel, type Aggregation } from "./spelling";
import { EMPTY_ROOT } from "./tree";

/** A Sum is what the records of a span come to. */
export class Sum {
  count = 0n;
  dvalue = 0n;
  private total: bigint | undefined;
  private to = 0n; // of the record that latest is from
  private least = 0n; // unique: the largest cell
  private older: bigint | undefined; // latest: carried over a base, TO unknown

  constructor(
    readonly agg: Aggregation,
    private readonly carriedUntil = 0n,
  ) {}

  /** carry begins with what a close before the report says. */
  carry(count: bigint, value: bigint | undefined, dvalue: bigint): void {
    this.count = count;
    this.dvalue = dvalue;
    if (value === undefined || (this.agg === "min" && count === 0n)) return;
    if (this.agg === "latest" && count === 0n) return;
    this.total = value;
    if (this.agg === "latest") this.older = value;
  }

  /** add tells whether the sums stay within their range. */
  add(r: RecordOf<"usage" | "late">): boolean {
    this.count += r.count;
    this.total = this.with(r);
    return fits(this.count) && fits(this.total);
  }

  private with(r: RecordOf<"usage" | "late">): bigint {
    const was = this.total;
    switch (this.agg) {
      case "min":
        return was === undefined || r.value < was ? r.value : was;
      case "max":
      case "peak":
        return was === undefined || r.value > was ? r.value : was;
      case "latest":
        if (was !== undefined && r.to < this.to) return was;
        this.to = r.to;
        if (r.to > this.carriedUntil) this.older = undefined;
        return r.value;
      case "unique":
        if (r.value > this.least) this.least = r.value;
        return (was ?? 0n) + r.value;
      default:
        return (was ?? 0n) + r.value;
    }
  }

  adjust(r: RecordOf<"adjust">): boolean {
    this.dvalue += r.dvalue;
    return fits(this.dvalue);
  }

  /** settle takes what a close says, where the records leave two values. */
  settle(value: bigint): void {
    if (this.older !== undefined) this.total = value;
  }

  get value(): bigint {
    return this.total ?? 0n;
  }

  /** gives tells whether value can be that of the records. */
  gives(value: bigint): boolean {
    if (this.agg === "unique") return value >= this.least && value <= this.value;
    return value === this.value || value === this.older;
  }
}

export class Meter {
  all: Sum;
  /** Since the close before. */
  range: Sum;
  /** Of the records that were read. */
  readonly read: Sum;
  listed = 0;

  constructor(
    readonly agg: Aggregation,
    carriedUntil = 0n,
  ) {
    this.all = new Sum(agg, carriedUntil);
    this.range = new Sum(agg);
    this.read = new Sum(agg);
  }

  cell(r: RecordOf<"usage" | "late">, find: Report): void {
    const totals = (detail: string): void => find("records/totals", detail);
    if (r.count === 0n) {
      const start = BigInt(r.attributes.get("start") ?? 0);
      if (!isLevel(r.agg) || start === 0n) find("records/sequence_gap", `COUNT is 0`);
      else if (r.value !== (r.agg === "peak" ? start : start * (r.to - r.from))) totals(`VALUE ${r.value} is not that of the level ${start}`);
      if (r.root !== EMPTY_ROOT) totals("COUNT is 0, ROOT is not that of no events");
    }
    if (r.agg === "count" && r.value !== r.count) totals(`VALUE is ${r.value}, COUNT ${r.count}`);
    if (r.agg === "unique" && r.value > r.count) totals(`VALUE ${r.value} is above COUNT ${r.count}`);
    const good = [this.all, this.range, this.read].map((s) => s.add(r));
    if (good.includes(false)) totals("a sum becomes too large");
  }

  adjust(r: RecordOf<"adjust">, find: Report): void {
    if (r.count === 0n) find("records/totals", "an adjust of no corrections");
    const good = [this.all, this.range, this.read].map((s) => s.adjust(r));
    if (good.includes(false)) find("records/totals", "a sum becomes too large");
  }

  /** state compares what a close says of the meter. */
  state(r: RecordOf<"close total">, find: Report): void {
    const compare = (what: string, says: bigint | undefined, sum: bigint, good = says === sum): void => {
      if (!good) find("records/totals", `${what} of ${r.meter} is stated as ${says ?? "-"}, the records give ${sum}`);
    };
    compare("COUNT", r.count, this.range.count);
    compare("VALUE", r.value, this.range.value, this.range.gives(r.value));
    compare("DVALUE", r.dvalue, this.range.dvalue);
    compare("ALLCOUNT", r.allCount, this.all.count);
    if (r.allValue !== undefined) {
      compare("ALLVALUE", r.allValue, this.all.value, this.all.gives(r.allValue));
      this.all.settle(r.allValue);
    }
    compare("ALLDVALUE", r.allDvalue, this.all.dvalue);
  }

  /** closed begins the next span. */
  closed(): void {
    this.range = new Sum(this.agg);
  }
}

/** The seat record before, of a pool. */
interface Before {
  readonly to: bigint;
  readonly start: bigint;
  readonly count: bigint;
}

export class Seats {
  private readonly pools = new Map<string, Before>();

  /** known is the number of pools. */
  get known(): number {
    return this.names.size;
  }
  private readonly names = new Set<string>();

  /** strict: the first record of a pool begins at 0, since nothing was before. */
  constructor(private strict: boolean) {}

  forget(): void {
    this.pools.clear();
    this.strict = false;
  }

  add(r: RecordOf<"seat">, find: Report): void {
    const totals = (detail: string): void => find("records/totals", `${r.pool}: ${detail}`);
    const before = this.pools.get(r.pool);
    if (before !== undefined && r.from < before.to) find("records/window_gap", `${r.pool}: FROM ${r.from} is below TO ${before.to} of the record before`);
    const most = r.peak * (r.to - r.from);
    if (r.peak < r.start) totals(`PEAK ${r.peak} is below START ${r.start}`);
    if (r.peak - r.start > r.count - r.denied) totals(`PEAK grows by ${r.peak - r.start} in ${r.count - r.denied} actions`);
    if (r.seconds > most) totals(`SECONDS ${r.seconds} are above ${most}`);
    if (r.count === 0n && (r.seconds !== most || r.start === 0n || r.root !== EMPTY_ROOT || r.peak !== r.start)) {
      totals("nothing happened, and the seats are not those of START");
    }
    if (before === undefined) {
      if (this.strict && r.start !== 0n) totals(`it begins with START ${r.start}`);
    } else if (r.from > before.to) {
      if (r.start !== 0n) totals(`START is ${r.start}, and the window before has no record`);
    } else if (before.count === 0n && r.start !== before.start) {
      totals(`START is ${r.start}, it was ${before.start} and nothing happened`);
    }
    this.pools.set(r.pool, { to: r.to, start: r.start, count: r.count });
    this.names.add(r.pool);
  }
}
