-- One row: one trial of the settings that are also trained without weight decay; the first logged step at which
-- its held-out rows are added, censored at its last step. An arm is a weight decay, or 'shuffled'.
WITH events AS (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step, max(step) AS last_step
    FROM metrics
    GROUP BY trial_id
)
SELECT
    t.seed,
    CASE t.labels WHEN 'sum' THEN format('decay {:g}', t.weight_decay) ELSE t.labels END AS arm,
    coalesce(e.test_step, e.last_step) AS time,
    e.test_step IS NOT NULL AS observed
FROM trials AS t
JOIN events AS e USING (trial_id)
WHERE (t.modulus, t.width, t.train_share) IN (
    SELECT (modulus, width, train_share) FROM trials WHERE weight_decay = 0
)
