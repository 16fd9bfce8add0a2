// Passkeys: made on the account page, used on the sign-in page. What the server and the
// authenticator say to each other is passed on as it is; only bytes change their form.

const bytes = (s) => Uint8Array.from(atob(s.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const text = (b) => btoa(String.fromCharCode(...new Uint8Array(b))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

async function send(path, body, type) {
  const a = await fetch(path, { method: "POST", body, headers: type ? { "Content-Type": type } : {} });
  const v = await a.json();
  if (!a.ok) throw new Error(v.message + ": " + v.how);
  return v;
}

function problem(form, e) {
  const p = form.querySelector("[data-passkey-problem]");
  p.textContent = e.name === "NotAllowedError" ? "The device did not answer, or it was called off." : e.message;
  p.hidden = false;
}

function answer(c) {
  const r = c.response, out = { id: c.id, rawId: text(c.rawId), type: c.type, authenticatorAttachment: c.authenticatorAttachment, clientExtensionResults: c.getClientExtensionResults(), response: { clientDataJSON: text(r.clientDataJSON) } };
  for (const name of ["attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (r[name]) out.response[name] = text(r[name]);
  }
  if (r.getTransports) out.response.transports = r.getTransports();
  return JSON.stringify(out);
}

for (const form of document.querySelectorAll("form[data-passkey-new]")) {
  if (!window.PublicKeyCredential) continue;
  form.querySelector("button").disabled = false;
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    try {
      const { publicKey } = await send(form.action, new URLSearchParams(new FormData(form)));
      publicKey.challenge = bytes(publicKey.challenge);
      publicKey.user.id = bytes(publicKey.user.id);
      for (const c of publicKey.excludeCredentials || []) c.id = bytes(c.id);
      const made = await navigator.credentials.create({ publicKey });
      const v = await send("/account/passkeys/finish?name=" + encodeURIComponent(form.elements.name.value), answer(made), "application/json");
      location.assign(v.to);
    } catch (e) { problem(form, e); }
  });
}

for (const form of document.querySelectorAll("form[data-passkey]")) {
  if (!window.PublicKeyCredential) continue;
  form.hidden = false;
  form.addEventListener("submit", async (e) => {
    e.preventDefault();
    try {
      const { publicKey } = await send("/sign-in/passkey/begin", "");
      publicKey.challenge = bytes(publicKey.challenge);
      for (const c of publicKey.allowCredentials || []) c.id = bytes(c.id);
      const shown = await navigator.credentials.get({ publicKey });
      const v = await send("/sign-in/passkey/finish?next=" + encodeURIComponent(form.elements.next.value), answer(shown), "application/json");
      location.assign(v.to);
    } catch (e) { problem(form, e); }
  });
}
