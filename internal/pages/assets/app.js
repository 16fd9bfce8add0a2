// What pages do beyond HTML. Everything works without it, only less comfortably.

// The reader's own time beside UTC.
for (const t of document.querySelectorAll("time[data-local]")) {
  const at = new Date(t.dateTime);
  if (at.getTimezoneOffset() === 0) continue;
  const local = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
  t.title = local;
  // Where a date decides something, it stands there for all to see.
  if (t.hasAttribute("data-local-beside")) {
    const span = document.createElement("span");
    span.className = "beside";
    span.textContent = local + ", your time";
    t.after(span);
  }
}

// Light and dark.
for (const b of document.querySelectorAll("[data-theme-switch]")) {
  b.hidden = false;
  b.addEventListener("click", () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    localStorage.setItem("theme", root.dataset.theme);
  });
}

// Copy a command, or a request as curl.
for (const b of document.querySelectorAll("[data-copy]")) {
  if (!navigator.clipboard) continue;
  b.hidden = false;
  b.addEventListener("click", async () => {
    const code = b.parentElement.querySelector("code");
    let text = code.textContent;
    if (code.dataset.request) {
      const [method, path] = code.dataset.request.split(" ");
      text = `curl -X ${method} -H "Authorization: Bearer $TOKEN" ${location.origin}${path}`;
    }
    await navigator.clipboard.writeText(text);
    const was = b.textContent;
    b.textContent = "Copied";
    setTimeout(() => (b.textContent = was), 1500);
  });
}

// Ask before what cannot be undone: <form data-confirm="…">.
for (const f of document.querySelectorAll("form[data-confirm]")) {
  f.addEventListener("submit", (e) => {
    if (!confirm(f.dataset.confirm)) e.preventDefault();
  });
}

// What scrolls can be reached and scrolled by keyboard.
function reachable() {
  for (const e of document.querySelectorAll(".wide, pre, code")) {
    const style = getComputedStyle(e);
    const wide = e.scrollWidth > e.clientWidth && style.overflowX !== "visible";
    const high = e.scrollHeight > e.clientHeight && style.overflowY !== "visible";
    if ((wide || high) && !e.closest("a, button")) e.tabIndex = 0;
  }
}
reachable();
addEventListener("resize", reachable);
