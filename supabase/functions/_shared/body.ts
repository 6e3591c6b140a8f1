// A request's body, read without trusting what its sender says about it.

/** Bytes in memory of their own: what Web Crypto takes. (Named `Uint8Array<ArrayBuffer>` from TypeScript 5.7 on.) */
export type Bytes = ReturnType<typeof Uint8Array.of>;

export interface BodyLimits {
  bytes: number;
  milliseconds: number;
}

export type Body =
  | { data: Bytes; error: null }
  | { data: null; error: "too_large" | "too_slow" | "broken" };

// One buffer that doubles, not a list of chunks: a body sent one byte a chunk would cost a hundred times its size. And
// it starts small whatever Content-Length says, so that many idle senders cannot reserve the memory of many full ones.
const BUFFER_BYTES = 16_384;

/** Reads the body as it streams in and stops at the limits, whatever a Content-Length says of it. */
export async function readBody(request: Request, limits: BodyLimits): Promise<Body> {
  if (Number(request.headers.get("content-length")) > limits.bytes) return { data: null, error: "too_large" };

  let buffer = new Uint8Array(BUFFER_BYTES);
  let length = 0;
  const end = await read(request, limits, (chunk) => {
    if (length + chunk.length > limits.bytes) return false;
    if (length + chunk.length > buffer.length) {
      const larger = new Uint8Array(Math.max(buffer.length * 2, length + chunk.length));
      larger.set(buffer.subarray(0, length));
      buffer = larger;
    }
    buffer.set(chunk, length);
    length += chunk.length;
    return true;
  });
  if (end === "complete") return { data: buffer.subarray(0, length), error: null };
  return { data: null, error: end === "stopped" ? "too_large" : end };
}

/**
 * Reads on and forgets what it reads, before a refusal: closing a connection on unread bytes resets it, and the sender
 * would see that instead of the answer. Beyond the limits it is left to be reset.
 */
export async function discardBody(request: Request, limits: BodyLimits): Promise<void> {
  // Still locked by a reader that came to its end: nothing is left.
  if (request.body?.locked) return;
  let length = 0;
  await read(request, limits, (chunk) => (length += chunk.length) < limits.bytes);
  await request.body?.cancel().catch(() => {});
}

/** Hands on the chunks until the end, until told to stop, or until the time is up; a chunk lasts until the next. */
async function read(request: Request, limits: BodyLimits, take: (chunk: Uint8Array) => boolean) {
  if (request.body === null) return "complete";
  const { reader, next } = openReader(request.body);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    // Ends the pending read, which then reports the stream as done.
    reader.cancel().catch(() => {});
  }, limits.milliseconds);
  try {
    for (;;) {
      const { done, value } = await next();
      if (late) return "too_slow";
      if (done) return "complete";
      if (!take(value)) break;
    }
  } catch {
    // The connection ended before the body did.
    return late ? "too_slow" : "broken";
  } finally {
    clearTimeout(timer);
  }
  // For whoever discards the rest.
  reader.releaseLock();
  return "stopped";
}

// Into one buffer lent to the stream again and again, where the stream is one of bytes as those of requests are: on the
// webhook door a tenth of a millisecond a request less than a new 64 KiB buffer for each chunk.
function openReader(stream: ReadableStream<Bytes>) {
  try {
    const reader = stream.getReader({ mode: "byob" });
    let lent = new Uint8Array(BUFFER_BYTES);
    const next = async () => {
      const result = await reader.read(lent);
      if (result.value !== undefined) lent = new Uint8Array(result.value.buffer);
      return result;
    };
    return { reader, next };
  } catch {
    const reader = stream.getReader();
    return { reader, next: () => reader.read() };
  }
}
