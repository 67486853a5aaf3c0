-- One row: one network; its mean order over frequencies; its level is its weight decay, up to $largest.
-- $planted, if not 0, puts that many times the level in the place of the order.
SELECT
    t.seed,
    t.weight_decay AS level,
    CASE WHEN $planted = 0 THEN avg(f.order_absolute) ELSE $planted * t.weight_decay END AS value
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.modulus = $modulus
    AND t.width = $width
    AND t.weight_decay <= $largest
GROUP BY t.seed, f.trial_id, t.weight_decay
