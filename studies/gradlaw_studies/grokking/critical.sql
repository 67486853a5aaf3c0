-- One row: one seed and modulus d; the critical number n of training rows, as in critical_numbers.sql. x = ln(d ln d),
-- y = ln(n), value = n / (d ln d). A modulus with a single share is none of the law's. A seed is left out unless at
-- every modulus the smallest share fails and the largest succeeds.
-- $source: 'measured', or a check of the instrument: what would be seen if exactly n >= $multiple d ln(d)
-- ('d log d') or n >= $multiple d ('d') sufficed.
WITH trained AS (
-- include: law_trials.sql
),
runs AS (
    SELECT
        *,
        1.0 AS budget,
        CASE $source
            WHEN 'd log d' THEN train_share * modulus ** 2 >= $multiple * modulus * ln(modulus)
            WHEN 'd' THEN train_share * modulus >= $multiple
            WHEN 'measured' THEN test_step IS NOT NULL
        END AS added
    FROM trained
),
critical AS (
-- include: critical_numbers.sql
)
SELECT seed, modulus, ln(scale) AS x, log_n AS y, exp(log_n) / scale AS value
FROM critical
QUALIFY count(*) OVER (PARTITION BY seed) = (SELECT count(DISTINCT modulus) FROM runs)
