// The page: files in, what they prove out. It opens no connection.

import { copyButton, el, facts, list, number } from "./dom";
import { documentOf, Known, type Document } from "./documents";
import { Refusal } from "./refusal";
import type { Showing } from "./showreport";
import { meaning, todo } from "./words";

interface Shown {
  readonly file: File;
  readonly document: Document | undefined;
}

/** start brings the page to life. */
export function start(root: HTMLElement): void {
  const get = <T extends HTMLElement>(id: string): T => root.querySelector<T>(`#${id}`)!;
  const form = get<HTMLFormElement>("v-form");
  const input = get<HTMLInputElement>("v-files");
  const known = get<HTMLTextAreaElement>("v-known");
  const drop = get("v-drop");
  const state = get("v-state");
  const bar = get<HTMLProgressElement>("v-progress");
  const results = get("v-results");
  const again = get<HTMLButtonElement>("v-again");
  const clear = get<HTMLButtonElement>("v-clear");
  let files: File[] = [];
  let run = 0;

  /** breathe lets the browser draw and listen, and says how far the work is. */
  const breathe = (mine: number, file: File): ((bytes: number) => Promise<void>) => {
    let last = performance.now();
    return async (bytes) => {
      if (performance.now() - last < 30) return;
      bar.value = file.size === 0 ? 0 : Math.min(1, bytes / file.size);
      await new Promise((next) => setTimeout(next));
      last = performance.now();
      if (mine !== run) throw new Refusal("browser/stopped", "another check was begun");
    };
  };

  const check = async (): Promise<void> => {
    const mine = ++run;
    results.replaceChildren();
    again.disabled = clear.disabled = files.length === 0;
    if (files.length === 0) return;
    bar.hidden = false;
    try {
      const facts = new Known(known.value);
      const documents: Shown[] = [];
      for (const file of files) documents.push({ file, document: await documentOf(file).catch(() => undefined) });
      for (const { document } of documents) await document?.learn(facts);
      for (const { file, document } of documents) {
        bar.value = 0;
        state.textContent = `Checking ${file.name} …`;
        const shown = await show(file, document, facts, breathe(mine, file));
        if (mine !== run) return;
        results.append(shown);
      }
      state.textContent = `Checked ${files.length === 1 ? "1 file" : `${files.length} files`}. ${facts.problem}`;
    } finally {
      if (mine === run) bar.hidden = true;
    }
  };

  const take = (list: FileList | undefined | null): void => {
    files = [...(list ?? [])];
    void check();
  };
  form.hidden = false;
  form.addEventListener("submit", (e) => e.preventDefault());
  input.addEventListener("change", () => take(input.files));
  again.addEventListener("click", () => void check());
  known.addEventListener("change", () => void check());
  clear.addEventListener("click", () => {
    form.reset();
    state.textContent = "";
    bar.hidden = true;
    take(null);
    input.focus();
  });
  for (const event of ["dragover", "dragleave", "drop"] as const) {
    drop.addEventListener(event, (e) => {
      e.preventDefault();
      drop.classList.toggle("v-over", event === "dragover");
      if (event === "drop") take((e as DragEvent).dataTransfer?.files);
    });
  }
  // A file that falls beside the field must not replace the page.
  for (const event of ["dragover", "drop"] as const) window.addEventListener(event, (e) => e.preventDefault());
}

async function show(file: File, document: Document | undefined, known: Known, progress: (bytes: number) => Promise<void>): Promise<HTMLElement> {
  const heading = el("h2", {}, file.name);
  let showing: Showing;
  try {
    if (document === undefined) throw new Refusal("browser/unreadable", "no report, reply, license or license key");
    showing = await document.verify(known, progress);
  } catch (err) {
    showing = refused(err);
  }
  const digest = document === undefined ? undefined : await document.digest();
  const parts: HTMLElement[] = [verdictOf(showing)];
  if (digest !== undefined) parts.push(facts("The file", [["Size", `${number(file.size)} bytes`], ["SHA-256", el("span", {}, el("code", {}, digest), " ", copyButton("Copy", digest))]])); // prettier-ignore
  for (const p of showing.parts) if (p instanceof HTMLElement) parts.push(p);
  if (showing.notChecked.length > 0) parts.push(el("h3", {}, "Not checked"), list(showing.notChecked));
  return el("section", { class: "v-result" }, heading, ...parts);
}

const MARKS = { good: "✓", warn: "!", bad: "✗" } as const;

function verdictOf(s: Showing): HTMLElement {
  return el("div", { class: `v-verdict v-${s.verdict}` }, el("strong", {}, `${MARKS[s.verdict]} ${s.word}`), s.sentence);
}

function refused(err: unknown): Showing {
  if (!(err instanceof Refusal)) {
    const text = err instanceof Error ? err.message : String(err);
    return { verdict: "bad", word: "Not checked", sentence: `The browser failed: ${text}`, parts: [], notChecked: [] };
  }
  const rows: [string, string][] = [["Code", err.code], ["In this file", err.message]]; // prettier-ignore
  if (err.line > 0) rows.push(["Line", number(err.line)]);
  if (err.record >= 0) rows.push(["Record", number(err.record)]);
  if (todo(err.code) !== "") rows.push(["What to do", todo(err.code)]);
  const ours = err.code.startsWith("browser/");
  return {
    verdict: ours ? "warn" : "bad",
    word: ours ? "Not checked" : "Refused",
    sentence: `${meaning(err.code)}${ours ? "" : " This is about the file: it says nothing about the site."}`,
    parts: [facts("Why", rows)],
    notChecked: [],
  };
}

