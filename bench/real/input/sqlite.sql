-- SPDX-License-Identifier: MIT
-- Workload of bench/real/sqlite: inserts, indexes, joins, text and JSON functions, updates and deletes.
create table item(id integer primary key, name text, grp integer, amount real, note text);
begin;
with recursive n(i) as (select 1 union all select i + 1 from n where i < 150000)
    insert into item select i, 'name ' || (i * 7919 % 150001), i * 31 % 997, i * 0.37, substr(hex(zeroblob(i % 120)), 1, i % 200)
    from n;
commit;
create index by_group on item(grp, amount);
create index by_name on item(name);
select grp, count(*), printf('%.2f', sum(amount)), max(name) from item group by grp having grp % 100 = 3;
select count(*), sum(a.id % 10 + b.id % 7) from item a join item b on b.id = a.id * 17 % 150000 where a.note < b.note;
select length(group_concat(upper(name) || '-' || id, ',')) from item where grp < 400;
select sum(length(doc)), max(json_extract(doc, '$.name'))
    from (select json_object('id', id, 'name', name, 'tags', json_array(grp, amount, note)) doc from item where id % 2 = 0);
select sum(r) from (select rank() over (partition by grp order by name, id) r from item);
with recursive c(i, s) as (select 1, 'x' union all select i + 1, substr(s || i, -400) from c where i < 60000)
    select count(*), max(length(s)), max(s) from c;
update item set name = name || ' changed', note = note || name where id % 3 = 0;
delete from item where id % 5 = 0;
select count(*), sum(length(name) + length(note)), min(name), max(name) from item;
