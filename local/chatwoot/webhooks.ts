// Webhooks as Chatwoot's workers send them: to every row of `webhooks` that asked for the event, once, in no order, and
// with a dial for everything that goes wrong on the way.
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { ChatwootEvent } from "./engine.ts";
import { createRandom, type Random } from "./random.ts";
import { type Answer, send } from "./sender.ts";

export interface WebhookDial {
  /** Share that is lost, 0 to 1. */
  drop: number;
  /** Share that comes twice: half of those under the same delivery id, half under another. */
  duplicate: number;
  /** Each waits up to this long. */
  delayMilliseconds: number;
  /** Whether they leave in an order of their own. */
  reorder: boolean;
  /** Whether a body shows the records as they are when it is sent, and not when it was built. */
  snapshotAtSend: boolean;
  seed: number;
}

const CALM: WebhookDial = {
  drop: 0,
  duplicate: 0,
  delayMilliseconds: 0,
  reorder: false,
  snapshotAtSend: false,
  seed: 1,
};

export interface Target {
  url: string;
  secret: string | null;
  subscriptions: readonly string[];
}

export interface WebhookCounts {
  /** Events that were to go to some webhook. */
  events: number;
  dropped: number;
  doubled: number;
  /** Answered 2xx. */
  accepted: number;
  /** Answered otherwise, or not at all. Nothing is sent again. */
  refused: number;
}

/** An event on its way, after the dial. */
export interface Delivery {
  event: ChatwootEvent;
  deliveryId: string;
  /** Milliseconds that it is late. */
  late: number;
}

/** What a bad line makes of events: some lost, some twice, late and in another order. The same seed does the same. */
export function applyDial(events: readonly ChatwootEvent[], dial: Partial<WebhookDial>, random?: Random): Delivery[] {
  const { drop, duplicate, delayMilliseconds, reorder, seed } = { ...CALM, ...dial };
  const dice = random ?? createRandom(seed);
  const deliveries: Delivery[] = [];
  for (const event of events) {
    if (dice.chance(drop)) continue;
    const one = () => ({ event, deliveryId: event.deliveryId, late: dice.integer(0, delayMilliseconds) });
    deliveries.push(one());
    if (dice.chance(duplicate)) deliveries.push({ ...one(), ...(dice.chance(0.5) ? { deliveryId: dice.uuid() } : {}) });
  }
  if (reorder) {
    for (let last = deliveries.length - 1; last > 0; last--) {
      const other = dice.integer(0, last);
      [deliveries[last], deliveries[other]] = [deliveries[other], deliveries[last]];
    }
  }
  return deliveries.sort((one, other) => one.late - other.late);
}

/** Sends events to targets under a dial; what was not accepted is not tried again. */
export function createDispatcher(first: Partial<WebhookDial>, now: () => Date) {
  let dial = { ...CALM, ...first };
  let random = createRandom(dial.seed);
  const counts: WebhookCounts = { events: 0, dropped: 0, doubled: 0, accepted: 0, refused: 0 };
  const underway = new Set<Promise<unknown>>();

  const sendTo = async (target: Target, deliveries: Delivery[]) => {
    const began = performance.now();
    const due = async function* () {
      for (const delivery of deliveries) {
        const wait = delivery.late - (performance.now() - began);
        if (wait > 0) await sleep(wait);
        // The job is discarded when the record it is about is gone.
        if (dial.snapshotAtSend && delivery.event.isGone()) continue;
        yield delivery;
      }
    };
    const take = (answers: Answer[]) => {
      for (const { status } of answers) {
        if (status !== null && status >= 200 && status < 300) counts.accepted++;
        else counts.refused++;
      }
    };
    const sendable = ({ event, deliveryId }: Delivery) => ({
      deliveryId,
      body: dial.snapshotAtSend ? event.rebuild() : event.body,
      conversation: event.conversation,
    });
    const options = { url: target.url, secret: target.secret, now };
    if (dial.delayMilliseconds === 0) return take(await send(deliveries.map(sendable), options));
    for await (const delivery of due()) take(await send([sendable(delivery)], options));
  };

  return {
    counts,
    /** Turns the dial from here on; the seed begins anew. */
    turn(changes: Partial<WebhookDial>) {
      dial = { ...dial, ...changes };
      random = createRandom(dial.seed);
    },
    /** Takes events and returns at once; drain() waits until they are gone. */
    dispatch(events: readonly ChatwootEvent[], targets: readonly Target[]) {
      for (const target of targets) {
        const wanted = events.filter(({ name }) => target.subscriptions.includes(name))
          // One request a webhook, each with an id of its own.
          .map((event) => targets.length === 1 ? event : { ...event, deliveryId: randomUUID() });
        const deliveries = applyDial(wanted, dial, random);
        const kept = new Set(deliveries.map(({ event }) => event)).size;
        counts.events += wanted.length;
        counts.dropped += wanted.length - kept;
        counts.doubled += deliveries.length - kept;
        if (deliveries.length === 0) continue;
        const sending = sendTo(target, deliveries).catch(() => counts.refused++);
        underway.add(sending);
        void sending.finally(() => underway.delete(sending));
      }
    },
    async drain() {
      while (underway.size > 0) await Promise.all(underway);
    },
  };
}
