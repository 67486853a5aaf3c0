-- One row: modulus and training share at one weight decay; share of the seeds that add their held-out rows.
WITH events AS (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step
    FROM metrics
    GROUP BY trial_id
)
SELECT
    t.modulus,
    t.train_share,
    count(*) AS num_seeds,
    count(e.test_step) / count(*) AS added,
    median(e.test_step) AS median_step
FROM trials AS t
JOIN events AS e USING (trial_id)
WHERE t.labels = 'sum' AND t.weight_decay = $weight_decay
GROUP BY t.modulus, t.train_share
ORDER BY ALL
