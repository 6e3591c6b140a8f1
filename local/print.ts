/** Prints rows as a plain table, columns in the order given; null is shown as nothing. */
export function printTable(columns: string[], rows: Record<string, unknown>[]): void {
  const text = (value: unknown) =>
    value === null || value === undefined
      ? ""
      : value instanceof Date
      ? value.toISOString().slice(0, 16)
      : String(value);
  const widths = columns.map((column) => Math.max(column.length, ...rows.map((row) => text(row[column]).length)));
  const line = (cells: string[]) => `  ${cells.map((cell, index) => cell.padEnd(widths[index])).join("  ")}`.trimEnd();
  console.log(line(columns));
  console.log(line(widths.map((width) => "─".repeat(width))));
  for (const row of rows) console.log(line(columns.map((column) => text(row[column]))));
  if (rows.length === 0) console.log("  (nothing)");
}
