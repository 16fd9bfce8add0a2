// Runs the script of a built verifier over cases: one line of JSON each on
// standard input, answered by one line of JSON. The tests start it once for all.
import { createReadStream, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import vm from "node:vm";

const built = readFileSync(process.argv[2], "utf8");
const script = /<script>([^]*?)<\/script>/.exec(built)?.[1] ?? built;
vm.runInThisContext(script, { filename: process.argv[2] });
const { meterseal } = globalThis;

/** plain makes numbers of any size, maps and bytes JSON. */
function plain(key, value) {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Uint8Array) return Buffer.from(value).toString("base64");
  return value;
}

const fileOf = (c) => () => (c.path ? createReadStream(c.path) : (async function* () { yield Buffer.from(c.data ?? "", "base64"); })()); // prettier-ignore

const sizes = (list) => list?.map(({ size, root }) => ({ size: BigInt(size), root }));

const known = (o = {}) => ({ ...o, accepted: sizes(o.accepted), tree: o.tree && { size: BigInt(o.tree.size), roots: sizes(o.tree.roots) } });

async function answer(c) {
  let heap = 0;
  const progress = async () => void (heap = Math.max(heap, process.memoryUsage().heapUsed));
  try {
    return { ...(await meterseal[c.verify](fileOf(c), { ...known(c.options), ...(c.path && { progress }) })), heap };
  } catch (err) {
    if (err instanceof meterseal.Refusal) return { verdict: "refused", code: err.code, line: err.line, record: err.record, text: err.message };
    return { verdict: "error", code: "-", text: `${err.stack}` };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(JSON.stringify(await answer(JSON.parse(line)), plain) + "\n");
}
