-- Rows of tenants 1 and 3 are deleted and changed, a fourth tenant has many, with values at which
-- loud expressions fail; statistics are fresh.
set search_path = app;
delete from orders where tenant_id = 1 and id % 2 = 0;
update orders set note = '[(', amount = 2147483647, customer_id = -2147483648 where tenant_id = 3;
insert into orders (tenant_id, id, customer_id, amount, note, status)
  select 4, i, i % 7, i % 40, case i % 3 when 0 then 'note\' when 1 then '*' else 'x' end, 'paid' from generate_series(1, 200) i;
delete from customers where tenant_id = 1;
update customers set name = '(', ref_by = 2147483647 where tenant_id = 3;
insert into items select 4, i, 1, 'sku\', 2147483647 from generate_series(1, 200) i;
delete from docs_u where tenant_id::text like '%1';
update docs_t set body = '[' where tenant_id = 'acme3';
insert into "Orders" select 4, i, '+' from generate_series(1, 100) i;
delete from tree where tenant_id = 3;
insert into tree select 4, i, i - 1, '(' from generate_series(1, 100) i;
analyze;
