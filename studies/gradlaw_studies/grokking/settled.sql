-- One row: one seed at the largest modulus, which is the slowest; log of the critical number of training rows (as
-- in critical_numbers.sql) at the share $early of the budget over that at the whole of it. Where the largest share
-- fails at the early budget it counts as half a rung above that share, the least that is known: left out, it would
-- speak for a threshold that has settled. A seed is left out unless it has both.
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
),
numbers AS (
    SELECT seed, modulus, budget, log_n FROM critical
    UNION ALL
    SELECT seed, modulus, budget, max(log_n) + (max(log_n) - min(log_n)) / (count(*) - 1) / 2
    FROM runs
    WHERE budget < 1
    GROUP BY seed, modulus, budget
    HAVING NOT arg_max(added, log_n)
)
SELECT seed, sum(CASE WHEN budget < 1 THEN log_n ELSE -log_n END) AS value
FROM numbers
WHERE modulus = (SELECT max(modulus) FROM runs)
GROUP BY seed
HAVING count(*) = 2
