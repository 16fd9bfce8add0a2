// Parts of the page that go on: what has data-live is taken anew from the page itself.
// Without it the page shows how things were when it was loaded.
const pause = 2000;

async function renew() {
  if (document.hidden) return;
  const r = await fetch(location.pathname + location.search, { headers: { Accept: "text/html" } });
  if (!r.ok || r.redirected) return;
  const fresh = new DOMParser().parseFromString(await r.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(part.id);
    // Whoever is in a part with the keyboard is not thrown out of it.
    if (!now || part.contains(document.activeElement)) continue;
    if (part.textContent !== now.textContent) part.innerHTML = now.innerHTML;
    part.className = now.className;
  }
}

while (true) {
  await new Promise((wake) => setTimeout(wake, pause));
  await renew().catch(() => {}); // the daemon starts again, maybe
}
