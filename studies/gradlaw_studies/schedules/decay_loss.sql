-- One row: one seed and shape of the lr on $task; log of the held-out loss at the end, at the peak that is best for
-- the other seeds (mean log loss). Left out where that peak is the lowest or the highest of the grid.
WITH runs AS (
-- include: decay_ends.sql
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
