-- One row: one network; the share of order 4 among its frequencies of order 4 or 6; its level is its modulus.
-- $planted, if not 0, puts that many times the level in the place of the share.
SELECT
    t.seed,
    t.modulus AS level,
    CASE WHEN $planted = 0 THEN n.num_order_4 / (n.num_order_4 + n.num_order_6) ELSE $planted * t.modulus END
        AS value
FROM networks AS n
JOIN trials AS t USING (trial_id)
WHERE n.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.modulus IN (23, 71, 127)
    AND t.width = $width
    AND t.weight_decay = $weight_decay
    AND n.num_order_4 + n.num_order_6 > 0
