-- One row: one seed and rule (part), at the best lr of each batch size B (fewest steps on average over seeds). The
-- hyperbola (S / Smin - 1)(E / Emin - 1) = 1 of steps S and examples E = S B (arXiv 1812.06162, eq. 2.11) is
-- Smin / S + Emin / E = 1, linear in both unknowns: they minimise the sum over B of r^2, r = 1 - Smin / S - Emin / E
-- being the residual relative to S, neither below 0. Fits of fewer than three batch sizes are left out.
-- value, by $quantity: 'residual', sqrt(sum r^2 / (number of B - 2)); 'scale', log10 of Bcrit = Emin / Smin over
-- B_simple, tr Sigma and |G|^2 each averaged over the logged steps of the same runs, then over batch sizes, and then
-- divided; without a fit whose Smin or Emin is 0, which has no Bcrit.
-- $source: 'measured', or a check of the instrument: steps at the same batch sizes of exactly 100 (1 + 64 / B)
-- ('hyperbola'), 100 max(1, 64 / B) ('knee') or 100 (1 + sqrt(64 / B)) ('root'); then B_simple is 64 / $ratio.
WITH cells AS (
    SELECT
        rule,
        batch_size,
        lr,
        avg(CASE state WHEN 'reached_target' THEN steps_done::DOUBLE ELSE 'inf'::DOUBLE END) AS steps
    FROM trials
    WHERE sampling = 'iid' AND rule <> ''
    GROUP BY ALL
),
best AS (
    SELECT rule, batch_size, arg_min(lr, (steps, lr)) AS lr
    FROM cells
    GROUP BY ALL
),
noise AS (
    SELECT trial_id, avg(noise_trace) AS trace, avg(noise_grad_squared) AS grad_squared
    FROM metrics
    GROUP BY trial_id
),
runs AS (
    SELECT
        t.seed,
        t.rule,
        t.batch_size,
        CASE $source
            WHEN 'measured' THEN t.steps_done
            WHEN 'hyperbola' THEN 100 * (1 + 64 / t.batch_size)
            WHEN 'knee' THEN 100 * greatest(1, 64 / t.batch_size)
            WHEN 'root' THEN 100 * (1 + sqrt(64 / t.batch_size))
        END AS steps,
        n.trace,
        n.grad_squared
    FROM trials AS t
    JOIN best USING (rule, batch_size, lr)
    LEFT JOIN noise AS n USING (trial_id)
    WHERE t.sampling = 'iid' AND ($source <> 'measured' OR t.state = 'reached_target')
),
sums AS (
    SELECT
        seed,
        rule,
        count(*) AS num_sizes,
        sum(1 / steps) AS u,
        sum(1 / (steps * batch_size)) AS v,
        sum(1 / steps ** 2) AS uu,
        sum(1 / (steps ** 2 * batch_size)) AS uv,
        sum(1 / (steps * batch_size) ** 2) AS vv,
        avg(trace) / avg(grad_squared) AS b_simple
    FROM runs
    GROUP BY ALL
    HAVING count(*) >= 3
),
free AS (
    SELECT
        *,
        (u * vv - v * uv) / (uu * vv - uv * uv) AS free_s,
        (v * uu - u * uv) / (uu * vv - uv * uv) AS free_e
    FROM sums
),
fits AS (
    SELECT
        seed,
        rule,
        -- where one unknown would be negative it is 0, and the other is fitted alone
        CASE WHEN free_s < 0 THEN 0 WHEN free_e < 0 THEN u / uu ELSE free_s END AS s_min,
        CASE WHEN free_s < 0 THEN v / vv WHEN free_e < 0 THEN 0 ELSE free_e END AS e_min,
        -- of least squares, so too: sum r^2 = num_sizes - Smin u - Emin v
        sqrt(greatest(num_sizes - s_min * u - e_min * v, 0) / (num_sizes - 2)) AS residual,
        CASE $source WHEN 'measured' THEN b_simple ELSE 64 / $ratio END AS b_simple
    FROM free
)
SELECT
    seed,
    rule AS part,
    CASE $quantity WHEN 'residual' THEN residual WHEN 'scale' THEN log10(nullif(e_min, 0) / nullif(s_min, 0) / b_simple) END AS value,
    s_min,
    e_min,
    residual,
    b_simple
FROM fits
WHERE $quantity = 'residual' OR (s_min > 0 AND e_min > 0 AND b_simple > 0)
