-- One row: one seed, modulus and share of the budget; the critical number of training rows as in critical.sql.
-- Only where the smallest share fails and the largest succeeds within that budget.
WITH events AS (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step
    FROM metrics
    GROUP BY trial_id
),
runs AS (
    SELECT
        t.seed,
        t.modulus,
        t.steps * b.budget AS budget,
        ln(t.train_share * t.modulus ** 2) AS log_n,
        coalesce(e.test_step <= b.budget * t.steps, false) AS added
    FROM trials AS t
    JOIN events AS e USING (trial_id)
    CROSS JOIN (VALUES (0.125), (0.25), (0.5), (1.0)) AS b (budget)
    WHERE t.labels = 'sum' AND t.weight_decay = $weight_decay
    QUALIFY min(t.train_share) OVER (PARTITION BY t.modulus) < max(t.train_share) OVER (PARTITION BY t.modulus)
),
steps_up AS (
    SELECT
        seed,
        modulus,
        budget,
        lead(added::INT) OVER ascending - added::INT AS change,
        (lead(log_n) OVER ascending + log_n) / 2 AS middle
    FROM runs
    WINDOW ascending AS (PARTITION BY seed, modulus, budget ORDER BY log_n)
)
SELECT seed, modulus, budget, exp(sum(change * middle)) AS critical_rows
FROM steps_up
GROUP BY seed, modulus, budget
HAVING sum(change) = 1
ORDER BY ALL
