// Secrets at rest: readable by those who may, ciphertext to everything else, and the key out of SQL's reach.
import { describe, expect, test } from "vitest";
import { useDatabase } from "../support/database.ts";

describe("vault", () => {
  const database = useDatabase();
  const create = "create extension if not exists supabase_vault";
  const secret = "tökén 🔑 " + "x".repeat(500);

  test("a secret is kept encrypted and read back", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(create);
      const id = await sql.value<string>("select vault.create_secret($1, 'token', 'of the account')", [secret]);

      await sql.resultsEqual(
        "select id, name, description, decrypted_secret, key_id from vault.decrypted_secrets where name = 'token'",
        [
          { id, name: "token", description: "of the account", decrypted_secret: secret, key_id: null },
        ],
      );
      const row = await sql.value<string>("select secrets::text from vault.secrets where name = 'token'");
      expect(row).not.toContain("xxxxxxxx");
      expect(
        await sql.value(
          "select octet_length(decode(secret, 'base64')) >= octet_length($1) from vault.secrets where id = $2",
          [secret, id],
        ),
      ).toBe(true);
    }));

  test("the same secret twice is two different ciphertexts", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(create);
      await sql.rows("select vault.create_secret('same', 'one'), vault.create_secret('same', 'two')");

      expect(await sql.value("select count(distinct secret)::int from vault.secrets where name in ('one', 'two')"))
        .toBe(2);
    }));

  test("updating changes what is given and keeps the rest", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(create);
      const id = await sql.value<string>("select vault.create_secret('old', 'token', 'first')");
      const read = "select name, description, decrypted_secret from vault.decrypted_secrets where id = $1";

      await sql.rows("select vault.update_secret($1, new_description => 'second')", [id]);
      await sql.resultsEqual(read, [{ name: "token", description: "second", decrypted_secret: "old" }], [id]);
      await sql.rows("select vault.update_secret($1, 'new', 'renamed')", [id]);
      await sql.resultsEqual(read, [{ name: "renamed", description: "second", decrypted_secret: "new" }], [id]);
    }));

  test("names are unique where given", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(create);
      await sql.rows("select vault.create_secret('a'), vault.create_secret('b'), vault.create_secret('c', 'taken')");

      await sql.throws("23505", "select vault.create_secret('d', 'taken')");
    }));

  test.each(["postgres", "service_role"] as const)(
    "%s reads and deletes secrets, and writes only by the functions",
    (role) =>
      database.rolledBack(async (sql) => {
        await sql.rows(create);
        await sql.as(role, null, async () => {
          const id = await sql.value<string>("select vault.create_secret('s', 'mine')");
          await sql.rows("select vault.update_secret($1, 't')", [id]);
          expect(await sql.value("select decrypted_secret from vault.decrypted_secrets where id = $1", [id])).toBe("t");
          await sql.throws("42501", "insert into vault.secrets (secret) values ('plain')");
          await sql.throws("42501", "update vault.secrets set secret = 'plain' where true");
          await sql.throws("42501", "select vault._crypto_aead_det_encrypt('a', 'b', 0)");
          await sql.throws("42501", "select vault.decrypt_with_key('a', 'b', 'c', 'aes')");
          expect(await sql.rows("delete from vault.secrets where id = $1 returning id", [id])).toHaveLength(1);
        });
      }),
  );

  test.each(["anon", "authenticated"] as const)(
    "%s reaches nothing of it",
    (role) =>
      database.rolledBack(async (sql) => {
        await sql.rows(create);
        await sql.as(role, null, async () => {
          await sql.throws("42501", "select * from vault.secrets");
          await sql.throws("42501", "select * from vault.decrypted_secrets");
          await sql.throws("42501", "select vault.create_secret('s')");
          await sql.throws("42501", "select vault._crypto_aead_det_decrypt('a', 'b', 0)");
        });
      }),
  );

  test("the key is read by the superuser only", () =>
    database.rolledBack(async (sql) => {
      await sql.rows(create);
      await sql.throws("42501", "select pg_read_binary_file('vault-key')");
      await sql.throws("42501", "select pg_ls_dir('.')");
    }));

  test("the key outlives the extension", async () => {
    const client = await database.connect("supabase_admin");
    await client.query(create);
    const key = "select encode(pg_read_binary_file('vault-key'), 'hex') as key";
    const before = (await client.query(key)).rows[0].key;
    await client.query(`drop extension supabase_vault; ${create}`);

    expect(before).toMatch(/^[0-9a-f]{64}$/);
    expect((await client.query(key)).rows[0].key).toBe(before);
  });
});
