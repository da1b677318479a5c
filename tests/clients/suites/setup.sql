create table a (id serial primary key, n text unique, x numeric(10,2) check (x > 0));
create table b (id bigserial primary key, a_id int references a (id) on delete cascade);
create index on b (a_id);
create view v as select * from a;
create sequence s1;
create function f() returns int language sql as 'select 1';
insert into a (n, x) values ('one', 1), ('two', 2);
insert into b (a_id) select id from a;
