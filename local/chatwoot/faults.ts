// Everything a Chatwoot, or a proxy before it, has been seen to answer instead of an answer.
import type { IncomingMessage, ServerResponse } from "node:http";
import { createRandom } from "./random.ts";

export const FAULTS = [
  "500",
  "429",
  "401",
  "404",
  "timeout",
  "html",
  "truncated",
  "redirect",
  "too_large",
  "wrong_content_type",
  "invalid_utf8",
  "wrong_shape",
  "disconnect",
] as const;
export type Fault = (typeof FAULTS)[number];

export interface FaultDial {
  /** Share of requests that go wrong, 0 to 1. */
  rate: number;
  kinds: readonly Fault[];
  /** Only requests whose path and query match. */
  paths: RegExp;
  /** Where a redirect leads; the same host, another path unless told. */
  location: string;
  seed: number;
}

const NONE: FaultDial = { rate: 0, kinds: FAULTS, paths: /./, location: "/app/login", seed: 1 };

export function createFaults(first: Partial<FaultDial>) {
  let dial = { ...NONE, ...first };
  let random = createRandom(dial.seed);
  const counts: Partial<Record<Fault, number>> = {};
  return {
    counts,
    /** Turns the dial from here on; the seed begins anew. */
    turn(changes: Partial<FaultDial>) {
      dial = { ...dial, ...changes };
      random = createRandom(dial.seed);
    },
    /** Perhaps answers wrongly; true when it did. */
    async spoil(request: IncomingMessage, response: ServerResponse): Promise<boolean> {
      // The path first, so that the dice fall the same whatever else is asked meanwhile.
      if ((request.url ?? "").search(dial.paths) < 0 || !random.chance(dial.rate)) return false;
      const fault = random.pick(dial.kinds);
      counts[fault] = (counts[fault] ?? 0) + 1;
      request.resume();
      await answerWrongly(fault, response, dial.location);
      return true;
    },
  };
}

async function answerWrongly(fault: Fault, response: ServerResponse, location: string): Promise<void> {
  const answer = (status: number, type: string, body: string | Buffer) =>
    void response.writeHead(status, { "content-type": type }).end(body);
  const json = "application/json; charset=utf-8";
  switch (fault) {
    case "500":
      return answer(500, json, '{"status":500,"error":"Internal Server Error"}');
    case "429":
      return answer(429, "text/plain", "Retry later\n");
    case "401":
      return answer(401, json, '{"error":"Invalid Access Token"}');
    case "404":
      return answer(404, json, '{"error":"Resource could not be found"}');
    case "timeout":
      return await new Promise((resolve) => response.once("close", resolve));
    case "html":
      return answer(200, "text/html", "<!doctype html><title>We are down for maintenance</title>");
    case "truncated":
      return answer(200, json, '{"data":{"meta":{"all_count":3},"payload":[{"id":1,"status":"op');
    case "redirect":
      return void response.writeHead(302, { location }).end();
    case "too_large":
      return answer(200, json, `{"data":{"payload":[]},"padding":"${"x".repeat(10 * 1024 * 1024)}"}`);
    case "wrong_content_type":
      return answer(200, "application/octet-stream", '{"data":{"payload":[]},"payload":[]}');
    case "invalid_utf8":
      return answer(200, json, Buffer.from([0x7b, 0x22, 0x61, 0x22, 0x3a, 0x22, 0xc3, 0x28, 0x22, 0x7d]));
    case "wrong_shape":
      return answer(200, json, '{"data":[],"payload":{"id":"seven"},"id":null}');
    case "disconnect":
      return void response.destroy();
  }
}
