// What a text may be wrapped in: docs/formats/report.md, "Wrapping".

import { startsWith, utf8 } from "./bytes";
import type { Source } from "./lines";
import { need, Refusal } from "./refusal";
import type { Sha256 } from "./sha256";

const ZSTD = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd);
const GZIP = Uint8Array.of(0x1f, 0x8b);
const AGE = utf8("age-encryption.org/v1");
const SQLITE = utf8("SQLite format 3\0");
const RATIO_MAX = 200;
const PIECE = 16 << 10; // packed bytes at a time

export type Wrapping = "" | "gzip" | "zstd";

/** unwrap gives the text of a file as it comes, and what it was wrapped in. */
export async function unwrap(file: Source, hash: Sha256): Promise<{ wrapping: Wrapping; text: Source }> {
  const input = file[Symbol.asyncIterator]();
  const held: Uint8Array[] = [];
  let first: Uint8Array = new Uint8Array(0);
  while (first.length < 64) {
    const { value, done } = await input.next();
    if (done) break;
    hash.update(value);
    held.push(value);
    const joined = new Uint8Array(first.length + Math.min(value.length, 64));
    joined.set(first);
    joined.set(value.subarray(0, 64), first.length);
    first = joined;
  }
  const whole = (async function* () {
    try {
      yield* held;
      for (;;) {
        const { value, done } = await input.next();
        if (done) return;
        hash.update(value);
        yield value;
      }
    } finally {
      await input.return?.();
    }
  })();
  if (startsWith(first, AGE)) {
    throw new Refusal("format/encrypted", "the file is encrypted with age; decrypt it first: age --decrypt -i KEY -o report.usage FILE");
  }
  if (startsWith(first, SQLITE)) {
    throw new Refusal("browser/database", "this is the report as a database; verify the .usage file, or use: meterseal report verify FILE");
  }
  if (startsWith(first, GZIP)) return { wrapping: "gzip", text: inflate(whole, "gzip") };
  if (startsWith(first, ZSTD)) return { wrapping: "zstd", text: inflate(whole, "zstd") };
  return { wrapping: "", text: whole };
}

function decompressor(format: "gzip" | "zstd"): GenericTransformStream {
  try {
    return new DecompressionStream(format as CompressionFormat);
  } catch {
    const command = format === "zstd" ? "zstd --decompress FILE" : "gzip --decompress FILE";
    throw new Refusal("browser/wrapped", `this browser cannot unpack ${format}; unpack the file first: ${command}`);
  }
}

/** inflate unpacks one stream, a little at a time so that a bomb is found early. */
async function* inflate(packed: Source, format: "gzip" | "zstd"): Source {
  const stream = decompressor(format);
  const writer = stream.writable.getWriter() as WritableStreamDefaultWriter<Uint8Array>;
  const reader = stream.readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
  let fed = 0;
  let came = 0;
  let all = false;
  const feeding = (async () => {
    for await (const chunk of packed) {
      for (let i = 0; i < chunk.length; i += PIECE) {
        const piece = chunk.slice(i, i + PIECE);
        fed += piece.length;
        await writer.write(piece);
      }
    }
    all = true;
    await writer.close();
  })().catch(() => undefined); // the reader fails too, and says so
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      came += value.length;
      need(came <= RATIO_MAX * fed, "size/ratio", "it unpacks to more than 200 bytes for one");
      yield value;
    }
  } catch (err) {
    if (err instanceof Refusal) throw err;
    // Whoever has given everything and is asked for more has a file that was cut.
    throw all ? new Refusal("format/truncated", `the ${format} file was cut`) : new Refusal("format/malformed", `no whole ${format} file of one part`);
  } finally {
    await reader.cancel().catch(() => undefined);
    await feeding;
  }
}
