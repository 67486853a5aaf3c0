-- One row: one seed; successes: 1 if the slope of the log one-norm in x (as in memory_slope.sql) changes its sign from
-- above zero to below it at a batch size within a factor $factor of B_simple, else 0. That size is where the slope,
-- linear in ln B between two neighbouring sizes, is zero. Where no two sizes have it between them it is censored: below
-- the smallest, or above the largest if the slope is above zero there; a seed is left out if by that it may be near
-- B_simple or not. B_simple = tr Sigma / |G|^2 of the seed, both averaged over its mini-batch trials' rows from half the
-- crossing's step to 3/2 of it; a seed without is left out. The full set (batch_size 0) counts as $num_train.
-- $source: 'measured', or a plumbing check: slopes that change sign half-way (in ln B) between the smallest size and the
-- largest, with B_simple put there ('near'), or at an eighth of that ('far').
WITH crossings AS (
-- include: memory_crossings.sql
),
crossed AS (
    SELECT *, CASE WHEN batch_size = 0 THEN $num_train ELSE batch_size END AS size
    FROM crossings
    WHERE
        task = $task
        AND rule = 'adamw'
        AND beta1 = $beta1
        AND beta2 >= beta1
        AND lr = $lr
        AND threshold = $threshold
),
scales AS (
    SELECT c.seed, sum(r.noise_trace) / sum(r.noise_grad_squared) AS simple
    FROM crossed AS c
    JOIN metrics AS r ON r.trial_id = c.trial_id AND r.step BETWEEN c.step / 2 AND 3 * c.step / 2
    WHERE c.batch_size > 0
    GROUP BY c.seed
    HAVING simple > 0
),
measured AS (
    SELECT seed, size, regr_slope(ln(grad_l1), x) AS slope FROM crossed GROUP BY seed, size
),
sized AS (
    SELECT m.*, s.simple, (ln(min(m.size) OVER own) + ln(max(m.size) OVER own)) / 2 AS middle
    FROM measured AS m
    JOIN scales AS s USING (seed)
    WHERE isfinite(m.slope)
    WINDOW own AS (PARTITION BY m.seed)
),
slopes AS (
    SELECT
        seed,
        size,
        if($source = 'measured', slope, middle - ln(size)) AS slope,
        CASE $source
            WHEN 'measured' THEN ln(simple)
            WHEN 'near' THEN middle
            WHEN 'far' THEN middle - ln(8)
        END AS log_simple
    FROM sized
),
neighbours AS (
    SELECT
        *,
        lead(size) OVER ascending AS next_size,
        lead(slope) OVER ascending AS next_slope
    FROM slopes
    WINDOW ascending AS (PARTITION BY seed ORDER BY size)
),
bounds AS (
    SELECT
        seed,
        any_value(log_simple) AS log_simple,
        min(ln(size) + ln(next_size / size) * slope / (slope - next_slope))
            FILTER (slope > 0 AND next_slope <= 0) AS changed,
        arg_max(slope, size) > 0 AS is_above,
        ln(min(size)) AS smallest,
        ln(max(size)) AS largest
    FROM neighbours
    GROUP BY seed
    HAVING count(*) > 1
),
ends AS (
    SELECT
        seed,
        coalesce(changed, if(is_above, largest, '-inf'::DOUBLE)) - log_simple AS low,
        coalesce(changed, if(is_above, 'inf'::DOUBLE, smallest)) - log_simple AS high
    FROM bounds
)
SELECT
    seed,
    (low >= -ln($factor) AND high <= ln($factor))::INT AS successes,
    1 AS total
FROM ends
WHERE (low >= -ln($factor) AND high <= ln($factor)) OR high < -ln($factor) OR low > ln($factor)
