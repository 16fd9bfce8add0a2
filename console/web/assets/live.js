// Parts of the first page that go on. The state is asked in brief; only when it has
// changed is the page taken anew, and of it what has data-live. Without this script
// the page shows how things were when it was loaded.
const pause = 3000;
const focusable = "a, button, summary, [tabindex]";
let last;

// state is what can change the page: all of the answer but its clock, which counts by
// the minute ("2 minutes ago").
async function state() {
  const r = await fetch("/v1/status?brief=true", { headers: { Accept: "application/json" } });
  if (!r.ok) throw new Error(r.statusText);
  const s = await r.json();
  s.time = s.time.slice(0, 16);
  delete s.license.valid_until;
  delete s.store;
  return JSON.stringify(s);
}

const parts = (page) => [...page.querySelectorAll("[data-live]")].map((part) => part.id).join();

async function renew() {
  if (document.hidden) return;
  const now = await state();
  if (now === last) return;
  const r = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  if (!r.ok || r.redirected) return;
  const fresh = new DOMParser().parseFromString(await r.text(), "text/html");
  if (parts(fresh) !== parts(document)) return location.reload(); // one came, or went: the first node, the last step
  for (const part of document.querySelectorAll("[data-live]")) {
    const made = fresh.getElementById(part.id);
    if (part.textContent === made.textContent) continue;
    // Whoever is in a part with the keyboard stays where he was in it.
    const at = [...part.querySelectorAll(focusable)].indexOf(document.activeElement);
    part.innerHTML = made.innerHTML;
    part.className = made.className;
    if (at >= 0) (part.querySelectorAll(focusable)[at] ?? document.getElementById("main")).focus({ preventScroll: true });
  }
  last = now;
}

while (true) {
  await new Promise((wake) => setTimeout(wake, pause));
  await renew().catch(() => {}); // the daemon starts again, maybe
}
