-- One row: one task, optimizer, settings inside the regime, lr and kind of twin; geometric mean over seeds of the
-- largest gap, and that gap's slope to the next larger lr (missing at the largest).
WITH gaps AS (
    SELECT
        t.task,
        g.optimizer,
        CASE
            WHEN g.optimizer IN ('heavy_ball', 'nesterov') THEN format('momentum {:g}', t.momentum)
            ELSE format('betas {:g}, {:g}; eps {:g}', t.beta1, t.beta2, t.eps)
        END AS settings,
        t.lr,
        g.corrected,
        exp(avg(ln(g.gap_max))) AS gap
    FROM trajectory_gap AS g
    JOIN trials AS t USING (trial_id)
    WHERE g.gap_max > 0 AND t.lr * t.steps < $horizon
        AND (g.optimizer IN ('heavy_ball', 'nesterov') OR t.eps >= $eps)
    GROUP BY ALL
)
SELECT *, (ln(lead(gap) OVER larger) - ln(gap)) / (ln(lead(lr) OVER larger) - ln(lr)) AS slope
FROM gaps
WINDOW larger AS (PARTITION BY task, optimizer, settings, corrected ORDER BY lr)
ORDER BY ALL
