// A verified reply, and a verified license, on the page.

import { code, el, facts, list, number, table, time, type Child } from "./dom";
import type { License } from "./license";
import type { Reply } from "./reply";
import type { Showing } from "./showreport";
import { meaning } from "./words";

export function showReply(r: Reply, license: Showing | undefined, siteKeyKnown: boolean, vendorKeyKnown: boolean): Showing {
  const parts: Child[] = [
    facts("What was signed", [
      ["Ledger", code(r.origin)],
      ["Answers the report", r.report === undefined ? "none: a license by itself" : el("span", {}, "of which the text has the SHA-256 ", code(r.report))],
      ["Signed by", list(r.signedBy.map(({ key, time: at }) => el("span", {}, code(key.vkey), at === undefined ? "" : ` at ${time(at)}`)))],
    ]),
  ];
  if (r.checkpoint !== undefined) {
    parts.push(facts("Receipt: the vendor countersigned this checkpoint", [["Records", number(r.checkpoint.size)], ["Root", code(r.checkpoint.root)]])); // prettier-ignore
  }
  if (r.acceptance !== undefined) parts.push(...acceptance(r.acceptance));
  if (r.rejection !== undefined) parts.push(...rejection(r.rejection));
  if (license !== undefined) parts.push(el("h3", {}, "The license in it"), el("p", {}, license.sentence), ...license.parts);
  return { ...verdict(r, vendorKeyKnown), parts, notChecked: notChecked(r, license, siteKeyKnown, vendorKeyKnown) };
}

function verdict(r: Reply, vendorKeyKnown: boolean): Pick<Showing, "verdict" | "word" | "sentence"> {
  if (!vendorKeyKnown) {
    return { verdict: "warn", word: `It agrees with the keys that are in it: ${r.result}`, sentence: "Its parts are signed and agree. Whose keys they are was not checked: see below." };
  }
  switch (r.result) {
    case "accepted":
      return r.acceptance?.verdict === "explain"
        ? { verdict: "warn", word: "A good reply: accepted, and asks for an explanation", sentence: "The vendor took the report, and asks what is listed below." }
        : { verdict: "good", word: "A good reply: accepted", sentence: "The vendor took the report; receipt and acceptance are signed and agree." };
    case "refresh":
      return { verdict: "good", word: "A good reply: a license", sentence: "It brings a license and answers no report." };
    case "rejected":
      return { verdict: "warn", word: "A good reply: rejected", sentence: `The vendor did not take the report: ${meaning(r.rejection?.code ?? "")}` };
  }
}

function acceptance(a: NonNullable<Reply["acceptance"]>): Child[] {
  const license = typeof a.license === "bigint" ? `number ${a.license}, in this reply` : a.license;
  return [
    facts("What the vendor counted", [
      ["Records", `${number(a.base.size)} to ${number(a.accepted.size)}`],
      ["Time", `${time(a.from)} to ${time(a.until)}`],
      ["License", license],
      ["Next report by", a.nextReportBy === undefined ? "not due" : time(a.nextReportBy)],
      ...(a.reference === undefined ? [] : [["Reference", a.reference] as const]),
      ["Last report", a.final ? "yes: the ledger ended" : "no"],
      ["Issued", time(a.issued)],
      ...a.extra,
    ]),
    a.totals.length === 0
      ? el("p", {}, "No meter was used.")
      : table(
          "Totals that were taken, per meter, in its smallest unit",
          [["Meter"], ["Aggregation"], ["Count", true], ["Value", true], ["Adjusted", true]],
          a.totals.map((t) => [t.meter, t.agg, number(t.count), number(t.value), number(t.dvalue)]),
        ),
    a.findings.length === 0 ? undefined : table("To be explained", [["Code"], ["Record", true], ["What it means"]], a.findings.map((f) => [f.code, number(f.record), meaning(f.code)])), // prettier-ignore
  ];
}

function rejection(r: NonNullable<Reply["rejection"]>): Child[] {
  return [
    facts("Why it was not taken", [
      ["Code", r.code],
      ["What is wrong", r.message],
      ["What to do", r.how],
      ["Who puts it right", r.fixBy],
      ["First bad record", r.record === undefined ? "—" : number(r.record)],
      ["Line", r.line === undefined ? "—" : number(r.line)],
      ["Accepted last", r.last === undefined ? "nothing" : el("span", {}, `${number(r.last.size)} records, root `, code(r.last.root))],
      ["Issued", time(r.issued)],
      ...r.extra,
    ]),
  ];
}

function notChecked(r: Reply, license: Showing | undefined, siteKeyKnown: boolean, vendorKeyKnown: boolean): string[] {
  const out = [...r.notChecked, ...(license?.notChecked ?? [])];
  if (!vendorKeyKnown) out.push("Whose keys they are: the receipt and reply keys were taken from the license in the file. Compare them with what you know of the vendor, or enter them above.");
  if (r.checkpoint !== undefined && !siteKeyKnown) out.push("The site's signature on the receipt: no key of the site is known here.");
  if (r.checkpoint !== undefined) out.push("Whether the site's own ledger has this root: meterseal import asks that.");
  return out;
}

export function showLicense(l: License): Showing {
  const signed = l.signedBy !== undefined;
  return {
    verdict: signed ? "good" : "warn",
    word: signed ? "A license that the vendor signed" : "A license; nobody vouches for its key",
    sentence: signed ? "The text is whole, and the signature of the vendor's key that you entered fits it." : "The text is whole and written as the format asks. Which key signed it could not be compared with one that you know.",
    parts: [
      facts("What was signed", [
        ["License", `${l.id}, number ${l.serial}`],
        ["Signed by", l.signedBy === undefined ? list(l.signatures.map((s) => el("span", {}, code(`${s.name}+${s.id}`), ", not checked"))) : code(l.signedBy.vkey)],
        ["For the ledger", l.site === undefined ? "none yet: it activates a site" : code(l.site)],
        ["Asks for", l.checkpoint.size === 0n ? "a new ledger" : el("span", {}, `a ledger with the root `, code(l.checkpoint.root), ` at ${number(l.checkpoint.size)} records`)],
        ["Keys for replies", list([...l.receiptKeys, ...l.replyKeys].map((k) => code(k.vkey)))],
      ]),
      el("details", {}, el("summary", {}, "All lines of the license"), table("In their order", [["Line"], ["Value"]], l.lines.map(([k, v]) => [k, v]))), // prettier-ignore
    ],
    notChecked: [
      ...(signed ? [] : ["The signature: enter the vendor's license key (NAME/license/…) above. The license does not carry it."]),
      "Whether a site may use it: that depends on the site's ledger, its machine and the date. Revoked keys are not known here.",
    ],
  };
}
