-- One row: one trial of the decays (shapes of the lr compared at equal task, steps and batch size); log of its held-out
-- loss at the end.
WITH finals AS (
    SELECT trial_id, arg_max(test_loss, step)::DOUBLE AS final FROM metrics GROUP BY trial_id
)
SELECT
    t.seed,
    split_part(t.task, '@', 1) AS task,
    CASE
        WHEN t.schedule LIKE 'linear_warmup@%' THEN 'rising'
        ELSE replace(replace(split_part(t.schedule, '@', 1), '_decay', ''), '_', ' ')
    END AS shape,
    t.lr,
    -- one that diverged counts as the bound at which a loss is taken to have diverged
    if(t.state = 'done' AND isfinite(f.final), ln(f.final), ln(1e6)) AS log_loss
FROM trials AS t
LEFT JOIN finals AS f USING (trial_id)
WHERE (t.task, t.steps, t.batch_size) IN (
    SELECT (task, steps, batch_size) FROM trials WHERE schedule LIKE 'cosine_decay@%'
)
