import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["tests/**/*.test.ts"],
    globalSetup: ["tests/support/template.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores are what the smallest machine has; each file brings processes of its own.
    maxWorkers: 2,
    reporters: ["default"],
  },
});
