// Says to anybody who asks whether the project is well. From outside, since what stands still inside cannot say so itself.
import { z } from "zod";

const CACHE_MILLISECONDS = 5_000;
const Word = z.enum(["ok", "fail"]);
// Only what is named here leaves: were the database to say more one day, it would not be shown to the world.
const Status = z.object({
  status: Word,
  checked_at: z.string().nullable(),
  services: z.object({
    database: Word,
    checks: Word,
    chatwoot: Word,
    webhooks: Word,
    sync: Word,
    jobs: Word,
    sending: Word,
    numbers: Word,
  }).partial(),
});
export type Status = z.infer<typeof Status>;

/** What the Data API said: its answer, or why there is none (status 0: nobody answered in time). */
export interface Asked {
  data: unknown;
  error: { code?: string } | null;
  status: number;
}

/** All that lies outside. */
export interface Outside {
  now: () => number;
  ask: () => Promise<Asked>;
  log: (line: string) => void;
}

const UNREACHABLE: Status = {
  status: "fail",
  checked_at: null,
  services: { database: "fail" },
};

/** Makes the handler of one isolate, which asks the database once in five seconds however many ask it. */
export function answerHealth(
  outside: Outside,
): (request: Request) => Promise<Response> {
  let kept: { until: number; status: Promise<Status> } | null = null;

  async function ask(): Promise<Status> {
    const asked = await outside.ask().catch((): Asked => ({
      data: null,
      error: {},
      status: 0,
    }));
    const told = asked.error === null ? Status.safeParse(asked.data) : null;
    if (told?.success) return told.data;
    // Only what looks like a code, since it comes from elsewhere.
    const code = /^[A-Za-z0-9]{1,20}$/.exec(asked.error?.code ?? "")?.[0] ??
      "none";
    outside.log(
      told === null
        ? `OC503 the Data API did not answer: status ${asked.status}, code ${code}`
        : "OC503 api.public_status answered in an unknown form",
    );
    return UNREACHABLE;
  }

  return async (request) => {
    if (request.method === "OPTIONS") {
      return new Response(null, { status: 204, headers: HEADERS });
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return Response.json({
        code: "OC405",
        message: "Only GET is answered here.",
        hint: "Ask with GET.",
      }, {
        status: 405,
        headers: { ...HEADERS, allow: "GET, HEAD" },
      });
    }
    // The promise is kept and not its outcome: a crowd that comes at once waits for one answer.
    if (kept === null || kept.until <= outside.now()) {
      kept = { until: outside.now() + CACHE_MILLISECONDS, status: ask() };
    }
    const status = await kept.status;
    return new Response(
      request.method === "HEAD" ? null : JSON.stringify(status),
      {
        status: status.status === "ok" ? 200 : 503,
        headers: { ...HEADERS, "content-type": "application/json" },
      },
    );
  };
}

// Any page may read it, and nothing on the way may keep it for longer.
const HEADERS = {
  "access-control-allow-origin": "*",
  "access-control-allow-methods": "GET, HEAD",
  "cache-control": "public, max-age=5",
  "x-content-type-options": "nosniff",
};
