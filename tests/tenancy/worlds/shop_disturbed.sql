set search_path = shop, crm;
delete from product where org::text like '%1';
update product set name = '(', code = 'zq3x\', price = 99999999.99, stock = 2147483647, added = '5874897-12-31', tags = null where org::text like '%3';
insert into product select org, sku || 'b', '*', '[', -price, -2147483648, '{}', '4713-01-01 BC' from product where org::text like '%4';
update purchase set quantity = 2147483647, remark = 'x\', buyer = -2147483648 where org::text like '%1';
delete from purchase where org::text like '%4' and id % 2 = 0;
update buyer set score = -1e4000, code = '' where org::text like '%1' or org::text like '%4';
insert into crm.product select '00000000-0000-4000-8000-000000000009', i, '+(' from generate_series(1, 300) i;
analyze;
