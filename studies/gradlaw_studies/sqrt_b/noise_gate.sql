-- One row: one trial, and whether it is inside the law's regime: it finished and, where its noise was
-- measured, its per-sample values vary (a constant has no std to fall).
SELECT
    t.trial_id,
    t.state = 'done' AND coalesce(bool_and(isfinite(n.std_exact) AND n.std_exact > 0), true) AS passed
FROM trials AS t
LEFT JOIN gradient_noise AS n USING (trial_id)
GROUP BY t.trial_id, t.state
