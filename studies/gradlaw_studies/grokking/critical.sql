-- One row: one seed and modulus d; the critical number n of training rows. By Spearman and Karber: the logs of
-- neighbouring numbers are averaged where adding the held-out rows sets in (if it comes and goes, each change
-- counts with its sign). x = ln(d ln d), y = ln(n), value = n / (d ln d).
-- A modulus with a single share is none of the law's. A seed is left out unless at every modulus the smallest
-- share fails and the largest succeeds.
-- $source: 'measured', or a check of the instrument: what would be seen if exactly n >= $multiple d ln(d)
-- ('d log d') or n >= $multiple d ('d') sufficed.
WITH events AS (
    SELECT trial_id, min(step) FILTER (test_accuracy >= $accuracy) AS test_step
    FROM metrics
    GROUP BY trial_id
),
runs AS (
    SELECT
        t.seed,
        t.modulus,
        ln(t.train_share * t.modulus ** 2) AS log_n,
        t.modulus * ln(t.modulus) AS scale,
        CASE $source
            WHEN 'd log d' THEN t.train_share * t.modulus ** 2 >= $multiple * t.modulus * ln(t.modulus)
            WHEN 'd' THEN t.train_share * t.modulus >= $multiple
            WHEN 'measured' THEN e.test_step IS NOT NULL
        END AS added
    FROM trials AS t
    JOIN events AS e USING (trial_id)
    WHERE t.labels = 'sum' AND t.weight_decay = $weight_decay
    QUALIFY min(t.train_share) OVER (PARTITION BY t.modulus) < max(t.train_share) OVER (PARTITION BY t.modulus)
),
steps_up AS (
    SELECT
        seed,
        modulus,
        scale,
        lead(added::INT) OVER ascending - added::INT AS change,
        (lead(log_n) OVER ascending + log_n) / 2 AS middle
    FROM runs
    WINDOW ascending AS (PARTITION BY seed, modulus ORDER BY log_n)
),
critical AS (
    SELECT seed, modulus, any_value(scale) AS scale, sum(change * middle) AS log_n
    FROM steps_up
    GROUP BY seed, modulus
    HAVING sum(change) = 1
)
SELECT seed, modulus, ln(scale) AS x, log_n AS y, exp(log_n) / scale AS value
FROM critical
QUALIFY count(*) OVER (PARTITION BY seed) = (SELECT count(DISTINCT modulus) FROM runs)
