// How a document is refused. It is about the file, never about the site.

export class Refusal extends Error {
  constructor(
    readonly code: string,
    message: string,
    /** Line of the text, from 1; 0: none. */
    public line = 0,
    /** Index of the record; -1: none can be named. */
    public record = -1,
  ) {
    super(message);
  }
}

/** need refuses the document unless a condition holds. */
export function need(condition: unknown, code: string, message: string): asserts condition {
  if (!condition) throw new Refusal(code, message);
}

/** What a spelling says of a text that is none of its values. */
export class Misspelt extends Error {}

/** spelt gives what read does; a text that is misspelt refuses the document. */
export function spelt<T>(read: () => T, code = "format/malformed"): T {
  try {
    return read();
  } catch (err) {
    if (err instanceof Misspelt) throw new Refusal(code, err.message);
    throw err;
  }
}
