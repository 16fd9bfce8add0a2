// The upload page with comfort: files are dropped or chosen, each shows its size and
// digest at once, is sent with progress, and can be taken back or sent again. Without
// script the form does the same in one go.

// SHA-256 of a file that need not fit into memory; what browsers bring takes the
// whole of it at once.
const K = new Int32Array(64), H0 = new Int32Array(8);
{
  const frac = (x) => ((x - Math.floor(x)) * 0x100000000) | 0;
  for (let n = 2, i = 0; i < 64; n++) {
    let prime = true;
    for (let d = 2; d * d <= n; d++) if (n % d === 0) { prime = false; break; }
    if (!prime) continue;
    if (i < 8) H0[i] = frac(Math.sqrt(n));
    K[i++] = frac(Math.cbrt(n));
  }
}

class Sha256 {
  constructor() {
    this.h = H0.slice();
    this.w = new Int32Array(64);
    this.rest = new Uint8Array(64);
    this.held = 0; // bytes in rest
    this.bytes = 0;
  }
  update(data) {
    this.bytes += data.length;
    let at = 0;
    if (this.held) {
      at = Math.min(64 - this.held, data.length);
      this.rest.set(data.subarray(0, at), this.held);
      this.held += at;
      if (this.held < 64) return this;
      this.block(this.rest, 0);
      this.held = 0;
    }
    for (; at + 64 <= data.length; at += 64) this.block(data, at);
    this.rest.set(data.subarray(at));
    this.held = data.length - at;
    return this;
  }
  block(b, at) {
    const w = this.w, s = this.h;
    for (let i = 0; i < 16; i++, at += 4) w[i] = (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3];
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15], y = w[i - 2];
      w[i] = (w[i - 16] + w[i - 7] + (((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3)) +
        (((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10))) | 0;
    }
    let a = s[0], b1 = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (let i = 0; i < 64; i++) {
      const t = (h + (((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7))) + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
      const u = ((((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10))) + ((a & b1) ^ (a & c) ^ (b1 & c))) | 0;
      h = g; g = f; f = e; e = (d + t) | 0; d = c; c = b1; b1 = a; a = (t + u) | 0;
    }
    s[0] += a; s[1] += b1; s[2] += c; s[3] += d; s[4] += e; s[5] += f; s[6] += g; s[7] += h;
  }
  hex() {
    const bits = this.bytes * 8, end = new Uint8Array(this.held < 56 ? 64 - this.held : 128 - this.held);
    end[0] = 0x80;
    const v = new DataView(end.buffer);
    v.setUint32(end.length - 8, Math.floor(bits / 0x100000000));
    v.setUint32(end.length - 4, bits >>> 0);
    this.update(end);
    return Array.from(this.h, (x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
  }
}

const chunkBytes = 1 << 20;

async function digest(file, stop) {
  const sum = new Sha256();
  for (let at = 0; at < file.size && !stop(); at += chunkBytes) {
    sum.update(new Uint8Array(await file.slice(at, at + chunkBytes).arrayBuffer()));
  }
  return sum.hex();
}

const form = document.getElementById("upload"), chooser = document.getElementById("f-file"), drop = document.getElementById("drop");
const panel = document.getElementById("sending"), rows = panel.querySelector("ol"), footer = panel.querySelector(".actions");
const items = [];
let busy = false;

const number = (n) => n.toLocaleString("en");
const announce = (text) => (document.getElementById("announce").textContent = text);
const make = (tag, text = "", cls = "") => {
  const e = document.createElement(tag);
  e.textContent = text;
  e.className = cls;
  return e;
};
const button = (text, act, cls = "quiet") => {
  const b = make("button", text, cls);
  b.type = "button";
  b.addEventListener("click", act);
  return b;
};

function add(files) {
  for (const file of files) {
    if (items.some((i) => i.file.name === file.name && i.file.size === file.size && i.file.lastModified === file.lastModified)) continue;
    const i = { file, state: "waiting", li: make("li", "", "card"), head: make("h3", file.name), facts: make("p", "", "muted"), bar: document.createElement("progress"), says: make("p"), acts: make("div", "", "actions") };
    i.bar.max = Math.max(file.size, 1);
    i.bar.value = 0;
    i.bar.setAttribute("aria-label", "Sent of " + file.name);
    i.says.id = "says-" + items.length;
    i.facts.textContent = number(file.size) + " bytes, SHA-256 is calculated";
    i.li.append(i.head, i.facts, i.bar, i.says, i.acts);
    rows.append(i.li);
    items.push(i);
    show(i, "waiting", "Ready to be sent.");
    digest(file, () => i.state === "removed").then((hex) => {
      i.sha = hex;
      i.facts.replaceChildren(number(file.size) + " bytes, SHA-256 ", make("code", hex), ". Compare both with what the site showed when it exported the file.");
      compare(i);
    }, () => {
      i.facts.textContent = number(file.size) + " bytes. The file cannot be read.";
    });
  }
  panel.hidden = items.length === 0;
  chooser.required = items.length === 0;
  if (files.length) announce(files.length === 1 ? files[0].name + " was added." : files.length + " files were added.");
}

// show brings a row to a state, with the buttons that fit it.
function show(i, state, text, kind = "") {
  i.state = state;
  i.says.textContent = text;
  i.says.className = kind ? "box " + kind : "";
  i.bar.hidden = state !== "sending";
  const acts = [];
  if (state === "waiting") acts.push(button("Remove", () => remove(i)));
  if (state === "sending") acts.push(button("Cancel", () => i.request.abort()));
  if (state === "failed") acts.push(button("Send again", () => { show(i, "waiting", "Ready to be sent."); run(); }, ""), button("Remove", () => remove(i)));
  if (i.report || (i.code && state === "failed")) {
    const a = make("a", i.report ? "What it came to" : "What to do about it", "button quiet");
    a.href = i.report ? form.dataset.reports + encodeURIComponent(i.report) : "/docs/errors/" + i.code;
    acts.push(a);
  }
  for (const b of acts) b.setAttribute("aria-describedby", i.says.id);
  i.acts.replaceChildren(...acts);
}

function remove(i) {
  i.state = "removed";
  i.li.remove();
  items.splice(items.indexOf(i), 1);
  panel.hidden = items.length === 0;
  chooser.required = items.length === 0;
  announce(i.file.name + " was removed.");
  chooser.focus();
}

// compare tells when the portal received other bytes than the browser read.
function compare(i) {
  if (i.sha && i.received && i.sha !== i.received) {
    show(i, "failed", "The file changed on its way: the portal received other bytes than this computer read. Send it again.", "bad");
  }
}

function uploadName() {
  const b = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(b, (x) => x.toString(16).padStart(2, "0")).join("");
}

function send(i) {
  return new Promise((resolve) => {
    const x = (i.request = new XMLHttpRequest()), name = uploadName();
    let poll = 0;
    const cluster = document.getElementById("f-cluster").value.trim();
    x.open("POST", "/api/v1/reports" + (cluster ? "?cluster=" + encodeURIComponent(cluster) : ""));
    x.setRequestHeader("Content-Type", "application/octet-stream");
    x.setRequestHeader("Upload-Id", name);
    x.upload.addEventListener("progress", (e) => {
      i.bar.value = e.loaded;
      i.says.textContent = "Sending: " + Math.floor((100 * e.loaded) / Math.max(e.total, 1)) + " %";
    });
    x.upload.addEventListener("load", () => {
      i.bar.removeAttribute("value");
      i.says.textContent = "The portal verifies every record.";
      announce(i.file.name + " was sent, and is verified now.");
      poll = setInterval(() => progress(i, name), 700);
    });
    x.addEventListener("loadend", () => {
      clearInterval(poll);
      i.bar.value = i.bar.max;
      answered(i, x);
      announce(i.file.name + ": " + i.says.textContent);
      resolve();
    });
    show(i, "sending", "Sending.");
    x.send(i.file);
  });
}

// progress shows how far the portal is. It is no matter if that cannot be asked.
async function progress(i, name) {
  try {
    const r = await fetch("/api/v1/uploads/" + name);
    const u = r.ok && i.state === "sending" ? await r.json() : {};
    if (u.records) i.says.textContent = "The portal verifies every record: " + number(u.records) + " so far.";
  } catch {
    // the answer itself comes all the same
  }
}

// answered says what an upload came to. Whatever failed can be sent again: nothing is
// counted twice.
function answered(i, x) {
  let a = {};
  try {
    a = JSON.parse(x.responseText);
  } catch {
    // no answer of the portal
  }
  i.report = a.report_id;
  i.code = a.code; // of what was not even written down
  i.again = a.duplicate === true;
  i.received = a.file_sha256;
  if (x.status === 200) {
    const words = { ok: ["Accepted.", "good"], explain: ["Accepted, with questions to the site.", "warn"], duplicate: ["Known already: nothing was counted twice.", "good"] };
    let [text, kind] = words[a.code] || words.ok;
    if (a.license_status === "pending") [text, kind] = ["Accepted. The license waits for your vendor.", "warn"];
    show(i, "done", text, kind);
    compare(i);
  } else if (x.status === 401) {
    show(i, "failed", "You are not signed in any more. Sign in in another tab, then send it again: nothing was counted.", "bad");
  } else if (a.code && x.status < 500 && x.status !== 429 && x.status !== 408) {
    show(i, i.report ? "done" : "failed", "Not accepted: " + a.message + "." + (a.hint ? " " + a.hint[0].toUpperCase() + a.hint.slice(1) + "." : ""), "bad");
  } else {
    show(i, "failed", x.status === 0 ? "It was cancelled, or the connection broke off. Sending it again is safe: nothing is counted twice."
      : "The portal cannot take it just now (" + (a.message || "status " + x.status) + "). Sending it again is safe: nothing is counted twice.", "bad");
  }
}

// run sends what waits, in order, then leads to the results.
async function run() {
  if (busy) return;
  busy = true;
  form.querySelector("button").disabled = true;
  for (let i; (i = items.find((x) => x.state === "waiting")); ) await send(i);
  busy = false;
  form.querySelector("button").disabled = false;
  const q = new URLSearchParams();
  for (const i of items) {
    if (!i.report) continue;
    q.append("id", i.report);
    q.append("name", i.file.name);
    q.append("again", i.again ? "yes" : "");
  }
  if (!q.has("id")) return;
  const to = form.dataset.results + "?" + q;
  if (items.every((i) => i.state === "done")) {
    location.assign(to);
    return;
  }
  const a = make("a", "Results and replies", "button");
  a.href = to;
  footer.replaceChildren(a);
}

chooser.addEventListener("change", () => {
  add(chooser.files);
  chooser.value = "";
});
form.addEventListener("submit", (e) => {
  e.preventDefault();
  run();
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (e) => {
    e.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (e) => {
  if (!e.relatedTarget) drop.classList.remove("over");
});
document.addEventListener("drop", (e) => {
  e.preventDefault();
  drop.classList.remove("over");
  add(e.dataTransfer.files);
});
addEventListener("beforeunload", (e) => {
  if (busy) e.preventDefault();
});
document.getElementById("h-file").textContent = "Drop files anywhere on this page, or choose them: one or several. Sending a file twice is safe: nothing is counted twice.";
