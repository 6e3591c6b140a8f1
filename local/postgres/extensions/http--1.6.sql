-- The types and functions of pgsql-http 1.6. http() hands the request to local/worker over a connection that speaks the
-- Postgres protocol and waits there for the answer, so a request, with whatever token it carries, is in no table ever.
create domain http_method as text;
create domain content_type as text check (value ~ '^\S+\/\S+');
create type http_header as (field varchar, value varchar);
create type http_response as (status integer, content_type varchar, headers http_header[], content varchar);
create type http_request as (
  method http_method, uri varchar, headers http_header[], content_type varchar, content varchar
);

-- dblink's own functions under names of this extension: dblink as an extension would be dropped by `supabase db reset`.
create function http_worker_connect(connection text, conninfo text) returns text
language c strict as '$libdir/dblink', 'dblink_connect';
create function http_worker_send(connection text, request text) returns integer
language c strict as '$libdir/dblink', 'dblink_send_query';
create function http_worker_is_busy(connection text) returns integer
language c strict as '$libdir/dblink', 'dblink_is_busy';
create function http_worker_result(connection text) returns setof record
language c strict as '$libdir/dblink', 'dblink_get_result';
create function http_worker_disconnect(connection text) returns text
language c strict as '$libdir/dblink', 'dblink_disconnect';
revoke execute on function http_worker_connect, http_worker_send, http_worker_is_busy, http_worker_result,
  http_worker_disconnect from public;

-- byteasend copies bytes unread: the text may be invalid UTF-8, as it may with the real ones.
create function text_to_bytea(data text) returns bytea language internal immutable strict as 'byteasend';
create function bytea_to_text(data bytea) returns text language internal immutable strict as 'byteasend';

create function http_header(field varchar, value varchar) returns http_header
language sql as $$ select field, value $$;

create function http_list_curlopt() returns table (curlopt text, value text)
language sql set search_path = pg_catalog, pg_temp as $$
  select key, each.value
  from jsonb_each_text(coalesce(nullif(current_setting('http_worker.options', true), ''), '{}')::jsonb) as each (key, value);
$$;

create function http_set_curlopt(curlopt varchar, value varchar) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
  options jsonb := coalesce(nullif(current_setting('http_worker.options', true), ''), '{}');
begin
  if curlopt is null or value is null then
    return false;
  end if;
  curlopt := upper(curlopt);
  if curlopt in ('CURLOPT_TIMEOUT', 'CURLOPT_TIMEOUT_MS', 'CURLOPT_CONNECTTIMEOUT', 'CURLOPT_CONNECTTIMEOUT_MS') then
    if value !~ '^\d{1,9}$' then
      raise 'invalid integer provided for ''%''', curlopt using errcode = 'XX000';
    end if;
  elsif curlopt not in ('CURLOPT_USERAGENT', 'CURLOPT_USERPWD') then
    raise 'curl option ''%'' is not available for run-time configuration', curlopt using errcode = 'XX000';
  end if;
  perform set_config('http_worker.options', (options || jsonb_build_object(curlopt, value))::text, false);
  return true;
end
$$;

create function http_reset_curlopt() returns boolean
language sql set search_path = pg_catalog, pg_temp as $$
  select set_config('http_worker.options', '', false) = '';
$$;

create function urlencode(string bytea) returns text
language sql immutable strict set search_path = pg_catalog, pg_temp as $$
  select coalesce(string_agg(
    case
      when byte = 32 then '+'
      -- Letters, digits, and the marks - . _ ~
      when byte between 48 and 57 or byte between 65 and 90 or byte between 97 and 122 or byte in (45, 46, 95, 126)
        then chr(byte)
      else '%' || upper(lpad(to_hex(byte), 2, '0'))
    end, '' order by place
  ), '')
  from (
    select place, get_byte(string, place) as byte from generate_series(0, octet_length(string) - 1) as place
  ) as bytes;
$$;
create function urlencode(string varchar) returns text language sql immutable strict as $$
  select @extschema@.urlencode(@extschema@.text_to_bytea(string));
$$;
create function urlencode(data jsonb) returns text
language plpgsql immutable strict set search_path = pg_catalog, pg_temp as $$
begin
  if jsonb_typeof(data) <> 'object' then
    raise invalid_parameter_value using message = 'cannot call urlencode_jsonb on a non-object';
  end if;
  return (
    select string_agg(
      @extschema@.urlencode(key::varchar) || '=' || @extschema@.urlencode(coalesce(data ->> key, '')::varchar), '&'
      order by place
    )
    from jsonb_object_keys(data) with ordinality as keys (key, place)
    where key <> '' and jsonb_typeof(data -> key) not in ('object', 'array')
  );
end
$$;

create function http(request @extschema@.http_request) returns @extschema@.http_response
-- Definer: only the superuser may read where the worker listens, and connect there.
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
  connection constant text := 'http-' || gen_random_uuid();
  method text := upper(request.method);
  options jsonb := (select coalesce(jsonb_object_agg(curlopt, value), '{}') from @extschema@.http_list_curlopt());
  worker text := nullif(pg_read_file('http-worker', 0, 1000, true), '');
  answer record;
  charset text;
  response @extschema@.http_response;
begin
  if request is null then
    raise 'An http_request must be provided' using errcode = 'XX000';
  elsif request.uri is null then
    raise 'http_request.uri is NULL' using errcode = 'XX000';
  elsif request.method is null then
    raise 'http_request.method is NULL' using errcode = 'XX000';
  elsif request.content is null and method in ('POST', 'PUT', 'PATCH') then
    raise 'http_request.content is NULL' using errcode = 'XX000';
  elsif request.content is not null and request.content_type is null then
    raise 'http_request.content_type is NULL' using errcode = 'XX000';
  elsif octet_length(request.content) > 33554432 then
    raise 'The request holds more than 32 MiB: send less at a time.' using errcode = 'XX000';
  end if;
  if exists (select from unnest(request.headers) as header where header.field ilike 'content-type%') then
    raise notice '''Content-Type'' is not supported as an optional header';
  end if;

  begin
    perform @extschema@.http_worker_connect(connection, worker);
  exception when sqlclient_unable_to_establish_sqlconnection then
    worker := null;
  end;
  if worker is null then
    raise 'Nobody performs HTTP requests here: the worker is not running. Start the stack (npm start) and try again.'
      using errcode = 'XX000';
  end if;

  begin
    perform @extschema@.http_worker_send(connection, jsonb_build_object(
      'method', request.method,
      'uri', request.uri,
      'headers', (
        select jsonb_agg(jsonb_build_array(header.field, coalesce(header.value, '')))
        from unnest(request.headers) as header
        where header.field <> '' and header.field not ilike 'content-type%'
      ),
      'contentType', request.content_type,
      'content', encode(@extschema@.text_to_bytea(request.content), 'base64'),
      'userAgent', coalesce(options ->> 'CURLOPT_USERAGENT', version()),
      'credentials', options ->> 'CURLOPT_USERPWD',
      'timeoutMs', coalesce(
        nullif(current_setting('http.timeout_msec', true), '')::integer,
        (options ->> 'CURLOPT_TIMEOUT_MS')::bigint,
        (options ->> 'CURLOPT_TIMEOUT')::bigint * 1000,
        5000
      ),
      'connectTimeoutMs', coalesce(
        (options ->> 'CURLOPT_CONNECTTIMEOUT_MS')::bigint, (options ->> 'CURLOPT_CONNECTTIMEOUT')::bigint * 1000, 1000
      )
    )::text);
    -- Asked again and again rather than waited for: only between questions can the query be cancelled (Postgres 15).
    while @extschema@.http_worker_is_busy(connection) = 1 loop
      perform pg_sleep(0.005);
    end loop;
    select * into answer from @extschema@.http_worker_result(connection)
      as result (status integer, content_type text, headers jsonb, content bytea);
    perform @extschema@.http_worker_disconnect(connection);
  exception when others or query_canceled then
    -- The worker takes the closed connection as the wish to stop the request.
    perform @extschema@.http_worker_disconnect(connection);
    raise;
  end;

  response.status := answer.status;
  response.content_type := answer.content_type;
  response.headers := array(
    select row (header ->> 0, header ->> 1)::@extschema@.http_header
    from jsonb_array_elements(answer.headers) with ordinality as element (header, position) order by position
  );
  charset := substring(answer.content_type from '(?i);\s*charset="?([^";\s]+)');
  if octet_length(answer.content) = 0 then
    response.content := null;
  elsif pg_char_to_encoding(charset) >= 0 then
    response.content := convert_from(answer.content, charset);
  else
    response.content := @extschema@.bytea_to_text(answer.content);
  end if;
  return response;
end
$$;

create function http_get(uri varchar) returns http_response language sql as $$
  select @extschema@.http(('GET', uri, null, null, null)::@extschema@.http_request);
$$;
create function http_get(uri varchar, data jsonb) returns http_response language sql as $$
  select @extschema@.http(('GET', uri || '?' || @extschema@.urlencode(data), null, null, null)::@extschema@.http_request);
$$;
create function http_post(uri varchar, content varchar, content_type varchar) returns http_response language sql as $$
  select @extschema@.http(('POST', uri, null, content_type, content)::@extschema@.http_request);
$$;
create function http_post(uri varchar, data jsonb) returns http_response language sql as $$
  select @extschema@.http(
    ('POST', uri, null, 'application/x-www-form-urlencoded', @extschema@.urlencode(data))::@extschema@.http_request
  );
$$;
create function http_put(uri varchar, content varchar, content_type varchar) returns http_response language sql as $$
  select @extschema@.http(('PUT', uri, null, content_type, content)::@extschema@.http_request);
$$;
create function http_patch(uri varchar, content varchar, content_type varchar) returns http_response language sql as $$
  select @extschema@.http(('PATCH', uri, null, content_type, content)::@extschema@.http_request);
$$;
create function http_delete(uri varchar) returns http_response language sql as $$
  select @extschema@.http(('DELETE', uri, null, null, null)::@extschema@.http_request);
$$;
create function http_delete(uri varchar, content varchar, content_type varchar) returns http_response language sql as $$
  select @extschema@.http(('DELETE', uri, null, content_type, content)::@extschema@.http_request);
$$;
create function http_head(uri varchar) returns http_response language sql as $$
  select @extschema@.http(('HEAD', uri, null, null, null)::@extschema@.http_request);
$$;
