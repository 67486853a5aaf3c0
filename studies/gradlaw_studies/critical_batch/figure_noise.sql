-- One row: one rule, batch size and level of the training loss (quarters of a decade); B_simple along the runs at the
-- best lr of that batch size, tr Sigma and |G|^2 averaged over seeds and logged steps, and then divided.
-- Levels with fewer than eight logged steps, or a mean |G|^2 that is not above 0, are left out.
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
SELECT
    t.rule,
    t.batch_size,
    10 ** (round(4 * log10(m.train_loss)) / 4) AS loss,
    avg(m.noise_trace) / avg(m.noise_grad_squared) AS b_simple
FROM trials AS t
JOIN best USING (rule, batch_size, lr)
JOIN metrics AS m USING (trial_id)
WHERE t.sampling = 'iid' AND isfinite(m.train_loss)
GROUP BY ALL
HAVING count(*) >= 8 AND avg(m.noise_grad_squared) > 0
ORDER BY ALL
