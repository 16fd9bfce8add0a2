// The account of a node: what was taken from it, up to where its time is covered,
// and what it was told. docs/formats/ledger.md, "What must add up".

import type { RecordOf } from "./record";
import { fits } from "./spelling";

export type Report = (code: string, detail: string) => void;

const CLASSES = ["duplicate", "rejected", "quarantined", "voided"] as const;

/** What has to be accounted for once the windows up to an instant are closed. */
interface Due {
  readonly at: bigint;
  accepted: bigint;
  taken: bigint;
  short: bigint | undefined;
}

export class Account {
  counted = 0n; // the last Q1
  duplicate = 0n;
  rejected = 0n;
  quarantined = 0n;
  voided = 0n;
  /** Time up to which the node is covered; undefined: it has not begun. */
  covered: bigint | undefined;
  /** What the node was told last; undefined: nothing, or a restore came since. */
  told: { epoch: bigint; seq: bigint; taken: bigint } | undefined;
  /** Whether a close may state anything for what was told: after a restore. */
  anew = false;
  listed = 0; // number of the close that lists it

  private silent = 0n;
  private short = 0n;
  private due: Due[] = [];

  constructor(readonly name: string) {}

  /** fromBase takes over what the close before a report says; at is when it is due. */
  fromBase(r: RecordOf<"close node">, at: bigint): void {
    this.take(r);
    this.owe(at, { accepted: r.accepted, taken: r.taken ?? 0n, short: this.short });
  }

  private take(r: RecordOf<"close node">): void {
    this.counted = r.counted;
    for (const c of CLASSES) this[c] = r[c];
    this.covered = r.covered;
    this.silent = r.silent;
    this.short = shortOf(r);
    const { epoch, seq, taken } = r;
    this.told = epoch === undefined || seq === undefined || taken === undefined ? undefined : { epoch, seq, taken };
    this.anew = false;
  }

  cell(r: RecordOf<"usage" | "late">, find: Report): void {
    if (r.q1 - r.q0 !== r.count) find("records/sequence_gap", `Q1 − Q0 is ${r.q1 - r.q0}, COUNT ${r.count}`);
    if (r.q0 !== this.counted) find("records/sequence_gap", `${this.name} goes on at ${r.q0}, it had come to ${this.counted}`);
    this.counted = r.q1;
  }

  cover(from: bigint, to: bigint, find: Report): void {
    if (this.covered !== undefined && from > this.covered) {
      find("records/window_gap", `nothing covers ${this.name} from ${this.covered} to ${from}`);
    }
    if (this.covered === undefined || to > this.covered) this.covered = to;
  }

  reject(r: RecordOf<"reject">, find: Report): void {
    this[r.class] += r.count;
    if (this[r.class] < 0n || !fits(this[r.class])) find("records/sequence_gap", `${r.class} of ${this.name} becomes ${this[r.class]}`);
  }

  /** seen takes what the node was told; true: TAKEN fell. */
  seen(r: RecordOf<"seen">, due: bigint): boolean {
    const was = this.told;
    if (was !== undefined) {
      const grown = r.epoch === was.epoch ? r.seq - was.seq : r.epoch > was.epoch ? r.seq : 0n;
      this.short += grown - (r.taken - was.taken);
    }
    this.told = { epoch: r.epoch, seq: r.seq, taken: r.taken };
    this.anew = false;
    this.owe(due, { accepted: 0n, taken: r.taken, short: this.short });
    return was !== undefined && r.taken < was.taken;
  }

  /** explain takes numbers that a gap or an adjust accounts for. */
  explain(numbers: bigint): void {
    if (this.told === undefined) return;
    this.short -= numbers;
    for (const d of this.due) if (d.short !== undefined) d.short -= numbers;
  }

  /** forget begins anew after a restore. */
  forget(): void {
    this.told = undefined;
    this.anew = true;
    this.short = 0n;
    this.due = [];
  }

  private owe(at: bigint, what: Omit<Due, "at">): void {
    const last = this.due.at(-1);
    if (last === undefined || last.at !== at) {
      this.due.push({ at, ...what });
      return;
    }
    if (what.accepted > last.accepted) last.accepted = what.accepted;
    if (what.taken > last.taken) last.taken = what.taken;
    if (what.short !== undefined) last.short = what.short;
  }

  private get taken(): bigint {
    return this.counted + this.duplicate + this.rejected + this.quarantined + this.voided;
  }

  /** state compares what a close says of the node, and goes on from it. */
  state(r: RecordOf<"close node">, find: Report): void {
    const wrong = (what: string, says: unknown, is: unknown): void => {
      find("records/sequence_gap", `${what} of ${this.name} is stated as ${says ?? "-"}, the records give ${is ?? "-"}`);
    };
    if (r.counted !== this.counted) wrong("COUNTED", r.counted, this.counted);
    for (const c of CLASSES) if (r[c] !== this[c]) wrong(c.toUpperCase(), r[c], this[c]);
    const all = r.counted + r.duplicate + r.rejected + r.quarantined + r.voided + r.open;
    if (r.accepted !== all) wrong("ACCEPTED", r.accepted, all);
    if (!this.anew && (r.epoch !== this.told?.epoch || r.seq !== this.told?.seq || r.taken !== this.told?.taken)) {
      wrong("what it was told", r.taken, this.told?.taken);
    }
    if (r.covered !== this.covered) {
      find("records/window_gap", `${this.name} is stated to be covered up to ${r.covered ?? "-"}, the records say ${this.covered ?? "-"}`);
    }
    if (r.silent < this.silent) find("records/window_gap", `SILENT of ${this.name} falls from ${this.silent} to ${r.silent}`);
    if (shortOf(r) < this.short) wrong("short", shortOf(r), this.short);
    const anew = this.anew && r.epoch === undefined;
    this.take(r);
    this.anew = anew;
  }

  /** closed asks for what is due when the windows up to until are closed. */
  closed(until: bigint, find: Report): void {
    const due = this.due.filter((d) => d.at <= until);
    if (due.length === 0) return;
    this.due = this.due.filter((d) => d.at > until);
    for (const d of due) {
      if (this.taken < d.accepted) find("records/sequence_gap", `${d.accepted} events of ${this.name} were accepted, ${this.taken} are accounted for`);
      if (this.taken < d.taken) find("history/witness_ahead", `${this.name} was told that ${d.taken} events are taken, ${this.taken} are accounted for`);
    }
    const short = due.at(-1)?.short;
    if (short !== undefined && short > 0n) find("records/sequence_gap", `${short} numbers of ${this.name} are missing`);
  }

  /** stated keeps for later what the close says, once its own time is known. */
  stated(accepted: bigint, due: bigint): void {
    this.owe(due, { accepted, taken: 0n, short: this.short });
  }
}

const shortOf = (r: RecordOf<"close node">): bigint => BigInt(r.attributes.get("short") ?? 0);
