// Records the documents of a print job as CloudEvents, with their SDK for
// JavaScript, in each of the three forms of the HTTP binding:
//
//   node cloudevents.mjs JOB TIME    node cloudevents.mjs job-17 2026-11-03T10:15:03Z
//
// TIME is when the job was printed. It belongs to the event: one that is sent
// only tomorrow, after an outage, still counts today. METERSEAL_URL says where
// the daemon is, METERSEAL_TOKEN_FILE where the token is, if it wants one.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { CloudEvent, HTTP } from "cloudevents";

const [job, time] = process.argv.slice(2);
const node = process.env.METERSEAL_NODE ?? hostname().split(".")[0];
const url = `${process.env.METERSEAL_URL ?? "http://127.0.0.1:8633"}/v1/events`;
const tokenFile = process.env.METERSEAL_TOKEN_FILE;
const authorization = tokenFile ? { authorization: `Bearer ${readFileSync(tokenFile, "utf8").trim()}` } : {};

// The type chooses the meters, data has their quantities. source and id together
// are the id of the event: however often it is sent, it counts once. The source
// is the node too, if nothing else names one.
const document = (n, pages) =>
  new CloudEvent({ id: `${job}/${n}`, source: node, type: "page.rendered", time, data: { pages, format: "pdf" } });

// send returns when everything in message is on the daemon's disk.
async function send({ headers, body }) {
  for (let attempt = 1; ; attempt++) {
    // 503: as without an answer. Then the events may be stored or not.
    const answer = await fetch(url, { method: "POST", headers: { ...headers, ...authorization }, body, signal: AbortSignal.timeout(10_000) })
      .catch((err) => new Response(`{"message":"${err.cause?.code ?? err.name}"}`, { status: 503 }));
    const text = await answer.text().catch(() => "{}"); // cut off on the way: 202 holds all the same
    if (answer.status === 202) {
      // One result per event, in order. In a batch those that are refused do not
      // hold up the others; a single event that is refused has a status of its own.
      const refused = (JSON.parse(text).results ?? []).filter((result) => result.status >= 400);
      if (refused.length === 0) return;
      throw new Error(refused.map((result) => `${result.code}: ${result.message}`).join("; "));
    }
    const later = [408, 429].includes(answer.status) || answer.status >= 500;
    if (!later || attempt === 8) throw new Error(`not stored: ${answer.status} ${text}`);
    await pause(1000 * Number(answer.headers.get("Retry-After") ?? 0.25 * attempt));
  }
}

try {
  await send(HTTP.structured(document(1, 12)));
  await send(HTTP.binary(document(2, 8)));
  await send({
    headers: { "content-type": "application/cloudevents-batch+json" },
    body: JSON.stringify([document(2, 8), document(3, 10)]), // the second one again: a duplicate
  });
  console.log(`3 documents of ${job} are stored`);
} catch (err) {
  console.error(err.message);
  process.exitCode = 1;
}
