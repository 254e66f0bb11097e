-- Which of the names $1 stand for one table: the first of them, by place.
SELECT t.place, min(t.place) OVER (PARTITION BY to_regclass(t.name))
  FROM unnest($1::text[]) WITH ORDINALITY AS t (name, place)
 WHERE to_regclass(t.name) IS NOT NULL ORDER BY t.place
