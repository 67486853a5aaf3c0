-- One row: one trial that crossed a threshold, at each. share: of the logged steps before it, those at which the full
-- training loss rises.
WITH crossings AS (
-- include: memory_crossings.sql
),
moves AS (
    SELECT trial_id, step, lead(train_loss) OVER (PARTITION BY trial_id ORDER BY step) > train_loss AS rises
    FROM metrics
),
rising AS (
    SELECT c.trial_id, c.threshold, avg(m.rises::INT) AS share
    FROM crossings AS c
    JOIN moves AS m ON m.trial_id = c.trial_id AND m.step < c.step
    GROUP BY c.trial_id, c.threshold
)
SELECT c.*, r.share
FROM crossings AS c
LEFT JOIN rising AS r USING (trial_id, threshold)
