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
/** Of requests that were carried out: only the answer is lost on the way. */
export const FAULTS_AFTERWARDS = ["accepted_500", "accepted_timeout", "accepted_disconnect", "accepted_html"] as const;
export type Fault = (typeof FAULTS)[number] | (typeof FAULTS_AFTERWARDS)[number];

export interface FaultDial {
  /** Share of requests that go wrong, 0 to 1. */
  rate: number;
  kinds: readonly Fault[];
  /** Only requests whose path and query match. */
  paths: RegExp;
  /** Only requests by these; all unless told. */
  methods: readonly string[];
  /** Where a redirect leads; the same host, another path unless told. */
  location: string;
  seed: number;
}

const METHODS = ["GET", "HEAD", "POST", "PATCH", "DELETE"];
const NONE: FaultDial = { rate: 0, kinds: FAULTS, paths: /./, methods: METHODS, location: "/app/login", seed: 1 };

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
    /** What goes wrong with this request; null for nothing. */
    next({ url = "", method = "GET" }: IncomingMessage): Fault | null {
      // The path first, so that the dice fall the same whatever else is asked meanwhile.
      if (url.search(dial.paths) < 0 || !dial.methods.includes(method) || !random.chance(dial.rate)) return null;
      const fault = random.pick(dial.kinds);
      counts[fault] = (counts[fault] ?? 0) + 1;
      return fault;
    },
    /** Answers wrongly. */
    answer: (fault: Fault, response: ServerResponse) => answerWrongly(fault, response, dial.location),
  };
}

/** Whether Chatwoot does what it is asked before this goes wrong. */
export const isAfterwards = (fault: Fault | null): boolean => FAULTS_AFTERWARDS.some((name) => name === fault);

async function answerWrongly(fault: Fault, response: ServerResponse, location: string): Promise<void> {
  const answer = (status: number, type: string, body: string | Buffer) =>
    void response.writeHead(status, { "content-type": type }).end(body);
  const json = "application/json; charset=utf-8";
  switch (fault) {
    case "500":
    case "accepted_500":
      return answer(500, json, '{"status":500,"error":"Internal Server Error"}');
    case "429":
      return answer(429, "text/plain", "Retry later\n");
    case "401":
      return answer(401, json, '{"error":"Invalid Access Token"}');
    case "404":
      return answer(404, json, '{"error":"Resource could not be found"}');
    case "timeout":
    case "accepted_timeout":
      return await new Promise((resolve) => response.once("close", resolve));
    case "html":
    case "accepted_html":
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
    case "accepted_disconnect":
      return void response.destroy();
  }
}
