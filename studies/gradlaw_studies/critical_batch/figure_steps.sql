-- One row: one rule and batch size; lr, steps and examples to the target at the lr that is best there (fewest steps on
-- average over seeds): geometric means over seeds, and the sd of their logs. Only where every seed reached the target.
-- With them Smin and Emin of the hyperbola fitted to those means as in hyperbola.sql.
WITH cells AS (
    SELECT
        rule,
        batch_size,
        lr,
        avg(CASE state WHEN 'reached_target' THEN steps_done::DOUBLE ELSE 'inf'::DOUBLE END) AS mean_steps,
        exp(avg(ln(greatest(steps_done, 1)))) AS steps,
        coalesce(stddev_samp(ln(greatest(steps_done, 1))), 0) AS spread
    FROM trials
    WHERE sampling = 'iid' AND rule <> ''
    GROUP BY ALL
),
best AS (
    SELECT *, 1 / steps AS u, 1 / (steps * batch_size) AS v
    FROM cells
    WHERE isfinite(mean_steps)
    QUALIFY row_number() OVER (PARTITION BY rule, batch_size ORDER BY mean_steps, lr) = 1
),
fits AS (
    SELECT
        rule,
        (sum(u) * sum(v * v) - sum(v) * sum(u * v)) / (sum(u * u) * sum(v * v) - sum(u * v) ** 2) AS s_min,
        (sum(v) * sum(u * u) - sum(u) * sum(u * v)) / (sum(u * u) * sum(v * v) - sum(u * v) ** 2) AS e_min
    FROM best
    GROUP BY rule
    HAVING count(*) >= 3
)
SELECT b.rule, b.batch_size, b.lr, b.steps, b.steps * b.batch_size AS examples, b.spread, f.s_min, f.e_min
FROM best AS b
LEFT JOIN fits AS f USING (rule)
ORDER BY ALL
