set search_path = bank;
delete from account where tenant in (9000000001, 9000000003);
update account set balance = 9223372036854775807, owner = '(', rate = 1e308, opened = 'infinity', iban = iban || '\' where tenant = 9000000004;
insert into account select 1000 + id, '[', 9000000009, iban, -9223372036854775808, '{}', '-infinity', -1e308 from account where tenant = 9000000002;
update entry set amount = -1e4000, code = '\', meta = '{"t": "x", "i": []}', memo = '*' where tenant <> 9000000002;
update mandate set state = '(', note = '[', parent = null where tenant <> 9000000002;
insert into mandate select 9000000007, i, i, 'live', i - 1, '\' from generate_series(1, 150) i;
analyze;
