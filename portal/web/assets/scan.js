// QR codes by camera: frames go to the portal, which reads them, until all parts of a
// document are there. Photos are read at once when they are chosen, whatever format
// the browser can show. Without script the form takes photos.
const form = document.getElementById("scan"), lines = form.elements.lines, picture = form.elements.picture;
const found = document.getElementById("found"), send = document.getElementById("send");
const card = document.getElementById("camera"), video = card.querySelector("video");
const on = card.querySelector('[data-camera="on"]'), off = card.querySelector('[data-camera="off"]');
const sideMax = 1920;
let stream = null, have = lines.value.split("\n").filter(Boolean).length;

const say = (text, cls) => {
  const p = document.createElement("p");
  p.textContent = text;
  p.className = cls || "";
  return p;
};

// jpeg draws what a video or an image shows, not larger than the portal needs.
function jpeg(source, width, height) {
  const scale = Math.min(1, sideMax / Math.max(width, height)), canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.getContext("2d").drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.9));
}

// read lets the portal read a picture, and shows what is there then. It tells whether
// reading can end. Frames without a code say nothing.
async function read(blob, quiet) {
  const data = new FormData();
  data.append("lines", lines.value);
  data.append("picture", blob, "picture.jpg");
  const r = await fetch("/my/scan", { method: "POST", headers: { Accept: "application/json" }, body: data });
  const x = await r.json();
  if (!r.ok) {
    if (!quiet) found.replaceChildren(say(x.message + ". " + x.hint + ".", "box warn"));
    return false;
  }
  if (x.code) {
    for (const [i, row] of x.code.entries()) sessionStorage.setItem("row" + (i + 1), row);
    location.assign("/my/activate/code?read=yes");
    return true;
  }
  const fresh = x.lines.length !== have;
  if (quiet && !fresh) return x.ready;
  have = x.lines.length;
  lines.value = x.lines.join("\n");
  const bar = document.createElement("progress");
  bar.max = x.total || 1;
  bar.value = have;
  bar.setAttribute("aria-label", "Parts read");
  const missing = x.missing.slice(0, 30).join(", ") + (x.missing.length > 30 ? " and more" : "");
  found.replaceChildren(...x.notes.map((n) => say(n, "box warn")));
  if (x.total) found.append(say(`${have} of ${x.total} parts are there.` + (x.ready ? " The report is complete." : " Missing: " + missing)), bar);
  send.hidden = !x.ready;
  return x.ready;
}

picture.addEventListener("change", async () => {
  for (const file of picture.files) {
    try {
      const image = await createImageBitmap(file);
      // Small codes in a large photo need all of its pixels.
      const blob = Math.max(image.width, image.height) > 2 * sideMax ? file : await jpeg(image, image.width, image.height);
      await read(blob, false);
    } catch {
      found.replaceChildren(say(file.name + " cannot be read as a picture.", "box warn"));
    }
  }
  picture.value = "";
});

function stop() {
  for (const t of stream ? stream.getTracks() : []) t.stop();
  stream = null;
  video.hidden = true;
  on.hidden = false;
  off.hidden = true;
}

if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) {
  card.hidden = false;
  on.addEventListener("click", async () => {
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
    } catch (e) {
      found.replaceChildren(say("The camera cannot be used (" + e.name + "). Allow it in the browser, or choose photos.", "box warn"));
      return;
    }
    on.hidden = true;
    off.hidden = false;
    off.focus();
    video.hidden = false;
    video.srcObject = stream;
    await video.play();
    // One frame at a time: the next when the portal has read the one before.
    while (stream) {
      try {
        if (await read(await jpeg(video, video.videoWidth, video.videoHeight), true)) {
          stop();
          const b = send.querySelector("button");
          if (b && !send.hidden) b.focus();
        }
      } catch {
        await new Promise((done) => setTimeout(done, 1000));
      }
      await new Promise((done) => setTimeout(done, 150));
    }
  });
  off.addEventListener("click", () => {
    stop();
    on.focus();
  });
}
