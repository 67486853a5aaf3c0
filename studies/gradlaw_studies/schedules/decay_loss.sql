-- One row: one seed and shape of the lr on $task; log of the held-out loss at the end, at the peak that is best for
-- the other seeds (mean log loss). Left out where that peak is the lowest or the highest of the grid.
WITH finals AS (
    SELECT trial_id, arg_max(test_loss, step)::DOUBLE AS final FROM metrics GROUP BY trial_id
),
runs AS (
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
),
others AS (
    SELECT
        a.seed,
        a.task,
        a.shape,
        a.lr,
        any_value(a.log_loss) AS log_loss,
        avg(b.log_loss) AS expected
    FROM runs AS a
    JOIN runs AS b ON a.task = b.task AND a.shape = b.shape AND a.lr = b.lr AND a.seed <> b.seed
    GROUP BY ALL
),
best AS (
    SELECT seed, task, shape, arg_min(lr, expected) AS lr, arg_min(log_loss, expected) AS value
    FROM others
    GROUP BY ALL
)
SELECT seed, shape AS arm, value
FROM best
WHERE task = $task AND lr > (SELECT min(lr) FROM runs) AND lr < (SELECT max(lr) FROM runs)
