// A customer, their conversation and what is written in it, as rows of the mirror.
import type { Sql } from "../support/database.ts";

type Columns = Record<string, unknown>;

async function insert(sql: Sql, table: string, row: Columns): Promise<void> {
  const names = Object.keys(row);
  const values = names.map((name) =>
    typeof row[name] === "object" && row[name] !== null ? JSON.stringify(row[name]) : row[name]
  );
  await sql.rows(
    `insert into chatwoot.${table} (${names.join(", ")}) values (${
      names.map((_, index) => `$${index + 1}`).join(", ")
    })`,
    values,
  );
}

const VERSION = { account_id: 1, version_at: "2026-11-20T08:00:00Z" };

export const addContact = (sql: Sql, columns: Columns) =>
  insert(sql, "contacts", { ...VERSION, contact_id: 2, ...columns });

export const addConversation = (sql: Sql, columns: Columns) =>
  insert(sql, "conversations", { ...VERSION, display_id: 1, contact_id: 2, status: "open", ...columns });

export const addMessage = (sql: Sql, columns: Columns) =>
  insert(sql, "messages", {
    ...VERSION,
    ...{ conversation_display_id: 1, message_type: "incoming", private: false, created_at: "2026-11-20T08:00:00Z" },
    ...columns,
  });
