-- One row: one network; the share of order 4 among its frequencies of order 4 or 6, at the level of its modulus.
-- $backwards turns the order of the levels round.
SELECT
    t.seed,
    (CASE WHEN $backwards THEN -1 ELSE 1 END) * t.modulus AS level,
    n.num_order_4 / (n.num_order_4 + n.num_order_6) AS value
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.modulus IN (23, 71, 127)
    AND t.width = $width
    AND t.weight_decay = $weight_decay
    AND n.num_order_4 + n.num_order_6 > 0
