-- One row: one seed and kind of warm-up of $rule on $task; log of the largest stable lr, the middle of its last
-- bracket. Arms: 'none', 'longest' of the linear ones, 'factor' sqrt(1 - beta2^t); those between are left out.
WITH ends AS (
    SELECT trial_id, arg_max(train_loss, step) AS final FROM metrics GROUP BY trial_id
),
asked AS (
    SELECT
        t.*,
        t.state = 'done'
        AND coalesce(isfinite(e.final) AND e.final < if(t.task LIKE 'digits_squares@%', 0.5, ln(10)), false)
            AS held
    FROM trials AS t
    LEFT JOIN ends AS e USING (trial_id)
    WHERE t.trial_id IN (SELECT trial_id FROM plans WHERE role = 'edge') AND t.state IN ('done', 'diverged')
),
edges AS (
    SELECT
        seed,
        split_part(task, '@', 1) AS task,
        split_part(rule, '@', 1) AS rule,
        split_part(schedule, '@', 1) AS schedule,
        warmup_steps,
        (ln(max(lr) FILTER (held)) + ln(min(lr) FILTER (NOT held))) / 2 AS log_edge
    FROM asked
    GROUP BY ALL
    HAVING max(lr) FILTER (held) < min(lr) FILTER (NOT held)
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
