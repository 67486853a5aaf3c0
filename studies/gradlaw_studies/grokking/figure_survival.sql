-- One row: one arm and event time, in steps; the Kaplan-Meier share of seeds whose held-out rows are not yet
-- added after it. Each arm begins at (0, 1) and ends at its last time.
WITH events AS (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step, max(step) AS last_step
    FROM metrics
    GROUP BY trial_id
),
times AS (
    SELECT
        t.labels,
        t.weight_decay,
        coalesce(e.test_step, e.last_step) AS time,
        e.test_step IS NOT NULL AS observed
    FROM trials AS t
    JOIN events AS e USING (trial_id)
    WHERE (t.modulus, t.width, t.train_share) IN (
        SELECT (modulus, width, train_share) FROM trials WHERE weight_decay = 0
    )
),
counts AS (
    SELECT labels, weight_decay, time, count(*) AS leaving, count(*) FILTER (observed) AS deaths
    FROM times
    GROUP BY ALL
),
risks AS (
    SELECT
        *,
        sum(leaving) OVER (
            PARTITION BY labels, weight_decay ORDER BY time ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
        ) AS at_risk
    FROM counts
)
SELECT
    labels,
    weight_decay,
    time,
    product(1 - deaths / at_risk) OVER (PARTITION BY labels, weight_decay ORDER BY time) AS survival
FROM risks
UNION ALL
SELECT DISTINCT labels, weight_decay, 0, 1.0 FROM times
ORDER BY ALL
