-- One row: one trial with weight decay, of the settings that are also trained without; steps from fitting the
-- training rows to adding the held-out ones. Of ranks alone: a delay that is censored counts as the whole budget,
-- above every delay that was seen. Where both come at one logged step, or the held-out rows first, it is 0.
-- $source: 'measured', or a plumbing check: 'inverse' and 'proportional' to the weight decay.
WITH events AS (
    SELECT
        trial_id,
        min(step) FILTER (train_accuracy >= $accuracy) AS train_step,
        min(step) FILTER (test_accuracy >= $accuracy) AS test_step
    FROM metrics
    GROUP BY trial_id
)
SELECT
    t.seed,
    t.weight_decay AS level,
    CASE $source
        WHEN 'inverse' THEN 1 / t.weight_decay
        WHEN 'proportional' THEN t.weight_decay
        WHEN 'measured' THEN
            CASE WHEN e.test_step IS NULL THEN t.steps ELSE e.test_step - coalesce(e.train_step, e.test_step) END
    END::DOUBLE AS value
FROM trials AS t
JOIN events AS e USING (trial_id)
WHERE t.labels = 'sum' AND t.weight_decay > 0 AND (t.modulus, t.width, t.train_share) IN (
    SELECT (modulus, width, train_share) FROM trials WHERE weight_decay = 0
)
