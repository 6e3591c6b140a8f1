// Checks one after the other, each with its time and, where it is red, the likely cause and what to run next.
import type { Context } from "./outside.ts";
import { EXIT, type Exit, Interrupted, messageOf, Problem } from "./problem.ts";

export interface Step {
  name: string;
  title: string;
  /** skipped where an earlier one, on which it depends, failed or where it was not asked for. */
  state: "ok" | "warn" | "fail" | "skipped";
  message: string;
  next: string | null;
  seconds: number;
}

const MARKS = { ok: "✔", warn: "!", fail: "✘", skipped: "–" } as const;

export interface Found {
  state?: "ok" | "warn" | "fail" | "skipped";
  message: string;
  next?: string;
}

export function createSteps(context: Context, { times = true } = {}) {
  const { output } = context;
  const steps: Step[] = [];
  const show = (step: Step) => {
    const seconds = times && step.state !== "skipped"
      ? `${step.seconds.toFixed(2).padStart(6)} s  `
      : times
      ? "          "
      : "";
    output.line(`${MARKS[step.state]} ${seconds}${step.title}: ${step.message}`);
    if (step.next !== null) output.line(`${times ? "            " : "  "}→ ${step.next}`);
  };
  const add = (step: Step): Step => {
    const cleaned = {
      ...step,
      message: output.clean(step.message),
      next: step.next === null ? null : output.clean(step.next),
    };
    steps.push(cleaned);
    show(cleaned);
    return cleaned;
  };
  return {
    steps,
    add: (step: Omit<Step, "seconds"> & { seconds?: number }) => add({ seconds: 0, ...step }),
    /** Does one; a failure is noted and does not end the others. Skipped unless all it depends on went well. */
    async run(
      name: string,
      title: string,
      work: () => Promise<Found>,
      { after = [] as string[] } = {},
    ): Promise<boolean> {
      const broken = after.find((needed) => steps.find((step) => step.name === needed)?.state === "fail") ??
        after.find((needed) => steps.find((step) => step.name === needed)?.state === "skipped");
      if (broken !== undefined) {
        const because = steps.find((step) => step.name === broken);
        add({
          name,
          title,
          state: "skipped",
          message: `not tried, because of “${because?.title}”`,
          next: null,
          seconds: 0,
        });
        return false;
      }
      const began = performance.now();
      try {
        const { state = "ok", message, next = null } = await work();
        add({ name, title, state, message, next, seconds: (performance.now() - began) / 1000 });
        return state !== "fail" && state !== "skipped";
      } catch (error) {
        if (error instanceof Interrupted || context.outside.signal.aborted) throw new Interrupted();
        const problem = error instanceof Problem ? error : null;
        add({
          name,
          title,
          state: "fail",
          message: problem?.message ?? `Something unexpected happened: ${messageOf(error)}`,
          next: problem?.next ?? "That is a fault of this program: report it.",
          seconds: (performance.now() - began) / 1000,
        });
        return false;
      }
    },
    exit(): Exit {
      return steps.some(({ state }) => state === "fail") ? EXIT.finding : EXIT.fine;
    },
  };
}

export type Steps = ReturnType<typeof createSteps>;
