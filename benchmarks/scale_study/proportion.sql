-- One row: one seed, and whether the mean over its trials of the gradient norm at step $last is below one.
SELECT t.seed, (avg(m.gradient_norm::DOUBLE) < 1)::INTEGER AS successes, 1 AS total
FROM metrics AS m
JOIN trials AS t USING (trial_id)
WHERE m.step = $last
GROUP BY t.seed
