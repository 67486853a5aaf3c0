-- One row: one arm (true labels, a weight decay) and logged step, of the settings that are also trained without
-- weight decay; mean accuracy over seeds. A trial that has ended counts on with its last row.
WITH arms AS (
    SELECT trial_id, weight_decay
    FROM trials
    WHERE labels = 'sum' AND (modulus, width, train_share) IN (
        SELECT (modulus, width, train_share) FROM trials WHERE weight_decay = 0
    )
),
grid AS (
    SELECT arms.trial_id, arms.weight_decay, steps.step
    FROM arms
    CROSS JOIN (SELECT DISTINCT step FROM metrics) AS steps
)
SELECT g.weight_decay, g.step, avg(m.train_accuracy) AS train_accuracy, avg(m.test_accuracy) AS test_accuracy
FROM grid AS g
ASOF JOIN metrics AS m ON g.trial_id = m.trial_id AND g.step >= m.step
GROUP BY g.weight_decay, g.step
ORDER BY ALL
