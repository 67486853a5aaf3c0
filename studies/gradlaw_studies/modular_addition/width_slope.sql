-- One row: one network; its mean order over frequencies against log2 of its width; a series is a modulus.
-- $planted, if not 0, puts that much for every doubling of the width in the place of the order.
SELECT
    t.seed,
    t.modulus AS series,
    log2(t.width) AS x,
    CASE WHEN $planted = 0 THEN avg(f.order_absolute) ELSE $planted * log2(t.width) END AS y
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.weight_decay = $weight_decay
    AND t.width >= $smallest
GROUP BY t.seed, f.trial_id, t.modulus, t.width
