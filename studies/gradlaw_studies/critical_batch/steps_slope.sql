-- One row: one seed, rule (part) and batch size from $low to $high, at the best lr of that size (fewest steps on
-- average over seeds): x = ln B, y = ln of the steps to the target.
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
)
SELECT t.seed, t.rule AS part, ln(t.batch_size) AS x, ln(t.steps_done) AS y
FROM trials AS t
JOIN best USING (rule, batch_size, lr)
WHERE t.sampling = 'iid' AND t.state = 'reached_target' AND t.batch_size BETWEEN $low AND $high
