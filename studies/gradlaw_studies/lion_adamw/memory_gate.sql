-- One row: one trial of the claim (its task, rule and batch size, on its side of beta1 = beta2), and whether it is
-- inside the regime of the expansion: it ended soundly and crossed the threshold, with lr |c_n(beta1) - c_n(beta2)|
-- (see law.py) small, the first moment's memory short against the run up to there, and a full training loss that
-- rises at few logged steps before.
WITH regime AS (
-- include: memory_regime.sql
)
SELECT
    t.trial_id,
    t.state IN ('done', 'reached_target') AND coalesce(
        abs(c.x) <= $largest AND c.step >= $memories / (1 - c.beta1) AND c.share <= $rising, false
    ) AS passed
FROM trials AS t
LEFT JOIN regime AS c ON c.trial_id = t.trial_id AND c.threshold = $threshold
WHERE
    t.task LIKE $task || '@%'
    AND t.rule LIKE $rule || '@%'
    AND t.batch_size = $batch_size
    AND CASE $side
        WHEN 'above' THEN t.beta2 >= t.beta1
        WHEN 'below' THEN t.beta2 <= t.beta1
        WHEN 'either' THEN true
    END
