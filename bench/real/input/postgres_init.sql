-- SPDX-License-Identifier: MIT
-- The data of bench/real/postgres.
create table item(id int primary key, grp int, name text, balance bigint not null default 0, doc jsonb);
insert into item
    select i, i * 31 % 100, 'name ' || (i * 7919 % 20011), 0,
           jsonb_build_object('id', i, 'tags', jsonb_build_array('a' || i % 7, 'b' || i % 11), 'text', repeat('word' || i || ' ', i % 20))
    from generate_series(1, 20000) i;
create index by_group on item(grp);
create table history(id int, delta int);
vacuum analyze;
