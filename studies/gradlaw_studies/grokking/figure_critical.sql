-- One row: one seed, modulus and share of the budget; the critical number of training rows as in critical_numbers.sql.
-- Only where the smallest share fails and the largest succeeds within that budget.
WITH trained AS (
-- include: law_trials.sql
),
runs AS (
    SELECT t.*, t.steps * b.budget AS budget, coalesce(t.test_step <= b.budget * t.steps, false) AS added
    FROM trained AS t
    CROSS JOIN (VALUES (0.125), (0.25), (0.5), (1.0)) AS b (budget)
),
critical AS (
-- include: critical_numbers.sql
)
SELECT seed, modulus, budget, exp(log_n) AS critical_rows
FROM critical
ORDER BY ALL
