export async function startWorker(_: { adminUrl: string; log?: (line: string) => void }): Promise<{ stop(): Promise<void> }> {
  return { stop: async () => {} };
}
