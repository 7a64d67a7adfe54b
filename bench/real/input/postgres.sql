-- SPDX-License-Identifier: MIT
-- One turn of a client of bench/real/postgres.
\set id random(1, 20000)
\set delta random(-5000, 5000)
\set grp random(0, 89)
begin;
update item set balance = balance + :delta where id = :id;
insert into history values (:id, :delta);
end;
select name, count(*), sum(length(doc::text)) from item where grp between :grp and :grp + 5 group by name order by name;
select md5(jsonb_agg(doc order by name)::text) from item where grp between :grp and :grp + 3;
select id, regexp_split_to_array(doc ->> 'text', ' ') from item where grp = :grp order by md5(name) limit 50;
select count(*) from item a join item b on a.name = b.name where a.grp between :grp and :grp + 9;
