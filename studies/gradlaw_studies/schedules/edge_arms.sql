-- One row: one seed and kind of warm-up of $rule on $task; log of the largest stable lr, the middle of its last
-- bracket. Arms: 'none', 'longest' of the linear ones, 'factor' sqrt(1 - beta2^t); those between are left out.
WITH edges AS (
-- include: edges.sql
)
SELECT
    seed,
    CASE
        WHEN schedule = 'moment_warmup' THEN 'factor'
        WHEN warmup_steps = 0 THEN 'none'
        ELSE 'longest'
    END AS arm,
    log_edge AS value
FROM edges
WHERE
    task = $task AND rule = $rule
    AND (schedule = 'moment_warmup' OR warmup_steps IN (0, (SELECT max(warmup_steps) FROM edges)))
