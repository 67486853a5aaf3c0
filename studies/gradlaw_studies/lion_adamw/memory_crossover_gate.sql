-- One row: one trial of the claim (AdamW on its task at one lr and beta1, beta2 from there on, all batch sizes), and
-- whether it is inside the regime as in memory_gate.sql; mini-batches may let the full training loss rise.
WITH regime AS (
-- include: memory_regime.sql
)
SELECT
    t.trial_id,
    t.state IN ('done', 'reached_target') AND coalesce(
        abs(c.x) <= $largest
        AND c.step >= $memories / (1 - c.beta1)
        AND (c.share <= $rising OR c.batch_size > 0),
        false
    ) AS passed
FROM trials AS t
LEFT JOIN regime AS c ON c.trial_id = t.trial_id AND c.threshold = $threshold
WHERE
    t.task LIKE $task || '@%'
    AND t.rule LIKE 'adamw@%'
    AND t.lr = $lr
    AND t.beta1 = $beta1
    AND t.beta2 >= t.beta1
