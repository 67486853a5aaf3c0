-- One row: one seed whose slope of the log one-norm in x (as in memory_slope.sql) changes its sign from above zero to
-- below it between two neighbouring batch sizes. value: ln(B / B_simple), B the size at which the slope, linear in
-- ln B between the two, is zero; B_simple = tr Sigma / |G|^2 of the seed, both averaged over its mini-batch trials'
-- rows from half the crossing's step to 3/2 of it. The full set (batch_size 0) counts as $num_train.
WITH crossed AS (
    SELECT
        t.trial_id,
        t.seed,
        CASE WHEN t.batch_size = 0 THEN $num_train ELSE t.batch_size END AS size,
        t.batch_size > 0 AS is_batch,
        m.step,
        ln(m.grad_l1) AS y,
        t.lr * (
            t.beta1 / (1 - t.beta1) - m.step * pow(t.beta1, m.step) / (1 - pow(t.beta1, m.step))
            - t.beta2 / (1 - t.beta2) + m.step * pow(t.beta2, m.step) / (1 - pow(t.beta2, m.step))
        ) AS x
    FROM trials AS t
    JOIN matched_loss AS m USING (trial_id)
    WHERE
        t.task LIKE $task || '@%'
        AND t.rule LIKE 'adamw@%'
        AND t.beta1 = $beta1
        AND t.beta2 >= t.beta1
        AND t.lr = $lr
        AND m.threshold = $threshold
        AND m.step > 0
),
slopes AS (
    SELECT seed, size, regr_slope(y, x) AS slope FROM crossed GROUP BY seed, size
),
neighbours AS (
    SELECT
        seed,
        size,
        slope,
        lead(size) OVER (PARTITION BY seed ORDER BY size) AS next_size,
        lead(slope) OVER (PARTITION BY seed ORDER BY size) AS next_slope
    FROM slopes
),
crossover AS (
    SELECT seed, min(ln(size) + ln(next_size / size) * slope / (slope - next_slope)) AS log_size
    FROM neighbours
    WHERE slope > 0 AND next_slope <= 0
    GROUP BY seed
),
scale AS (
    SELECT c.seed, sum(r.noise_trace) / sum(r.noise_grad_squared) AS simple
    FROM crossed AS c
    JOIN metrics AS r ON r.trial_id = c.trial_id AND r.step BETWEEN c.step / 2 AND 3 * c.step / 2
    WHERE c.is_batch
    GROUP BY c.seed
)
SELECT o.seed, o.log_size - ln(s.simple) AS value
FROM crossover AS o
JOIN scale AS s USING (seed)
WHERE s.simple > 0
