// A verified report on the page.

import { code, el, facts, list, number, table, time, type Child } from "./dom";
import type { Report } from "./report";
import { meaning, todo } from "./words";

/** A Showing is what the page says of a document. */
export interface Showing {
  readonly verdict: "good" | "warn" | "bad";
  readonly word: string;
  readonly sentence: string;
  readonly parts: readonly Child[];
  readonly notChecked: readonly string[];
}

export function showReport(r: Report, siteKeyKnown: boolean): Showing {
  return {
    ...verdict(r, siteKeyKnown),
    parts: [
      facts("What was signed", [
        ["Ledger", code(r.origin)],
        ["Records", `${number(r.base.size)} to ${number(r.size)}: ${number(r.size - r.base.size)} in this report${r.final ? "; the ledger ends with it" : ""}`],
        ["Root", code(r.root)],
        ["Base", r.base.size === 0n ? "none: this is the first report" : el("span", {}, `${number(r.base.size)} records, root `, code(r.base.root))],
        ["Base proven by", baseWords[r.baseProvenBy]],
        ["Time", `${time(r.from)} to ${time(r.until)}`],
        ["Level", levelWords[r.level]],
        ["Signed by", list([...r.keys, ...r.newKeys].map((k) => code(k.vkey)))],
      ]),
      el("h3", {}, "Totals"),
      r.totals.length === 0
        ? el("p", {}, "No meter was used yet.")
        : table(
            "Per meter, in its smallest unit: in this report, and since the ledger was opened",
            [["Meter"], ["Aggregation"], ["Count", true], ["Value", true], ["Adjusted", true], ["Count, all", true], ["Value, all", true], ["Adjusted, all", true]],
            r.totals.map((t) => [t.meter, t.agg, number(t.count), maybe(t.value), number(t.adjusted), number(t.allCount), maybe(t.allValue), number(t.allAdjusted)]),
          ),
      el("h3", {}, "Nodes"),
      table(
        r.nodes.length > 1000 ? `The first 1,000 of ${number(r.nodes.length)} nodes` : "Nodes that are not removed",
        [["Node"], ["Events counted", true], ["Covered up to"]],
        r.nodes.slice(0, 1000).map((n) => [n.name, number(n.counted), time(n.covered)]),
      ),
      ...findings(r),
      ...gaps(r),
      el(
        "details",
        {},
        el("summary", {}, "Records by kind"),
        table("Records of this report", [["Kind"], ["Records", true]], [...r.kinds].sort().map(([k, n]) => [k, number(n)])), // prettier-ignore
      ),
    ],
    notChecked: notChecked(r, siteKeyKnown),
  };
}

const maybe = (n: bigint | undefined): string => (n === undefined ? "—" : number(n));

const baseWords: Readonly<Record<Report["baseProvenBy"], string>> = {
  opening: "the record that opens the ledger",
  accepted: "the checkpoint that you entered, or that a reply here has",
  receipt: "the vendor's receipt, which the report carries",
  file: "nothing: it was taken from the file",
};

const levelWords: Readonly<Record<Report["level"], string>> = {
  standard: "standard: sums only, nothing about people",
  pseudonymous: "pseudonymous: single events with keyed tags instead of users",
  detailed: "detailed: single events with user, host and address as they were recorded",
};

function verdict(r: Report, siteKeyKnown: boolean): Pick<Showing, "verdict" | "word" | "sentence"> {
  if (r.duplicate) return { verdict: "good", word: "Accepted before", sentence: "Everything in this report was accepted already." };
  switch (r.verdict) {
    case "ok":
      if (!siteKeyKnown) {
        return { verdict: "warn", word: "It agrees with the key that is in it", sentence: "Signature, tree and all sums agree. Whose key that is was not checked: see below." };
      }
      if (r.baseProvenBy === "file") {
        return { verdict: "warn", word: "It holds from its base on", sentence: "The site signed it, and all sums agree. That the vendor accepted the base was not checked: see below." };
      }
      return { verdict: "good", word: "It holds", sentence: "Signature, tree and all sums agree: the records are those that the site signed, complete and in order." };
    case "explain":
      return { verdict: "warn", word: siteKeyKnown ? "It holds, and asks for an explanation" : "It agrees with the key that is in it, and asks for an explanation", sentence: `${meaning(r.code)} The numbers agree.` };
    case "reject":
      return { verdict: "bad", word: "It does not add up", sentence: `${siteKeyKnown ? "The site" : "Whoever has the key in it"} signed this, and ${r.code} was found first in record ${number(r.record)}: ${meaning(r.code)}` };
  }
}

function findings(r: Report): Child[] {
  if (r.findings.length === 0) return [el("h3", {}, "Findings"), el("p", {}, "None.")];
  return [
    el("h3", {}, "Findings"),
    table(
      r.findings.length === 1 ? "One finding" : `${r.findings.length === 100 ? "The first 100" : number(r.findings.length)} findings, in the order of the records`,
      [["Code"], ["Record", true], ["What it means"], ["In this report"], ["What to do"]],
      r.findings.map((f) => [f.code, number(f.record), meaning(f.code), f.detail, todo(f.code)]),
    ),
  ];
}

function gaps(r: Report): Child[] {
  if (r.gapsAll === 0) return [];
  const caption = r.gapsAll > r.gaps.length ? `The first ${number(r.gaps.length)} of ${number(r.gapsAll)} gaps` : r.gapsAll === 1 ? "One gap" : `${number(r.gapsAll)} gaps`;
  const rows = r.gaps.map((g) => [g.node === "*" ? "all" : g.node, time(g.from), time(g.to), g.reason]);
  return [el("details", {}, el("summary", {}, "Gaps: spans without news of a node"), table(caption, [["Node"], ["From"], ["To"], ["Reason"]], rows))];
}

function notChecked(r: Report, siteKeyKnown: boolean): string[] {
  const out = [...r.notChecked];
  if (!siteKeyKnown) out.push("Whose key it is: no key of the site is known here, so the one in the file was taken. Compare it with the key in the site's license, or enter it above.");
  if (r.baseProvenBy === "file") out.push(`Whether the vendor accepted the base of ${number(r.base.size)} records: enter the vendor's receipt key, or that checkpoint.`);
  out.push("What an application never reported: no report can show that.");
  return out;
}
