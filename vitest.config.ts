import { BaseSequencer, type TestSpecification } from "vitest/node";
import { defineConfig } from "vitest/config";

// The files that take longest, which begin first: one of them left for the end would run alone.
const LONG = [
  "shuffle",
  "ledger-doors",
  "sync-rest-faults",
  "webhook-hostile",
  "ledger-walk",
  "notifications",
  "webhook-load",
  "start",
  "second-tier",
  "ledger-properties",
  "sync-database",
  "sync-crash",
  "health",
  "cron",
  "actions-faults",
  "sync-rest",
  "sync-doors",
];

class LongestFirst extends BaseSequencer {
  async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const placeOf = ({ moduleId }: TestSpecification) => {
      const place = LONG.findIndex((name) => moduleId.includes(`/${name}`));
      return place < 0 ? LONG.length : place;
    };
    return (await super.sort(files)).sort((one, other) => placeOf(one) - placeOf(other));
  }
}

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/template.ts"],
    testTimeout: 120_000,
    hookTimeout: 240_000,
    // Two cores are what the smallest machine has, and each file brings processes of its own; many wait for clocks.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    reporters: ["default"],
  },
});
