// Webhooks as Chatwoot's workers send them: to every row of `webhooks` that asked for the event, once, in no order, and
// with a dial for everything that goes wrong on the way.
import type { ChatwootEvent } from "./engine.ts";
import { createRandom, type Random } from "./random.ts";
import { createSender } from "./sender.ts";

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
  /** Not sent, because what they were about was deleted before, or because Chatwoot was stopped. */
  discarded: number;
  /** Answered 2xx. */
  accepted: number;
  /** Answered otherwise, or not at all. Nothing is sent again. */
  refused: number;
  /** By the number of the conversation; null is what is about none. */
  conversations: Map<number | null, ConversationCounts>;
}

export interface ConversationCounts {
  dropped: number;
  doubled: number;
  sent: number;
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

// As many as Chatwoot's Sidekiq has.
const WORKERS = 10;

interface Job {
  target: Target;
  delivery: Delivery;
  /** By the clock of performance.now(). */
  dueAt: number;
}

/** Sends events to targets under a dial; what was not accepted is not tried again. */
export function createDispatcher(first: Partial<WebhookDial>, now: () => Date) {
  let dial = { ...CALM, ...first };
  let random = createRandom(dial.seed);
  const counts: WebhookCounts = {
    events: 0,
    dropped: 0,
    doubled: 0,
    discarded: 0,
    accepted: 0,
    refused: 0,
    conversations: new Map(),
  };
  const sender = createSender({ now });
  let queue: Job[] = [];
  let busy = 0;
  let timer: NodeJS.Timeout | undefined;
  const whenDone: (() => void)[] = [];

  const countsOf = ({ conversation }: ChatwootEvent): ConversationCounts => {
    const known = counts.conversations.get(conversation) ?? { dropped: 0, doubled: 0, sent: 0 };
    counts.conversations.set(conversation, known);
    return known;
  };

  const work = async ({ target, delivery: { event, deliveryId } }: Job) => {
    // The job is discarded when the record it is about is gone.
    if (dial.snapshotAtSend && event.isGone()) return void counts.discarded++;
    countsOf(event).sent++;
    const body = dial.snapshotAtSend ? event.rebuild() : event.body;
    try {
      const { status } = await sender.post({ deliveryId, body }, target);
      if (status !== null && status >= 200 && status < 300) counts.accepted++;
      else counts.refused++;
    } catch {
      // An address that nothing can be sent to.
      counts.refused++;
    }
  };
  const goOn = () => {
    clearTimeout(timer);
    while (busy < WORKERS && queue.length > 0 && queue[0].dueAt <= performance.now()) {
      const [job] = queue.splice(0, 1);
      busy++;
      void work(job).finally(() => {
        busy--;
        goOn();
      });
    }
    if (busy < WORKERS && queue.length > 0) timer = setTimeout(goOn, queue[0].dueAt - performance.now() + 1);
    if (busy > 0 || queue.length > 0) return;
    for (const tell of whenDone.splice(0)) tell();
  };
  const drain = () =>
    new Promise<void>((resolve) => {
      whenDone.push(resolve);
      goOn();
    });

  return {
    counts,
    /** Turns the dial from here on; the seed begins anew. */
    turn(changes: Partial<WebhookDial>) {
      dial = { ...dial, ...changes };
      random = createRandom(dial.seed);
    },
    /** Takes events and returns at once; drain() waits until they are gone. */
    dispatch(events: readonly ChatwootEvent[], targets: readonly Target[]) {
      const at = performance.now();
      for (const target of targets) {
        const wanted = events.filter(({ name }) => target.subscriptions.includes(name))
          // One request a webhook, each with an id of its own.
          .map((event) => targets.length === 1 ? event : { ...event, deliveryId: random.uuid() });
        const deliveries = applyDial(wanted, dial, random);
        const times = new Map(wanted.map((event) => [event, 0]));
        for (const { event } of deliveries) times.set(event, (times.get(event) ?? 0) + 1);
        counts.events += wanted.length;
        for (const [event, count] of times) {
          if (count === 1) continue;
          const what = count === 0 ? "dropped" : "doubled";
          counts[what]++;
          countsOf(event)[what]++;
        }
        queue = queue.concat(deliveries.map((delivery) => ({ target, delivery, dueAt: at + delivery.late })));
      }
      queue.sort((one, other) => one.dueAt - other.dueAt);
      goOn();
    },
    drain,
    /** Lets what is on its way arrive; what still waits is lost, as with a worker that dies. */
    async stop() {
      counts.discarded += queue.length;
      queue = [];
      await drain();
      await sender.close();
    },
  };
}
