-- One row: one trial, and whether it is inside the regime: it finished and, where it is a network trained on
-- sums from a random start, converged by its last step. Controls and constructions are let through: they are
-- not what the claim is about.
SELECT
    t.trial_id,
    t.state = 'done' AND (
        t.task NOT LIKE 'modular_addition@%' OR t.labels <> 'sum' OR coalesce(n.converged, false)
    ) AS passed
FROM trials AS t
LEFT JOIN networks AS n ON n.trial_id = t.trial_id AND n.step = t.steps
