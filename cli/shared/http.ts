// One request, with a limit on everything, and each way it can go wrong told in a sentence with what to do.
import type { Outside } from "./outside.ts";
import { codeOf, EXIT, Interrupted, messageOf, Problem } from "./problem.ts";

export interface Asking {
  /** Whom we ask, for people: "Chatwoot". */
  who: string;
  url: string;
  method?: string;
  headers?: Record<string, string>;
  body?: string | Uint8Array;
  outside: Outside;
}

export interface Answered {
  status: number;
  headers: Headers;
  text: string;
  milliseconds: number;
}

const BODY_LIMIT = 10 * 1024 * 1024;

const TLS = /^(CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_|ERR_TLS|HOSTNAME_MISMATCH|INVALID_CA)/;

/** Sends it and reads the answer; redirects are not followed. Throws Problem where no answer came. */
export async function request(asking: Asking): Promise<Answered> {
  const { who, url, outside: { signal, timeoutMilliseconds: milliseconds } } = asking;
  const { host, hostname } = new URL(url);
  const began = performance.now();
  const timeout = AbortSignal.timeout(milliseconds);
  try {
    const response = await fetch(url, {
      method: asking.method ?? "GET",
      headers: asking.headers,
      body: asking.body as BodyInit | undefined,
      redirect: "manual",
      signal: AbortSignal.any([signal, timeout]),
    });
    const text = await readBody(response, who);
    return { status: response.status, headers: response.headers, text, milliseconds: performance.now() - began };
  } catch (error) {
    if (error instanceof Problem) throw error;
    if (signal.aborted) throw new Interrupted();
    const code = codeOf(error);
    const fault = (message: string, next: string) => new Problem(EXIT.unreachable, message, next);
    if (timeout.aborted || /TIMEOUT|ETIMEDOUT/.test(code)) {
      throw fault(
        `${who} at ${host} did not answer within ${Math.round(milliseconds / 1000)} seconds.`,
        `Open ${new URL(url).origin} in a browser; look whether it runs, and whether a firewall is in between.`,
      );
    }
    if (code === "ENOTFOUND" || code === "EAI_NONAME") {
      throw fault(`The name ${hostname} does not exist (DNS).`, "Check the spelling of the URL, and the DNS entry.");
    }
    if (code === "EAI_AGAIN") {
      throw fault(
        `The name ${hostname} could not be looked up: there is no network, or its name server is silent.`,
        "Check this machine's network connection, then try again.",
      );
    }
    if (/^(ENETUNREACH|EHOSTUNREACH|ENETDOWN|EADDRNOTAVAIL)$/.test(code)) {
      throw fault(`There is no way from this machine to ${host}.`, "Check the network connection, VPN and firewall.");
    }
    if (code === "ECONNREFUSED") {
      throw fault(
        `Nothing listens at ${host}.`,
        who === "The stack" ? "Start it with npm start." : `Look whether ${who} runs, and whether the port is right.`,
      );
    }
    if (/^(ERR_SSL_|EPROTO)/.test(code)) {
      throw fault(
        `What answers at ${host} speaks no TLS (${code}).`,
        "Check the port of the URL; a server without TLS is reached by http://, in a private network only.",
      );
    }
    if (TLS.test(code) || /certificate|SSL|TLS/i.test(messageOf(error))) {
      throw fault(
        `The TLS certificate of ${host} is not valid here (${code || "no code"}).`,
        "Renew the certificate, or correct the host name; for a certificate of your own authority set NODE_EXTRA_CA_CERTS to its file.",
      );
    }
    if (/^HPE_/.test(code)) {
      throw fault(`What answers at ${host} speaks no HTTP.`, "Check the port of the URL.");
    }
    throw fault(
      `The connection to ${who} at ${host} broke off (${code || messageOf(error)}).`,
      "Try again; if it stays so, look at its log.",
    );
  }
}

async function readBody(response: Response, who: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body ?? []) {
    size += part.length;
    if (size > BODY_LIMIT) {
      throw new Problem(EXIT.finding, `${who} answered with more than 10 MB.`, "Check that the URL is the right one.");
    }
    parts.push(part);
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return new TextDecoder().decode(all);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
