// Events as they come. Without it the page shows the newest and a link that loads it again.
const table = document.querySelector("table[data-tail]");
const body = table.tBodies[0];
const state = document.querySelector("[data-tail-state]");
const kinds = { stored: "none", counted: "good", duplicate: "none", quarantined: "warn" };
let after = Number(table.dataset.tail);

function badge(cell, code) {
  const s = document.createElement("span");
  s.className = "state " + (kinds[code] ?? "bad");
  s.textContent = code;
  cell.replaceChildren(s);
}

function row(e) {
  const tr = document.createElement("tr");
  tr.dataset.seq = e.seq ?? 0;
  for (const text of [e.time.replace("T", " ").slice(0, 19) + " UTC", "", e.node, e.meter ?? "", e.quantity.toLocaleString("en"), e.id ?? ""]) {
    tr.insertCell().textContent = text;
  }
  badge(tr.cells[1], e.code);
  tr.cells[4].className = "num";
  return tr;
}

while (true) {
  try {
    const r = await fetch(`/v1/events/tail?after=${after}&wait=20`);
    if (!r.ok) throw new Error(String(r.status));
    const a = await r.json();
    after = a.next;
    for (const e of a.events) body.prepend(row(e));
    if (a.events.length) document.querySelector("[data-tail-empty]")?.remove();
    while (body.rows.length > 200) body.lastElementChild.remove();
    for (const tr of body.rows) {
      const word = tr.cells[1].textContent.trim();
      if (word === "stored" && Number(tr.dataset.seq) <= a.counted_seq) badge(tr.cells[1], "counted");
    }
    state.textContent = a.missed ? `${a.missed} lines were left out.` : "";
  } catch {
    state.textContent = "The daemon does not answer; trying again.";
    await new Promise((wake) => setTimeout(wake, 3000));
  }
}
