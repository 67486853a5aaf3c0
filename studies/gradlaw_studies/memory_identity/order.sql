-- One row: one trial of the twins; log of the largest gap to its twin against log lr. A part is a task and
-- optimizer, a series of it the optimizer's settings and the horizon; within a series only lr and steps vary.
-- $power: 0 takes what was measured; another number an exact gap lr^power, a check of the instrument.
SELECT
    t.seed,
    t.task || ' ' || g.optimizer AS part,
    format('{} {} {} {} {:.3g}', t.momentum, t.beta1, t.beta2, t.eps, t.lr * t.steps) AS series,
    ln(t.lr) AS x,
    CASE $power WHEN 0.0 THEN ln(g.gap_max) ELSE $power * ln(t.lr) END AS y
FROM trajectory_gap AS g
JOIN trials AS t USING (trial_id)
WHERE g.corrected = $corrected AND g.gap_max > 0
