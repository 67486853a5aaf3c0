-- One row: one trial at the threshold, of one beta1 at the smallest lr, with beta2 at beta1 or above (level). value:
-- the log of the gradient's one-norm. $source: 'measured', or a plumbing check: 'rising' and 'falling' in beta2.
WITH own AS (
    SELECT t.trial_id, t.seed, t.beta2, t.lr, min(t.lr) OVER () AS smallest
    FROM trials AS t
    WHERE
        t.task LIKE $task || '@%'
        AND t.rule LIKE 'adamw@%'
        AND t.batch_size = 0
        AND t.beta1 = $beta1
        AND t.beta2 >= t.beta1
)
SELECT
    o.seed,
    o.beta2 AS level,
    CASE $source
        WHEN 'rising' THEN o.beta2
        WHEN 'falling' THEN -o.beta2
        WHEN 'measured' THEN ln(m.grad_l1)
    END AS value
FROM own AS o
JOIN matched_loss AS m USING (trial_id)
WHERE m.threshold = $threshold AND o.lr = o.smallest
