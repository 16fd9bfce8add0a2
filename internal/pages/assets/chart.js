// Charts: the value of the bar under the pointer or the focus, in a box; the arrow
// keys go from bar to bar. Without it each bar has its value as a title.
const box = document.createElement("div");
box.className = "chart-value";
box.hidden = true;
box.setAttribute("aria-hidden", "true");
document.body.append(box);

function show(bar) {
  box.textContent = bar.getAttribute("aria-label");
  box.hidden = false;
  const at = bar.getBoundingClientRect();
  const half = box.offsetWidth / 2;
  const middle = Math.min(Math.max(at.left + at.width / 2, half + 4), document.documentElement.clientWidth - half - 4);
  box.style.left = `${middle - half + scrollX}px`;
  box.style.top = `${Math.max(at.top - box.offsetHeight - 6, 4) + scrollY}px`;
}

for (const chart of document.querySelectorAll("svg[data-chart]")) {
  const bars = [...chart.querySelectorAll("g.bar")];
  for (const [i, bar] of bars.entries()) {
    bar.querySelector("title")?.remove(); // the box says it
    bar.setAttribute("tabindex", i === 0 ? "0" : "-1");
  }
  const of = (e) => e.target.closest?.("g.bar");
  chart.addEventListener("pointermove", (e) => (of(e) ? show(of(e)) : (box.hidden = true)));
  chart.addEventListener("pointerleave", () => (box.hidden = true));
  chart.addEventListener("focusin", (e) => of(e) && show(of(e)));
  chart.addEventListener("focusout", () => (box.hidden = true));
  chart.addEventListener("keydown", (e) => {
    const now = bars.indexOf(document.activeElement);
    const to = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: bars.length - 1 }[e.key];
    if (e.key === "Escape") box.hidden = true;
    if (now < 0 || to === undefined || !bars[to]) return;
    e.preventDefault();
    bars[now].setAttribute("tabindex", "-1");
    bars[to].setAttribute("tabindex", "0");
    bars[to].focus();
  });
}
