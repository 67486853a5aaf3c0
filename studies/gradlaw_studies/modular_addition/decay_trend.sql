-- One row: one network; its mean order over frequencies, at the level of its weight decay, up to $largest.
-- $backwards turns the order of the levels round.
SELECT
    t.seed,
    (CASE WHEN $backwards THEN -1 ELSE 1 END) * t.weight_decay AS level,
    avg(f.order_absolute) AS value
FROM frequencies AS f
JOIN trials AS t USING (trial_id)
WHERE f.step = t.steps
    AND t.task LIKE 'modular_addition@%'
    AND t.labels = 'sum'
    AND t.modulus = $modulus
    AND t.width = $width
    AND t.weight_decay <= $largest
GROUP BY t.seed, f.trial_id, t.weight_decay
