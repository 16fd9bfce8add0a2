// Records the documents of a print job with the SDK of OpenMeter for Node.js. All
// that changes is the address:
//
//   node openmeter.mjs JOB TIME    node openmeter.mjs job-17 2026-11-03T10:15:03Z
//
// TIME is when the job was printed. It belongs to the event: one that is sent
// only tomorrow, after an outage, still counts today. METERSEAL_URL says where
// the daemon is, METERSEAL_TOKEN_FILE where the token is, if it wants one.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { OpenMeter } from "@openmeter/sdk";

const [job, time] = process.argv.slice(2);
const node = process.env.METERSEAL_NODE ?? hostname().split(".")[0];
const tokenFile = process.env.METERSEAL_TOKEN_FILE;
const openmeter = new OpenMeter({
  baseUrl: process.env.METERSEAL_URL ?? "http://127.0.0.1:8633",
  token: tokenFile && readFileSync(tokenFile, "utf8").trim(),
});

// ingest returns when every event is on the daemon's disk. source and id together
// are the id of the event, so give both: the SDK's own id is a new one each time.
async function ingest(events) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await openmeter.events.ingest(events);
    } catch (err) {
      // Without a status there was no answer. Then, and with 429 and 503, send
      // everything again: what is stored already counts once.
      const status = err.status ?? err.statusCode; // of newer and of older releases of the SDK
      const later = status === undefined || [408, 429].includes(status) || status >= 500;
      if (!later || attempt === 8) {
        // errors has the index of each event that was not taken; the others are stored.
        throw new Error(`not stored: ${JSON.stringify((err.__raw ?? err.problem)?.errors ?? err.message)}`, { cause: err });
      }
      await pause(250 * attempt);
    }
  }
}

const document = (n, pages) => ({
  id: `${job}/${n}`, source: node, type: "page.rendered", subject: "customer-1", time: new Date(time), data: { pages, format: "pdf" },
});
try {
  await ingest([document(1, 12), document(2, 8)]);
  await ingest(document(3, 10));
  console.log(`3 documents of ${job} are stored`);
} catch (err) {
  console.error(err.message);
  process.exitCode = 1;
}
