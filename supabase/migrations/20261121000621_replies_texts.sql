-- Texts of gold replies, both ways: personal data out, when one is proposed; values in, when one is sent. What is looked for
-- is looked for in a copy in which every digit is a Western one, so that Arabic numbers are found and still stay as they
-- were written.
create function replies.western_digits(given text) returns text
language sql immutable parallel safe security invoker set search_path = '' as $$
  select translate(western_digits.given, '٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹', '01234567890123456789')
$$;
comment on function replies.western_digits is 'The text with Arabic and Persian digits as Western ones; its length stays.';

create function replies.unwanted_characters() returns text
-- Control characters but line break and tab, and those that are invisible or turn the direction of what follows.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select '[\u0001-\u0008\u000B-\u001F\u007F-\u009F\u00AD\u061C\u180E\u200B\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF9-\uFFFB\U000E0000-\U000E007F]'::text
$$;
comment on function replies.unwanted_characters is 'A pattern of characters that nobody sees and that change how a text is read.';

create function replies.luhn_is_valid(digits text) returns boolean
language sql immutable parallel safe security invoker set search_path = '' as $$
  select sum(case when places.place % 2 = 1 then figures.figure when figures.figure > 4 then figures.figure * 2 - 9
      else figures.figure * 2 end) % 10 = 0
  from generate_series(1, length(luhn_is_valid.digits)) as places (place)
  cross join lateral (
    select substr(luhn_is_valid.digits, length(luhn_is_valid.digits) + 1 - places.place, 1)::integer as figure
  ) as figures
$$;
comment on function replies.luhn_is_valid is 'Whether the check digit of a card number is right.';

create function replies.is_card_number(digits text) returns boolean
-- By length and beginning too: of other long numbers one in ten has the right check digit by chance.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select coalesce(is_card_number.digits ~
    '^(4\d{12}(\d{3}){0,2}|5[1-5]\d{14}|2(22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(0[0-5]|[689]\d)\d{11}|35\d{14}|6(011|5\d\d|4[4-9]\d)\d{12}|62\d{14,17}|(50|5[6-9]|6[37])\d{14})$'
    and is_card_number.digits !~ '^(\d)\1*$' and replies.luhn_is_valid(is_card_number.digits), false)
$$;
comment on function replies.is_card_number is 'Whether these digits are the number of a payment card.';

create function replies.iban_length(candidate text) returns integer
-- Their lengths are fixed by country, so what follows one in a sentence is not taken for a part of it.
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  c_lengths constant jsonb := '{"AD":24,"AE":23,"AL":28,"AT":20,"AZ":28,"BA":20,"BE":16,"BG":22,"BH":22,"BR":29,"BY":28,"CH":21,"CR":22,"CY":28,"CZ":24,"DE":22,"DK":18,"DO":28,"EE":20,"EG":29,"ES":24,"FI":18,"FO":18,"FR":27,"GB":22,"GE":22,"GI":23,"GL":18,"GR":27,"GT":28,"HR":21,"HU":28,"IE":22,"IL":23,"IQ":23,"IS":26,"IT":27,"JO":30,"KW":30,"KZ":20,"LB":28,"LI":21,"LT":20,"LU":20,"LV":21,"LY":25,"MC":27,"MD":24,"ME":22,"MK":19,"MR":27,"MT":31,"MU":30,"NL":18,"NO":15,"PK":24,"PL":28,"PS":29,"PT":25,"QA":29,"RO":24,"RS":22,"SA":24,"SE":24,"SI":19,"SK":24,"SM":27,"TN":24,"TR":26,"UA":29,"VA":22,"VG":24,"XK":20}'::jsonb;
  v_given text := upper(iban_length.candidate);
  v_length integer := (c_lengths ->> left(v_given, 2))::integer;
  v_signs text := '';
  v_place integer := 0;
  v_numbers text;
begin
  while length(v_signs) < v_length and v_place < length(v_given) loop
    v_place := v_place + 1;
    v_signs := v_signs || replace(replace(substr(v_given, v_place, 1), ' ', ''), '-', '');
  end loop;
  if v_length is null or length(v_signs) < v_length or substr(v_given, v_place + 1, 1) ~ '[A-Z0-9]' then
    return null;
  end if;
  select string_agg(case when signs.sign ~ '\d' then signs.sign else (ascii(signs.sign) - 55)::text end, '' order by signs.place)
  into v_numbers
  from string_to_table(substr(v_signs, 5) || left(v_signs, 4), null) with ordinality as signs (sign, place);
  return case when v_numbers::numeric % 97 = 1 then v_place end;
end
$$;
comment on function replies.iban_length is 'How many characters from the beginning are an IBAN, spaces counted; null for none.';

create function replies.order_number_pattern() returns text
-- A word for order, perhaps one for number, perhaps a copula, then what holds four digits in a row. Five languages and
-- their neighbours.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select '(?<![[:alnum:]])(?:'
    || '(?:purchase[ ]orders?|orders?|po)(?:[ -]?(?:numbers?|num|no|nr|ref(?:erence)?|id|code))?'
    || '|bestell(?:ung(?:en)?|[ -]?nummern?|[ -]?nr|[ -]?id)(?:[ -]?(?:nummer|nr))?|auftr(?:ag|äge)(?:s[ -]?(?:nummer|nr))?|bestell(?:ing|nummer)'
    || '|(?:(?:num[ée]ro|n[°º])[ ](?:de[ ])?(?:(?:la|ma|votre|notre)[ ])?)?commandes?(?:[ ](?:num[ée]ro|num|n[°ºo]))?'
    || '|(?:(?:n[úu]mero|n[°º])[ ](?:de[ ])?(?:(?:mi|su|el|la)[ ])?)?(?:pedidos?|[óo]rden(?:es)?|encomendas?)(?:[ ](?:n[úu]mero|n[úu]m|n[°ºo]))?'
    || '|(?:numero[ ](?:d[’'']|di[ ])?)?ordin[ei](?:[ ](?:numero|n))?'
    || '|(?:رقم[ ]+)?(?:ال)?طلب(?:ات|يات|ية|يتي|ي|ك|كم|نا)?(?:[ ]+رقم|[ ]+رقمها|[ ]+رقمه)?'
    || ')(?:[ ]?[.:#°º]{1,2}|[ ]?[(„“"''«])?[ ]{0,3}(?:(?:is|was|lautet|ist|est|es|é|هو|هي|with|with the number|number|mit der nummer|avec le num[ée]ro|con el n[úu]mero|رقم)[ ]{0,2}[:]?[ ]{0,2})?[#„“"''«(-]{0,2}'
$$;
comment on function replies.order_number_pattern is 'A pattern of the words that an order number follows, in several languages.';

create function replies.order_value_pattern() returns text
-- Neither a date, nor an amount of money or of anything else.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select '(?!(?:19|20)\d\d[-/.](?:0?\d|1[0-2])[-/.]\d)(?:[a-z]{1,4}[-_/]?)?\d{4,12}(?:[-/]\d{1,6})?'
    || '(?![[:alnum:]_%@]|[.,:/-]\d|[ ]?(?:€|\$|£|¥|%|eur|usd|gbp|chf|euros?|dollars?|pounds?|franken|francs|d[óo]lares|pesos|kg|gr?|lbs?|oz|cm|mm|km|m|ml|l|x|pcs|pieces|units|items|st(?:ü|u)ck|pi[èe]ces|unidades|piezas|times|days|hours|minutes|tagen?|stunden|jours|heures|d[íi]as|horas|يوم|أيام|ساعة|دولار|يورو|ريال|درهم|قطعة)(?![[:alnum:]]))'
$$;
comment on function replies.order_value_pattern is 'A pattern of what may be an order number behind a word for order.';

create function replies.matches(given text, pattern text) returns table (place integer, length integer, found text)
-- All of them in one pass: looking again from behind each match costs the square of the text's length.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select (sum(pg_catalog.length(pieces.piece) + coalesce(pg_catalog.length(before.found[1]), 0)) over (order by pieces.number))::integer + 1,
    pg_catalog.length(here.found[1]), here.found[1]
  from regexp_split_to_table(matches.given, matches.pattern, 'i') with ordinality as pieces (piece, number)
  left join regexp_matches(matches.given, '(' || matches.pattern || ')', 'gi') with ordinality as before (found, number)
    on before.number = pieces.number - 1
  left join regexp_matches(matches.given, '(' || matches.pattern || ')', 'gi') with ordinality as here (found, number)
    on here.number = pieces.number
$$;
comment on function replies.matches is
  'Where a pattern without groups matches, whatever the case; the last row is what follows the last match and has no length.';

create function replies.order_numbers(given text) returns table (place integer, length integer, number text)
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  v_text text := replies.western_digits(order_numbers.given);
  c_value constant text := replies.order_value_pattern();
  c_next constant text := '(?i)^[ ]?(?:,|;|and|und|et|y|e|und die|&|\+|/|و)[ ]?#?(?=' || c_value || ')';
  v_begin integer;
  v_found text;
  v_more text;
begin
  -- Most texts have none, and to know it costs next to nothing.
  if v_text !~ '\d{4}' then
    return;
  end if;
  for v_begin in
    select matches.place + matches.length
    from replies.matches(v_text, replies.order_number_pattern() || '(?=' || c_value || ')') as matches
    where matches.length is not null
  loop
    -- One word for order may introduce several numbers.
    for v_count in 1 .. 10 loop
      v_found := substring(substr(v_text, v_begin, 60) from '(?i)^' || c_value);
      exit when v_found is null;
      -- A year alone is no order number.
      if v_found !~ '^(19[89]|20[0-4])\d$' or substr(v_text, v_begin - 1, 1) = '#' then
        place := v_begin;
        length := pg_catalog.length(v_found);
        number := upper(v_found);
        return next;
      end if;
      v_begin := v_begin + pg_catalog.length(v_found);
      v_more := substring(substr(v_text, v_begin, 60) from c_next);
      exit when v_more is null;
      v_begin := v_begin + pg_catalog.length(v_more);
    end loop;
  end loop;
end
$$;
comment on function replies.order_numbers is 'The order numbers in a text: where each stands, how long it is, and the number itself.';

create function replies.is_role_address(address text) returns boolean
-- A mailbox of a company, not of a person. It may stay, when an approver says so.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select split_part(lower(is_role_address.address), '@', 1) ~
    '^(info|hello|hi|hallo|hola|bonjour|contact|contacto|kontakt|support|help|helpdesk|service|kundenservice|kundendienst|care|customer[._-]?(care|service|support)|servicio|soporte|ayuda|aide|office|team|sales|vertrieb|ventas|shop|store|orders?|bestellung(en)?|pedidos|commandes|returns?|retouren|retours|devoluciones|billing|accounts?|invoices?|rechnung(en)?|factura(s|cion)?|facturation|refunds?|warranty|garantie|privacy|datenschutz|legal|security|abuse|press|presse|jobs|no[._-]?reply|do[._-]?not[._-]?reply|postmaster|webmaster|admin)([._+-][a-z0-9._-]*)?$'
$$;
comment on function replies.is_role_address is 'Whether an e-mail address is that of a desk, such as support@, rather than a person''s.';

create function replies.find_personal_data(given text)
returns table (place integer, length integer, kind text, action text, replacement text)
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  -- What has been dealt with is blotted out here, so that no digit counts for two findings.
  v_text text := replies.western_digits(find_personal_data.given);
  c_patterns constant text[] := array[
    'variable', '\{\{[ ]*[a-z_]+(?:\.[a-z0-9_]+)+[ ]*\}\}',
    'mask', '\[removed: (?:card number|IBAN|security code|identity number)\]',
    'email', '[[:alnum:]._%+-]+@[[:alnum:].-]+\.[[:alpha:]]{2,}',
    'iban', '(?<![[:alnum:]])[a-z]{2}\d\d[a-z0-9 -]{11,}',
    'card_number', '(?<![[:alnum:].,])\d(?:[ .-]?\d){12,18}(?![[:alnum:]]|[.,]\d)',
    'security_code', '(?<![[:alnum:]])(?:cvv2?|cvc2?|csc|pr(?:ü|u)fziffer|card security code|security code|c[óo]digo de seguridad|code de s[ée]curit[ée]|kartenpr(?:ü|u)fnummer|رمز الأمان)[ ]*(?:is|ist|est|es|هو)?[ ]*[:=#]?[ ]*\d{3,4}(?!\d)',
    'identity_number', '(?<![[:alnum:]-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![[:alnum:]-])',
    -- Before phone numbers, since the word for order says what a number is; its pattern is in order_numbers.
    'order_number', '',
    'phone', '(?<![[:alnum:]#+.,/-]|\d[ ])(?:\+|\(\+|00)[ ]?[1-9][\d ()./\u00A0\u2010-\u2013-]{6,22}\d(?![[:alnum:]%€$£]|[.,:]\d)',
    'phone', '(?<![[:alnum:]#+.,/-]|\d[ ])\(0?\d{2,5}\)[ ./-]{0,2}\d{2,4}(?:[ ./-]?\d{2,4}){1,3}(?![[:alnum:]%€$£]|[.,:]\d)',
    'phone', '(?<![[:alnum:]#+.,/-]|\d[ ])(?:1[ .-])?[2-9]\d\d(?:-\d{3}-|[ ]\d{3}[ ]|\.\d{3}\.)\d{4}(?![[:alnum:]%€$£]|[.,:-]\d)',
    'phone', '(?<![[:alnum:]#+.,/:-]|\d[ ])0[1-9]\d{0,4}[ /-]{1,3}\d{2,8}(?:[ -]\d{2,6}){0,4}(?![[:alnum:]%€$£]|[.,:/-]\d)',
    'phone', '(?<![[:alnum:]#+.,/:-]|\d[ ])0[1-9](?:[ .]\d\d){4}(?![[:alnum:]%€$£]|[.,:/-]\d)',
    'phone', '(?<![[:alnum:]#+.,/:-]|\d[ ])0[1-9]\d{8,9}(?![[:alnum:]%€$£]|[.,:/-]\d)',
    'phone', '(?<![[:alnum:]])(?:phone|tele(?:ph|f)on|tel|call(?: me)?(?: at| on)?|text(?: me)?(?: at| on)?|mobile|cell|whats ?app|handy(?:nummer)?|rufnummer|t[ée]l[ée]phone|t[ée]l|portable|appelez|tel[ée]fono|m[óo]vil|celular|ll[aá]m(?:e|anos|ar)|هاتف|الهاتف|جوال|الجوال|واتساب|اتصل)(?:[ ]?(?:number|no|nr|nummer|num[ée]ro|is|ist|est|es|(?:ال)?رقم|على)){0,3}[ .:#=]{0,3}\(?\d[\d ()./-]{5,18}\d(?![[:alnum:]%€$£]|[.,:]\d)'];
  c_parcel constant text := '(?i)(?:track(?:ing)?|parcel|shipment|consignment|waybill|awb|sendung(?:s[ -]?(?:nummer|nr))?|paket(?:nummer)?|suivi|colis|seguimiento|env[íi]o|gu[íi]a|(?:sku|ean|gtin|isbn|serial|serien|art(?:ikel|icle)?|item|model|part|invoice|rechnung|ticket|reference)|تتبع|الشحنة)[^\d\n]{0,20}$';
  v_kind text;
  v_count integer;
  v_match record;
  v_begin integer;
  v_end integer;
  v_found text;
  v_digits text;
begin
  -- Everything that is looked for holds one of these.
  if v_text !~ '[\d@]|\[removed: ' then
    return;
  end if;
  v_count := pg_catalog.length(regexp_replace(v_text, '\D', '', 'g'));
  for v_number in 1 .. cardinality(c_patterns) / 2 loop
    v_kind := c_patterns[v_number * 2 - 1];
    continue when v_count < case v_kind when 'security_code' then 3 when 'order_number' then 4 when 'iban' then 6 when 'phone' then 7
        when 'identity_number' then 9 when 'card_number' then 13 else 0 end
      or strpos(v_text, case v_kind when 'email' then '@' when 'variable' then '{{' when 'mask' then '[' else '' end) = 0;
    if v_kind = 'order_number' then
      for place, length in select numbers.place, numbers.length from replies.order_numbers(v_text) as numbers loop
        kind := v_kind;
        action := 'replaced';
        replacement := '{{order.number}}';
        v_text := overlay(v_text placing repeat('¤', find_personal_data.length) from place for find_personal_data.length);
        return next;
      end loop;
      continue;
    end if;
    for v_match in
      select matches.place, matches.length, matches.found from replies.matches(v_text, c_patterns[v_number * 2]) as matches
      where matches.length is not null
    loop
      v_kind := c_patterns[v_number * 2 - 1];
      v_begin := v_match.place;
      v_end := v_begin + v_match.length;
      v_found := v_match.found;
      v_digits := regexp_replace(v_found, '\D', '', 'g');
      action := case v_kind when 'iban' then 'masked' when 'card_number' then 'masked' when 'security_code' then 'masked'
        when 'identity_number' then 'masked' when 'mask' then 'masked' else 'replaced' end;
      case v_kind
        when 'variable' then action := null;
        when 'email' then
          if replies.is_role_address(v_found) then
            action := 'kept';
          end if;
        when 'iban' then
          -- A row of letters and digits may hold several, and more than them.
          for v_start in 1 .. least(pg_catalog.length(v_found) - 14, 10000) loop
            continue when substr(v_text, v_begin + v_start - 1, 4) !~ '^[A-Za-z]{2}\d\d'
              or (v_start > 1 and substr(v_found, v_start - 1, 1) not in (' ', '-'));
            length := replies.iban_length(substr(v_text, v_begin + v_start - 1, 60));
            continue when length is null;
            place := v_begin + v_start - 1;
            kind := v_kind;
            replacement := '[removed: IBAN]';
            return next;
            v_text := overlay(v_text placing repeat('¤', find_personal_data.length) from place for find_personal_data.length);
          end loop;
          continue;
        when 'card_number' then
          continue when not replies.is_card_number(v_digits);
        when 'security_code' then
          -- The words stay.
          v_begin := v_end - pg_catalog.length(v_digits);
        when 'phone' then
          -- The word before it stays, such as call.
          v_begin := v_begin + pg_catalog.length(substring(v_found from '^[^\d(+]*'));
          v_found := substr(v_text, v_begin, v_end - v_begin);
          -- A bracket that was opened before the number is not its own.
          if v_found like '(%' and v_found not like '%)%' then
            v_begin := v_begin + 1;
          end if;
          continue when pg_catalog.length(v_digits) not between 7 and 15
            or (v_found ~ '^\(?\+' and pg_catalog.length(v_digits) < 9)
            or v_found ~ '^\d{1,2}([./-])\d{1,2}\1(\d{2}|\d{4})(?!\d)' or v_found ~ '^\d{4}-\d\d-\d\d(?!\d)'
            or substr(v_text, greatest(v_begin - 50, 1), least(50, v_begin - 1)) ~ c_parcel;
          -- Numbers that cost nothing to call are those of a company.
          if v_found ~ '^(0800|\+?1?[ (-]*(800|888|877|866|855|844|833)[) -]|\+(49|44|33|41|43)[ ()-]*0?800)' then
            action := 'kept';
          end if;
        when 'mask' then
          v_kind := case when v_found like '%card%' then 'card_number' when v_found like '%IBAN%' then 'iban'
            when v_found like '%code%' then 'security_code' else 'identity_number' end;
        else null;
      end case;
      if action is not null then
        place := v_begin;
        length := v_end - v_begin;
        kind := v_kind;
        replacement := case when action = 'kept' or c_patterns[v_number * 2 - 1] = 'mask' then substr(find_personal_data.given, v_begin, v_end - v_begin)
          else case v_kind when 'email' then '{{contact.email}}' when 'phone' then '{{contact.phone_number}}'
            when 'card_number' then '[removed: card number]'
            when 'security_code' then '[removed: security code]' else '[removed: identity number]' end end;
        return next;
      end if;
      v_text := overlay(v_text placing repeat('¤', v_end - v_begin) from v_begin for v_end - v_begin);
    end loop;
  end loop;
end
$$;
comment on function replies.find_personal_data is
  'Where personal data stands in a text: kind, what is done (replaced by a variable, masked, kept for an approver to see), and what comes in its place.';

create function replies.guard_personal_data(given text, out text text, out findings jsonb)
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  v_found record;
  v_rest integer := 1;
  v_all jsonb[] := '{}'::jsonb[];
begin
  text := '';
  for v_found in select found.* from replies.find_personal_data(guard_personal_data.given) as found order by found.place loop
    text := text || substr(guard_personal_data.given, v_rest, v_found.place - v_rest) || v_found.replacement;
    v_rest := v_found.place + v_found.length;
    v_all := v_all || jsonb_build_object('kind', v_found.kind, 'action', v_found.action);
  end loop;
  text := text || substr(guard_personal_data.given, v_rest);
  select coalesce(jsonb_agg(counted.finding || jsonb_build_object('count', counted.count) order by counted.finding), '[]')
  into findings
  from (
    select entries.finding, count(*) as count from unnest(v_all) as entries (finding) group by entries.finding
  ) as counted;
end
$$;
comment on function replies.guard_personal_data is
  'The text with personal data replaced by variables or masked, and what was found: array of {kind, action, count}, never the data itself.';

create function replies.person_name(given text) returns text
-- What a customer chose as a name goes out under the shop's. A link, a command to a template, a generated name such as
-- misty-dew-412: none of them is a name, and a reply without one is held back rather than sent.
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case when length(squeezed.name) between 1 and 60 and squeezed.name ~ '[[:alpha:]]'
      -- Whatever is no letter, mark, apostrophe, hyphen, or a full stop at the end of a word.
      and squeezed.name !~ '[\u0001-\u001F!-&(-,/-@\[-`{-\u00A9\u00AB-\u00B4\u00B6\u00B8\u00B9\u00BB-\u00BF\u00D7\u00F7\u02C2-\u02DF\u0660-\u066D\u06F0-\u06F9\u200B-\u200F\u2011-\u2018\u201A-\u2BFF\u2E00-\u2E7F\u3000-\u3004\u3007-\u3020\u3030-\u303F\uD800-\uF8FF\uFE00-\uFE6F\uFEFF-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFF\U0001F000-\U0001FAFF\U000E0000-\U0010FFFF]'
      and squeezed.name !~ replies.unwanted_characters() and squeezed.name !~ '\.[^ ]|[-.'']{2}|^[-.]|www[ .]'
      and squeezed.name !~* '^(customer|visitor|guest|anonymous|unknown|user|null|undefined|none|test|n a|kunde|gast|client|invit[ée]|cliente|an[óo]nimo)$'
      and array_length(string_to_array(squeezed.name, ' '), 1) <= 6
    then squeezed.name end
  from (select regexp_replace(trim(normalize(left(person_name.given, 500), nfc)), '[ \u00A0]+', ' ', 'g') as name) as squeezed
$$;
comment on function replies.person_name is 'The name with single spaces; null for what is no name of a person.';

create function replies.first_name(given text) returns text
language plpgsql immutable parallel safe security invoker set search_path = '' as $$
declare
  v_words text[] := string_to_array(replies.person_name(first_name.given), ' ');
  v_has_title boolean := false;
begin
  while cardinality(v_words) > 0 and lower(v_words[1]) ~
    '^(dr|prof|mr|mrs|ms|miss|mx|sir|herr|frau|mme|mlle|sr|sra|srta|do[nñ]a|doctora?|السيد|السيدة|الدكتور|الدكتورة|(m|d|dña)\.)\.?$'
  loop
    v_has_title := v_has_title or lower(v_words[1]) !~ '^(dr|prof)';
    v_words := v_words[2:];
  end loop;
  -- Frau Aldinger: that is her last name. And nobody is greeted by an initial.
  if cardinality(v_words) = 0 or (v_has_title and cardinality(v_words) = 1) or v_words[1] ~ '^[[:alpha:]]\.$' then
    return null;
  end if;
  -- Abd is no name without what follows it, and neither is Abu.
  return case when v_words[1] in ('عبد', 'أبو', 'ابو', 'أم', 'ابن', 'بن') then v_words[1] || ' ' || v_words[2] else v_words[1] end;
end
$$;
comment on function replies.first_name is 'The first name of a whole name, without title; null where there is none, as in Frau Aldinger.';

create function replies.last_name(given text) returns text
language sql immutable parallel safe security invoker set search_path = '' as $$
  select nullif(trim(split_part(replies.person_name(last_name.given), replies.first_name(last_name.given), 2)), '')
$$;
comment on function replies.last_name is 'What follows the first name in a whole name; null for nothing.';

create function replies.value_of_type(type text, given text) returns text
language sql immutable parallel safe security invoker set search_path = '' as $$
  select case value_of_type.type
    when 'person_name' then replies.person_name(value_of_type.given)
    when 'number' then substring(value_of_type.given from '^-?\d{1,18}$')
    when 'date' then substring(value_of_type.given from '^\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])$')
    when 'email' then case when length(value_of_type.given) <= 254
      then substring(value_of_type.given from '^[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}$') end
    when 'phone' then case when length(regexp_replace(value_of_type.given, '\D', '', 'g')) between 7 and 15
      then substring(value_of_type.given from '^\+?\d[\d ()./-]{5,24}$') end
    -- In one line, and nothing that a mail program or a browser makes a link, markup or a template of.
    when 'text' then case when length(trim(value_of_type.given)) between 1 and 200
        and value_of_type.given !~ '[\t\n{}<>\[\]|\\`*]|://|[[:alnum:]]\.[[:alpha:]]{2}|www\.|@'
        and value_of_type.given !~ replies.unwanted_characters() and value_of_type.given !~ '[\uFF1C\uFF1E\uFF5B\uFF5D]'
      then trim(value_of_type.given) end
  end
$$;
comment on function replies.value_of_type is 'The value as it may be put into a reply; null for what is not of the type.';

create function replies.order_of(account_id bigint, display_id bigint) returns text
-- Two numbers are worse than none: the reply would be about one of them.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_attributes jsonb;
  v_subject text;
  v_numbers text[];
  v_number text;
begin
  select conversations.custom_attributes, conversations.additional_attributes ->> 'mail_subject' into v_attributes, v_subject
  from chatwoot.conversations
  where conversations.account_id = order_of.account_id and conversations.display_id = order_of.display_id;
  foreach v_number in array array['order_number', 'order', 'order_id'] loop
    v_number := case when jsonb_typeof(v_attributes -> v_number) in ('string', 'number')
      then substring(trim(v_attributes ->> v_number) from '^#?([[:alnum:]][[:alnum:]_/-]{0,39})$') end;
    if v_number ~ '\d' then
      return v_number;
    end if;
  end loop;
  select array_agg(distinct numbers.number) into v_numbers
  from (
    select left(v_subject, 1000) as content
    union all
    -- A webhook waits for this: of somebody who writes without end the newest twenty thousand characters or so are read.
    select newest.content
    from (
      select told.content, sum(length(told.content)) over (order by told.created_at desc, told.message_id desc)
        - length(told.content) as before
      from (
        select left(messages.content, 10000) as content, messages.created_at, messages.message_id from chatwoot.messages
        where messages.account_id = order_of.account_id and messages.conversation_display_id = order_of.display_id
          and messages.message_type = 'incoming' and messages.private is not true and messages.deleted_at is null
          and messages.content is not null
        order by messages.created_at desc, messages.message_id desc limit 20
      ) as told
    ) as newest
    where newest.before < 15000
  ) as written
  cross join lateral replies.order_numbers(written.content) as numbers;
  return case when cardinality(v_numbers) = 1 then v_numbers[1] end;
end
$$;
comment on function replies.order_of is
  'The number of the order that a conversation is about: of its custom attributes, else the one number that the customer wrote; null for none, or for more than one.';

create function replies.render(
  account_id bigint, display_id bigint, body text, agent_name text default null, out text text, out missing text[]
)
-- One pass: a value that is put in is never looked at again.
language plpgsql stable security invoker set search_path = '' as $$
declare
  v_pieces text[] := regexp_split_to_array(render.body, '\{\{[^{}]*\}\}');
  v_variables text[] := array(select trim(found.match[1]) from regexp_matches(render.body, '\{\{([^{}]*)\}\}', 'g')
    with ordinality as found (match, place) order by found.place);
  v_conversation chatwoot.conversations;
  v_contact chatwoot.contacts;
  v_name text;
  v_type text;
  v_raw text;
  v_attribute jsonb;
  v_values jsonb := '{}'::jsonb;
begin
  text := v_pieces[1];
  missing := '{}';
  if cardinality(v_variables) = 0 then
    return;
  end if;
  select * into v_conversation from chatwoot.conversations as existing
  where existing.account_id = render.account_id and existing.display_id = render.display_id;
  select * into v_contact from chatwoot.contacts as existing
  where existing.account_id = render.account_id and existing.contact_id = v_conversation.contact_id
    and existing.deleted_at is null;
  for v_place in 1 .. cardinality(v_variables) loop
    v_name := v_variables[v_place];
    if not v_values ? v_name then
      select variables.type into v_type from replies.variables
      where variables.name = case when v_name ~ '^custom\.[a-z0-9_]{1,100}$' then 'custom.<key>' else v_name end;
      v_raw := case
        when v_name = 'contact.first_name' then replies.first_name(v_contact.name)
        when v_name = 'contact.last_name' then replies.last_name(v_contact.name)
        when v_name = 'contact.name' then v_contact.name
        when v_name = 'contact.email' then v_contact.email
        when v_name = 'contact.phone_number' then v_contact.phone_number
        when v_name = 'conversation.id' then v_conversation.display_id::text
        when v_name = 'order.number' then replies.order_of(render.account_id, render.display_id)
        when v_name = 'agent.name' then render.agent_name
        when v_name = 'agent.first_name' then replies.first_name(render.agent_name)
        when v_name = 'team.name' then (select teams.name from chatwoot.teams
          where teams.account_id = render.account_id and teams.team_id = v_conversation.team_id)
        when v_name = 'inbox.name' then (select inboxes.name from chatwoot.inboxes
          where inboxes.account_id = render.account_id and inboxes.inbox_id = v_conversation.inbox_id)
        when v_name = 'account.name' then (select accounts.name from chatwoot.accounts
          where accounts.account_id = render.account_id)
      end;
      if v_name like 'custom.%' and v_type is not null then
        v_attribute := coalesce(nullif(v_conversation.custom_attributes -> substr(v_name, 8), 'null'),
          v_contact.custom_attributes -> substr(v_name, 8));
        v_raw := case when jsonb_typeof(v_attribute) in ('string', 'number') then v_attribute #>> '{}' end;
      end if;
      v_values := v_values || jsonb_build_object(v_name, replies.value_of_type(v_type, v_raw));
    end if;
    if v_values ->> v_name is null and not left(v_name, 100) = any (missing) then
      missing := missing || left(v_name, 100);
    end if;
    text := text || coalesce(v_values ->> v_name, '{{' || v_name || '}}') || v_pieces[v_place + 1];
  end loop;
end
$$;
comment on function replies.render is
  'The text with its variables filled in from the conversation, and the names of those that are unknown or have no value of their type, which stay as {{…}}.';

do $$
declare
  v_routine regprocedure;
begin
  for v_routine in
    select routines.oid::regprocedure from pg_proc as routines where routines.pronamespace = 'replies'::regnamespace
  loop
    execute format('revoke all on routine %s from public, anon, authenticated, service_role', v_routine);
  end loop;
end
$$;
