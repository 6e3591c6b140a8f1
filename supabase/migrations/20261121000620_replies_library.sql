-- The library of curated answers. A gold reply is proposed, approved by a person, and only then ever shown to a customer;
-- each change makes a version, and what was sent names the version it came from. Its text holds variables instead of
-- anybody's data, and what a variable stands for is put in once, at the end, by type: what a customer chose as a name can
-- become neither a link nor a second variable.
create schema replies;
comment on schema replies is 'Gold replies, drafts, and what became of them.';
revoke all on schema replies from public;
grant usage on schema replies to authenticated, service_role;

-- Word similarity, for questions asked with a typing error.
create extension if not exists pg_trgm with schema extensions;

create table replies.variables (
  name text not null,
  type text not null,
  description text not null,
  example text not null,
  constraint variables_pkey primary key (name),
  constraint variables_name_formed check (name ~ '^[a-z_]+\.(<key>|[a-z_]+)$'),
  constraint variables_type_known check (type in ('person_name', 'text', 'number', 'date', 'email', 'phone'))
);
comment on table replies.variables is 'The variables there are: reference data, the same for every account.';
comment on column replies.variables.name is 'What stands between the braces; custom.<key> is any custom attribute.';
comment on column replies.variables.type is 'What a value must be to be put in: person_name, text, number, date, email or phone.';
comment on column replies.variables.description is 'What it stands for and where the value comes from.';
comment on column replies.variables.example is 'A value it may have.';
alter table replies.variables enable row level security;

insert into replies.variables (name, type, description, example) values
  ('contact.first_name', 'person_name', 'The customer''s first name: the first word of the name.', 'Ana'),
  ('contact.last_name', 'person_name', 'The customer''s last name: what follows the first word of the name.', 'Alves'),
  ('contact.name', 'person_name', 'The customer''s whole name.', 'Ana Alves'),
  ('contact.email', 'email', 'The customer''s e-mail address.', 'ana@example.com'),
  ('contact.phone_number', 'phone', 'The customer''s phone number.', '+351912345678'),
  ('conversation.id', 'number', 'The number of the conversation, as the dashboard shows it.', '1234'),
  ('order.number', 'text', 'The order it is about: the conversation''s custom attribute order_number, order or order_id, else the one order number that the customer wrote.', 'A-20418'),
  ('agent.name', 'person_name', 'Whoever approves the reply.', 'Maria Costa'),
  ('agent.first_name', 'person_name', 'The first name of whoever approves the reply.', 'Maria'),
  ('team.name', 'text', 'The team that the conversation is with.', 'Billing'),
  ('inbox.name', 'text', 'The inbox that the conversation came in through.', 'Shop'),
  ('account.name', 'text', 'The account''s name.', 'Demo Shop'),
  ('custom.<key>', 'text', 'A custom attribute: the conversation''s, else the contact''s.', '{{custom.membership}}: gold');

create table replies.gold_replies (
  account_id bigint not null,
  gold_reply_id bigint generated always as identity,
  status text not null default 'proposed',
  version integer not null default 1,
  title text not null,
  body text not null,
  category text,
  tags text[] not null default '{}',
  language text,
  channels jsonb not null default '{}',
  questions text[] not null default '{}',
  findings jsonb not null default '[]',
  origin text not null,
  origin_key text,
  content_hash bytea not null,
  source_display_id bigint,
  source_message_id bigint,
  source_author text,
  proposed_at timestamptz not null,
  proposed_by text not null,
  decided_at timestamptz,
  decided_by text,
  shown bigint not null default 0,
  used bigint not null default 0,
  edited bigint not null default 0,
  reopened bigint not null default 0,
  constraint gold_replies_pkey primary key (account_id, gold_reply_id),
  constraint gold_replies_account_id_positive check (account_id > 0),
  constraint gold_replies_status_known check (status in ('proposed', 'approved', 'retired')),
  constraint gold_replies_version_positive check (version > 0),
  constraint gold_replies_title_bounded check (length(title) between 1 and 200),
  constraint gold_replies_body_bounded check (length(body) between 1 and 10000),
  constraint gold_replies_category_formed check (category ~ '^[a-z0-9]+([_-][a-z0-9]+)*$' and length(category) <= 100),
  constraint gold_replies_tags_bounded check (cardinality(tags) <= 20),
  constraint gold_replies_language_formed check (language ~ '^[a-z]{2,3}$'),
  constraint gold_replies_approved_has_language check (status <> 'approved' or language is not null),
  constraint gold_replies_channels_is_object check (jsonb_typeof(channels) = 'object'),
  constraint gold_replies_questions_bounded check (cardinality(questions) <= 50),
  constraint gold_replies_findings_is_array check (jsonb_typeof(findings) = 'array'),
  constraint gold_replies_origin_known check (origin in ('door', 'person', 'canned_response', 'promotion', 'seed')),
  constraint gold_replies_origin_key_bounded check (length(origin_key) between 1 and 300),
  constraint gold_replies_source_author_bounded check (length(source_author) between 1 and 200),
  constraint gold_replies_decided_iff_not_proposed check ((status = 'proposed') = (decided_at is null) and (decided_at is null) = (decided_by is null))
);
comment on table replies.gold_replies is 'Curated answers, each in its newest version. Only an approved one is ever suggested.';
comment on column replies.gold_replies.account_id is 'Chatwoot''s account id.';
comment on column replies.gold_replies.gold_reply_id is 'Number of the gold reply.';
comment on column replies.gold_replies.status is 'proposed, approved or retired.';
comment on column replies.gold_replies.version is 'Number of the newest version, from 1.';
comment on column replies.gold_replies.title is 'What people call it.';
comment on column replies.gold_replies.body is 'The answer, with variables such as {{contact.first_name}}.';
comment on column replies.gold_replies.category is 'What it is about, as a slug; null for none.';
comment on column replies.gold_replies.tags is 'Free tags.';
comment on column replies.gold_replies.language is 'Language of the answer, an ISO 639 code in lower case; null when nobody told and it could not be guessed.';
comment on column replies.gold_replies.channels is 'By class of channel, such as Channel::Sms, the text to send there in place of the body.';
comment on column replies.gold_replies.questions is 'What customers write when this is the answer.';
comment on column replies.gold_replies.findings is 'Personal data that was found in what was proposed: array of {field, kind, action, count}; never the data itself.';
comment on column replies.gold_replies.origin is 'How it came: door, person, canned_response, promotion or seed.';
comment on column replies.gold_replies.origin_key is 'What its origin knows it by, such as canned_response:5; null for none.';
comment on column replies.gold_replies.content_hash is 'SHA-256 of what was proposed last, so that the same proposed again is found.';
comment on column replies.gold_replies.source_display_id is 'The conversation it was taken from; null for none.';
comment on column replies.gold_replies.source_message_id is 'The message it was taken from; null for none.';
comment on column replies.gold_replies.source_author is 'Who wrote it; null when not told.';
comment on column replies.gold_replies.proposed_at is 'When it was first proposed (UTC).';
comment on column replies.gold_replies.proposed_by is 'Who proposed it, as in the decision log.';
comment on column replies.gold_replies.decided_at is 'When it was approved or retired (UTC); null while proposed.';
comment on column replies.gold_replies.decided_by is 'Who approved or retired it, as in the decision log; null while proposed.';
comment on column replies.gold_replies.shown is 'How many drafts made of it a person has seen.';
comment on column replies.gold_replies.used is 'How many of those were sent, as they were or changed.';
comment on column replies.gold_replies.edited is 'How many of those were changed before they were sent.';
comment on column replies.gold_replies.reopened is 'How many conversations it was sent in were opened again.';
create index gold_replies_content_hash_idx on replies.gold_replies (account_id, content_hash);
create index gold_replies_status_idx on replies.gold_replies (account_id, status);
alter table replies.gold_replies enable row level security;

create table replies.gold_reply_versions (
  account_id bigint not null,
  gold_reply_id bigint not null,
  version integer not null,
  title text not null,
  body text not null,
  category text,
  tags text[] not null,
  language text,
  channels jsonb not null,
  questions text[] not null,
  findings jsonb not null,
  changed_at timestamptz not null,
  changed_by text not null,
  constraint gold_reply_versions_pkey primary key (account_id, gold_reply_id, version),
  constraint gold_reply_versions_gold_reply_fkey foreign key (account_id, gold_reply_id)
    references replies.gold_replies (account_id, gold_reply_id) on delete cascade
);
comment on table replies.gold_reply_versions is 'Every version of every gold reply, the newest too. A version is never changed.';
comment on column replies.gold_reply_versions.account_id is 'Chatwoot''s account id.';
comment on column replies.gold_reply_versions.gold_reply_id is 'Number of the gold reply.';
comment on column replies.gold_reply_versions.version is 'Number of the version, from 1.';
comment on column replies.gold_reply_versions.title is 'What people called it.';
comment on column replies.gold_reply_versions.body is 'The answer, with variables.';
comment on column replies.gold_reply_versions.category is 'What it was about; null for none.';
comment on column replies.gold_reply_versions.tags is 'Free tags.';
comment on column replies.gold_reply_versions.language is 'Language of the answer.';
comment on column replies.gold_reply_versions.channels is 'By class of channel, the text to send there in place of the body.';
comment on column replies.gold_reply_versions.questions is 'What customers write when this is the answer.';
comment on column replies.gold_reply_versions.findings is 'Personal data that was found in it; never the data itself.';
comment on column replies.gold_reply_versions.changed_at is 'When it was saved (UTC).';
comment on column replies.gold_reply_versions.changed_by is 'Who saved it, as in the decision log.';
alter table replies.gold_reply_versions enable row level security;

create policy "Everyone signed in reads what variables there are" on replies.variables
for select to authenticated, analyst using (true);
create policy "Members read their accounts' gold replies" on replies.gold_replies
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all gold replies" on replies.gold_replies for select to analyst using (true);
create policy "Members read their accounts' versions of gold replies" on replies.gold_reply_versions
for select to authenticated using (account_id = any (array(select access.my_account_ids())));
create policy "Analysts read all versions of gold replies" on replies.gold_reply_versions
for select to analyst using (true);
grant select on replies.variables, replies.gold_replies, replies.gold_reply_versions
  to authenticated, analyst, service_role;
