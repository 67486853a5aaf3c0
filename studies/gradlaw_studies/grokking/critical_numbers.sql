-- One row: one seed, modulus and budget of `runs`, which has a row for each share of training rows: the log of the
-- critical number of training rows, log_n. By Spearman and Karber: the logs of neighbouring numbers are averaged where
-- adding the held-out rows sets in (if it comes and goes, each change counts with its sign). Left out where the smallest
-- share succeeds or the largest fails.
WITH steps_up AS (
    SELECT
        seed,
        modulus,
        budget,
        scale,
        lead(added::INT) OVER ascending - added::INT AS change,
        (lead(log_n) OVER ascending + log_n) / 2 AS middle
    FROM runs
    WINDOW ascending AS (PARTITION BY seed, modulus, budget ORDER BY log_n)
)
SELECT seed, modulus, budget, any_value(scale) AS scale, sum(change * middle) AS log_n
FROM steps_up
GROUP BY seed, modulus, budget
HAVING sum(change) = 1
