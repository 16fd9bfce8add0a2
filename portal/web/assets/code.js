// Rows of a typed code: each is checked while it is typed, and a code that is pasted
// into the first row goes into all of them. Without script the portal says the same
// after the button is pressed.
const form = document.getElementById("code"), inputs = [...form.querySelectorAll(".coderow input")];

async function check(changed) {
  let rows;
  try {
    const r = await fetch("/my/activate/check", { method: "POST", body: new URLSearchParams(new FormData(form)) });
    if (!r.ok) return;
    rows = await r.json();
  } catch {
    return; // the button does the same
  }
  rows.forEach((row, i) => {
    const field = inputs[i].parentElement, says = field.querySelector(".help");
    if (row.row && !inputs[i].value) inputs[i].value = row.row;
    field.classList.toggle("wrong", Boolean(row.wrong));
    field.classList.toggle("right", row.right);
    if (row.wrong) inputs[i].setAttribute("aria-invalid", "true");
    else inputs[i].removeAttribute("aria-invalid");
    says.textContent = row.wrong ? "✗ " + row.wrong : row.right ? "✓ This row is right." : "";
    if (inputs[i] === changed) document.getElementById("announce").textContent = says.textContent;
  });
}

for (const input of inputs) input.addEventListener("change", () => check(input));
inputs[0].addEventListener("paste", (e) => {
  const text = e.clipboardData.getData("text"), words = text.split(/[-\s]+/).filter(Boolean);
  if (words.length !== 5 * inputs.length) return;
  e.preventDefault();
  inputs.forEach((input, i) => (input.value = words.slice(5 * i, 5 * i + 5).join("-")));
  check(inputs[0]);
});

// Rows that the page of QR codes has read.
if (new URLSearchParams(location.search).has("read")) {
  for (const input of inputs) {
    input.value = sessionStorage.getItem(input.name) || input.value;
    sessionStorage.removeItem(input.name);
  }
  check(inputs[0]);
}
