-- One row: one seed; log of the largest stable lr on the quadratic, without warm-up, over 2 / lambda_max.
WITH ends AS (
    SELECT trial_id, arg_max(train_loss, step) AS final, max(sharpness) AS sharpness FROM metrics GROUP BY trial_id
),
asked AS (
    SELECT
        t.*, e.sharpness,
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
        warmup_steps, max(sharpness) AS sharpness,
        (ln(max(lr) FILTER (held)) + ln(min(lr) FILTER (NOT held))) / 2 AS log_edge
    FROM asked
    GROUP BY ALL
    HAVING max(lr) FILTER (held) < min(lr) FILTER (NOT held)
)
SELECT seed, log_edge + ln(sharpness / 2) AS value
FROM edges
WHERE task = 'digits_squares' AND warmup_steps = 0
