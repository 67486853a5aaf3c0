-- One row: one task, threshold and batch size (0: all rows) of AdamW at beta1 = .9, beta2 from .9 on: the mean over
-- seeds of the slope of the log one-norm in lr (c_n(beta1) - c_n(beta2)), its standard error (missing of one seed), and B_simple, the ratio
-- of the means of tr Sigma and |G|^2 over the rows from half the crossing's step to 3/2 of it (none where not measured).
WITH crossings AS (
-- include: memory_crossings.sql
),
crossed AS (
    SELECT *, ln(grad_l1) AS y
    FROM crossings
    WHERE rule = 'adamw' AND beta1 = 0.9 AND beta2 BETWEEN 0.9 AND 0.999
),
slopes AS (
    SELECT task, threshold, batch_size, seed, regr_slope(y, x) AS slope
    FROM crossed
    GROUP BY task, threshold, batch_size, seed
    HAVING count(DISTINCT x) > 1
),
scales AS (
    SELECT c.task, c.threshold, c.batch_size, sum(r.noise_trace) / sum(r.noise_grad_squared) AS simple
    FROM crossed AS c
    JOIN metrics AS r ON r.trial_id = c.trial_id AND r.step BETWEEN c.step / 2 AND 3 * c.step / 2
    WHERE c.batch_size > 0
    GROUP BY c.task, c.threshold, c.batch_size
)
SELECT
    s.task,
    s.threshold,
    s.batch_size,
    count(*) AS num_seeds,
    avg(s.slope) AS slope,
    stddev(s.slope) / sqrt(count(*)) AS error,
    any_value(z.simple) AS simple
FROM slopes AS s
LEFT JOIN scales AS z USING (task, threshold, batch_size)
GROUP BY s.task, s.threshold, s.batch_size
ORDER BY s.task, s.threshold DESC, s.batch_size
