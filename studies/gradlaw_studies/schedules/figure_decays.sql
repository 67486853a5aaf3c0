-- One row: one task, shape of the lr and peak; geometric mean over seeds of the held-out loss at the end.
WITH runs AS (
-- include: decay_ends.sql
)
SELECT task, shape, lr, count(*) AS num_seeds, exp(avg(log_loss)) AS loss
FROM runs
GROUP BY ALL
ORDER BY task, shape, lr
