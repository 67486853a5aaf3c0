-- One row: one seed, rule and kind of warm-up on the network; the largest stable lr.
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
SELECT seed, rule, schedule, coalesce(warmup_steps, 0)::BIGINT AS warmup_steps, exp(log_edge) AS edge
FROM edges
WHERE task = 'digits_mlp'
