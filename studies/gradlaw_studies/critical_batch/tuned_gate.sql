-- One row: one trial of the grids that are tuned, and whether its rule and batch size are inside the regime: with the
-- best lr (fewest steps on average over seeds; a trial that did not reach the target counts as endless) every seed
-- reached the target, and that lr is neither the smallest nor the largest of its grid.
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
    SELECT rule, batch_size, min(steps) AS steps, arg_min(lr, (steps, lr)) AS lr, min(lr) AS low, max(lr) AS high
    FROM cells
    GROUP BY ALL
)
SELECT t.trial_id, isfinite(b.steps) AND b.lr > b.low AND b.lr < b.high AS passed
FROM trials AS t
JOIN best AS b USING (rule, batch_size)
WHERE t.sampling = 'iid' AND t.rule <> ''
