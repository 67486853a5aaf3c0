-- One row: one constructed solution of order 6; the nullity of its Hessian less a number of directions, found by
-- counting conditions, or ($less_free) those known to be free: symmetries, phases, padded nodes.
SELECT t.seed, h.nullity - CASE WHEN $less_free THEN h.predicted ELSE h.counted END AS value
FROM hessian_nullity AS h
JOIN trials AS t USING (trial_id)
WHERE h.construction = 'order_6'
