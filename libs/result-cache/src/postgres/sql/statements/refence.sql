-- A row that one process proved is given the proving snapshot as its fence, so that the next one need not ask.
-- Only the very row that was proved: its proof text names fence, incarnation, expiry and the moment it was stored.
UPDATE :table c
   SET lo = n.lo, hi = n.hi, open = n.open::bigint[],
       proof = json_build_array(n.lo, n.hi, n.open::bigint[], c.incarnation, c.proof::json -> 4, c.proof::json -> 5, c.compute_ms, c.tags)::text
  FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[]) AS n (key, proof, lo, hi, open)
 WHERE c.cache_key = n.key AND c.proof = n.proof
