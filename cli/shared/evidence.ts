// What a smoke test leaves behind: a file for machines and one for people, whole or not at all, and without secrets.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { writeWhole } from "./env-file.ts";
import type { Output } from "./output.ts";
import { codeOf, EXIT, Problem } from "./problem.ts";
import type { Step } from "./steps.ts";

export interface Evidence {
  tool: string;
  version: string;
  started_at: string;
  finished_at: string;
  passed: boolean;
  installation: Record<string, string | null>;
  steps: Step[];
}

/** Writes both; returns their paths. */
export async function writeEvidence(folder: string, evidence: Evidence, output: Output): Promise<string[]> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw new Problem(EXIT.finding, `${folder} cannot be made (${codeOf(error)}).`, "Name another with --evidence.");
  }
  const base = join(folder, `smoke-${evidence.started_at.slice(0, 19).replaceAll(":", "-")}Z`);
  const files = { [`${base}.json`]: `${JSON.stringify(evidence, null, 2)}\n`, [`${base}.md`]: markdown(evidence) };
  for (const [file, text] of Object.entries(files)) await writeWhole(file, output.clean(text), 0o644);
  return Object.keys(files);
}

const WORDS = { ok: "passed", warn: "passed, with a note", fail: "**failed**", skipped: "not tried" } as const;
const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");

function markdown({ passed, steps, installation, ...evidence }: Evidence): string {
  const failed = steps.filter(({ state }) => state === "fail");
  const facts = Object.entries(installation).filter(([, value]) => value !== null);
  return `# Smoke test: ${passed ? "passed" : "failed"}

From ${evidence.started_at} to ${evidence.finished_at}, by ${evidence.tool} ${evidence.version}.

${facts.map(([name, value]) => `- ${name.replaceAll("_", " ")}: ${value}`).join("\n")}

| Step | Result | Seconds | What was found |
| --- | --- | ---: | --- |
${
    steps.map((step) =>
      `| ${cell(step.title)} | ${WORDS[step.state]} | ${step.seconds.toFixed(2)} | ${cell(step.message)} |`
    )
      .join("\n")
  }
${
    failed.length === 0
      ? ""
      : `\nWhat to do:\n\n${failed.map(({ title, next }) => `- ${cell(title)}: ${cell(next ?? "")}`).join("\n")}\n`
  }`;
}
