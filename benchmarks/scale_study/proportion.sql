-- One row: one seed, and whether the mean over its trials of the last gradient norm is below one.
WITH last AS (
    SELECT trial_id, arg_max(gradient_norm, step) AS norm
    FROM metrics
    GROUP BY trial_id
)
SELECT t.seed, (avg(l.norm::DOUBLE) < 1)::INTEGER AS successes, 1 AS total
FROM last AS l
JOIN trials AS t USING (trial_id)
GROUP BY t.seed
