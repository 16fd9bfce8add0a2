// Records the documents of a print job with the NATS client for Node.js:
//
//   node nats.mjs JOB TIME        node nats.mjs job-17 2026-11-03T10:15:03Z
//
// TIME is when the job was printed. It belongs to the event: one that is sent
// only tomorrow, after an outage, still counts today. NATS_URL says where the
// daemon is, NATS_CREDS names the file with the node's credentials, if it has any.
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { setTimeout as pause } from "node:timers/promises";
import { connect, credsAuthenticator } from "@nats-io/transport-node";
import { jetstream, JetStreamApiError } from "@nats-io/jetstream";

const [job, time] = process.argv.slice(2);
const node = process.env.METERSEAL_NODE ?? hostname().split(".")[0];
const documents = [
  { id: `${job}/1`, pages: 12 },
  { id: `${job}/2`, pages: 8 },
  { id: `${job}/3`, pages: 10 },
];

const nc = await connect({
  servers: process.env.NATS_URL ?? "nats://127.0.0.1:4222",
  authenticator: process.env.NATS_CREDS && credsAuthenticator(readFileSync(process.env.NATS_CREDS)),
  inboxPrefix: `_INBOX.${node}`, // the one that a node with credentials is bound to
  waitOnFirstConnect: true, // the daemon may start later than this program
  maxReconnectAttempts: -1, // and start again at any time
});
const js = jetstream(nc);

// record returns when the event is on the daemon's disk. The msgID is the id of
// the event: however often it is sent, it counts once.
async function record({ id, pages }) {
  const event = JSON.stringify({ time, quantity: pages, dimensions: { format: "pdf" } });
  for (let attempt = 1; ; attempt++) {
    try {
      return await js.publish(`usage.${node}.render.pages`, event, { msgID: id, timeout: 3000 });
    } catch (err) {
      // 20429 is busy, 20503 says that the store cannot be written now. Any other
      // answer is a refusal, and the same again would be refused again. Without an
      // answer (a timeout, nobody listens, the connection is gone) the event may
      // be stored or not: send the same again.
      const refused = err instanceof JetStreamApiError && err.code !== 20429 && err.code !== 20503;
      if (refused || attempt === 8) {
        throw new Error(`${id} is not stored: ${err.message}`, { cause: err });
      }
      await pause(250 * attempt);
    }
  }
}

try {
  // Many at once: those that arrive together share one fsync of the daemon.
  const acks = await Promise.all(documents.map(record));
  const again = acks.filter((ack) => ack.duplicate).length;
  console.log(`${acks.length} documents of ${job} are stored, ${again} were already`);
} catch (err) {
  console.error(err.message);
  process.exitCode = 1;
}
await nc.close();
