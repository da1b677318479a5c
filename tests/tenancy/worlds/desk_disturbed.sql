set search_path = desk;
delete from "Ticket" where "Tenant" = 'org-3';
update "Ticket" set code = '((', "Title" = 'x\', prio = 32767, body = '{"t": "x", "a": "b"}', due = 'infinity', "assigned.to" = 2147483647 where "Tenant" <> 'org-2';
insert into "Ticket" select 'org-9', i, '*', 'open', -32768, -2147483648, 'null', '+', '-infinity' from generate_series(1, 200) i;
delete from agent where "Tenant" = 'org-1';
update agent set name = '[', boss = -2147483648 where "Tenant" <> 'org-2';
update "select" set "user" = '(', "group" = '\' where "Tenant" <> 'org-2';
insert into tag select i, 'org-8', '\', 2147483647 from generate_series(1, 150) i;
analyze;
