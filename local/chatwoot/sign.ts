// The headers of one webhook request, signed as Chatwoot 4.11.2 and later sign it.
import { createHmac } from "node:crypto";

export interface SigningOptions {
  /** The webhook's secret, used as text; null sends unsigned, as Chatwoot does where the column is empty. */
  secret: string | null;
  /** Unix seconds at the moment of sending, not at the moment of the event. */
  timestamp: number;
  /** A lower-case UUID; null leaves the header out, as automation and macro calls do. */
  deliveryId: string | null;
}

/** `sha256=` and the HMAC over timestamp, a full stop and the raw body. */
export function signature(body: Uint8Array, { secret, timestamp }: { secret: string; timestamp: number }): string {
  return `sha256=${createHmac("sha256", secret).update(`${timestamp}.`).update(body).digest("hex")}`;
}

export function signatureHeaders(
  body: Uint8Array,
  { secret, timestamp, deliveryId }: SigningOptions,
): Record<string, string> {
  return {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "Ruby",
    "Accept-Encoding": "gzip;q=1.0,deflate;q=0.6,identity;q=0.3",
    ...(deliveryId === null ? {} : { "X-Chatwoot-Delivery": deliveryId }),
    ...(secret === null ? {} : {
      "X-Chatwoot-Timestamp": String(timestamp),
      "X-Chatwoot-Signature": signature(body, { secret, timestamp }),
    }),
  };
}
