-- One row: one trial of a search for the largest stable lr, as in edge_trials.sql; passed if its search found a lr
-- that holds and one that fails, the first below the second.
WITH asked AS (
-- include: edge_trials.sql
)
SELECT
    trial_id,
    coalesce(max(lr) FILTER (held) OVER one < min(lr) FILTER (NOT held) OVER one, false) AS passed
FROM asked
WINDOW one AS (PARTITION BY seed, task, rule, schedule, warmup_steps)
