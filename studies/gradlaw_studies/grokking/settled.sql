-- One row: one seed at the largest modulus, which is the slowest; log of the critical number of training rows (as
-- in critical.sql) at the share $early of the budget over that at the whole of it. A seed is left out unless it has
-- both.
WITH events AS (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step
    FROM metrics
    GROUP BY trial_id
),
runs AS (
    SELECT
        t.seed,
        t.modulus,
        b.budget,
        ln(t.train_share * t.modulus ** 2) AS log_n,
        coalesce(e.test_step <= b.budget * t.steps, false) AS added
    FROM trials AS t
    JOIN events AS e USING (trial_id)
    CROSS JOIN (VALUES (1.0), ($early)) AS b (budget)
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
),
critical AS (
    SELECT seed, modulus, budget, sum(change * middle) AS log_n
    FROM steps_up
    GROUP BY seed, modulus, budget
    HAVING sum(change) = 1
)
SELECT seed, sum(CASE WHEN budget < 1 THEN log_n ELSE -log_n END) AS value
FROM critical
WHERE modulus = (SELECT max(modulus) FROM runs)
GROUP BY seed
HAVING count(*) = 2
