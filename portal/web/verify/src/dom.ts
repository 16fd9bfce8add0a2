// Small pieces of a page. Text never becomes markup.

export type Child = Node | string | undefined;

export function el(tag: string, attributes: Readonly<Record<string, string>> = {}, ...children: readonly Child[]): HTMLElement {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) e.setAttribute(k, v);
  e.append(...children.filter((c) => c !== undefined));
  return e;
}

export const code = (text: string): HTMLElement => el("code", {}, text);

/** facts is a table of names and values. */
export function facts(caption: string, rows: readonly (readonly [string, Child])[]): HTMLElement {
  const body = rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)));
  return el("div", { class: "v-scroll" }, el("table", {}, el("caption", {}, caption), el("tbody", {}, ...body)));
}

export type Column = readonly [name: string, number?: boolean];

/** table has a button that copies it, tab by tab, as spreadsheets take it. */
export function table(caption: string, columns: readonly Column[], rows: readonly (readonly string[])[]): HTMLElement {
  const cls = (i: number): Record<string, string> => (columns[i]?.[1] ? { class: "v-number" } : {});
  const head = el("tr", {}, ...columns.map(([name], i) => el("th", { scope: "col", ...cls(i) }, name)));
  const body = rows.map((r) => el("tr", {}, ...r.map((cell, i) => el("td", cls(i), cell))));
  const text = [columns.map(([name]) => name), ...rows].map((r) => r.join("\t")).join("\n");
  return el(
    "div",
    {},
    el("div", { class: "v-scroll", tabindex: "0", role: "region", "aria-label": caption }, el("table", {}, el("caption", {}, caption), el("thead", {}, head), el("tbody", {}, ...body))),
    el("p", {}, copyButton("Copy the table", text)),
  );
}

export function copyButton(name: string, text: string): HTMLElement {
  const button = el("button", { type: "button" }, name);
  button.addEventListener("click", () => {
    void copy(text).then((done) => {
      button.textContent = done ? "Copied" : "Not copied: the browser does not allow it";
      setTimeout(() => (button.textContent = name), 2000);
    });
  });
  return button;
}

async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = el("textarea", {}, text) as HTMLTextAreaElement; // pages of file://
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

export const list = (items: readonly Child[]): HTMLElement => el("ul", {}, ...items.map((i) => el("li", {}, i)));

/** number writes a number in groups of three digits. */
export const number = (n: bigint | number): string => n.toString().replace(/^-/, "−").replace(/\B(?=(\d{3})+$)/g, ",");

/** time writes seconds since 1970. */
export function time(seconds: bigint | undefined): string {
  if (seconds === undefined) return "—";
  if (seconds > 253402300799n) return `${seconds} s since 1970`;
  return new Date(Number(seconds) * 1000).toISOString().replace("T", " ").replace(".000Z", " UTC");
}
