-- One row: AdamW on one task with one eps, horizon, lr and kind of twin; geometric mean over seeds of the largest gap.
-- Of settings with an eps below $eps or a horizon of $horizon and more, and of those with their betas inside.
WITH adamw AS (
    SELECT t.task, t.beta1, t.beta2, t.eps, t.lr, t.lr * t.steps AS horizon, g.corrected, g.gap_max
    FROM trajectory_gap AS g
    JOIN trials AS t USING (trial_id)
    WHERE g.optimizer = 'adamw' AND g.gap_max > 0
)
SELECT
    task,
    beta1,
    beta2,
    eps,
    round(horizon, 6) AS horizon,
    lr,
    corrected,
    exp(avg(ln(gap_max))) AS gap
FROM adamw
WHERE (task, beta1, beta2) IN (SELECT (task, beta1, beta2) FROM adamw WHERE eps < $eps OR horizon >= $horizon)
GROUP BY ALL
ORDER BY ALL
