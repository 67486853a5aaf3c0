-- One row: one trial, and whether it is inside the expansion's regime; what is no trial of the twins passes.
-- Of a mean with decay b, c = b/(1-b) - (n+1) b^(n+1) / (1 - b^(n+1)) is the mean age of what it holds after n + 1
-- steps. lag: the oldest of the optimizer's mean ages, in steps. reach: lr times the age that the correction
-- multiplies, the difference of two for AdamW and NAdam; Lion's age is beta1 / (1 - beta2).
-- Inside: it finished with finite gaps, lag <= $lag of its steps, reach < $reach, eps >= $eps where it has one.
WITH ages AS (
    SELECT
        *,
        momentum / (1 - momentum) - steps * momentum ** steps / (1 - momentum ** steps) AS age,
        beta1 / (1 - beta1) - steps * beta1 ** steps / (1 - beta1 ** steps) AS age1,
        beta2 / (1 - beta2) - steps * beta2 ** steps / (1 - beta2 ** steps) AS age2
    FROM trials
    WHERE optimizer IS NOT NULL
),
reaches AS (
    SELECT
        trial_id,
        state,
        optimizer IN ('heavy_ball', 'nesterov') OR eps >= $eps AS smooth,
        CASE
            WHEN optimizer IN ('heavy_ball', 'nesterov') THEN age
            WHEN optimizer = 'lion' THEN beta1 / (1 - beta2)
            ELSE greatest(age1, age2)
        END / steps AS lag,
        lr * CASE
            WHEN optimizer IN ('heavy_ball', 'nesterov') THEN age / (1 - momentum)
            WHEN optimizer = 'lion' THEN beta1 / (1 - beta2)
            ELSE abs(age1 - age2)
        END AS reach
    FROM ages
)
SELECT
    t.trial_id,
    t.state = 'done' AND coalesce(
        any_value(r.smooth) AND any_value(r.lag) <= $lag AND any_value(r.reach) < $reach, true
    ) AND count(*) FILTER (g.trial_id IS NOT NULL AND g.gap_max IS NULL) = 0 AS passed
FROM trials AS t
LEFT JOIN reaches AS r USING (trial_id)
LEFT JOIN trajectory_gap AS g USING (trial_id)
GROUP BY t.trial_id, t.state
