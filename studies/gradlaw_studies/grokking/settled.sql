-- One row: one seed at the largest modulus, which is the slowest; log of the critical number of training rows (as
-- in critical_numbers.sql) at the share $early of the budget over that at the whole of it. A seed is left out unless
-- it has both.
WITH trained AS (
-- include: law_trials.sql
),
runs AS (
    SELECT t.*, b.budget, coalesce(t.test_step <= b.budget * t.steps, false) AS added
    FROM trained AS t
    CROSS JOIN (VALUES (1.0), ($early)) AS b (budget)
),
critical AS (
-- include: critical_numbers.sql
)
SELECT seed, sum(CASE WHEN budget < 1 THEN log_n ELSE -log_n END) AS value
FROM critical
WHERE modulus = (SELECT max(modulus) FROM runs)
GROUP BY seed
HAVING count(*) = 2
