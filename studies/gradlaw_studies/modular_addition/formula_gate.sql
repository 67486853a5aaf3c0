-- One row: one trial, and whether the formulas of the conjecture speak of it: it finished and, where it is a
-- network trained on sums from a random start, converged with every frequency at order 4 or 6 and at least one
-- at each.
SELECT
    t.trial_id,
    t.state = 'done' AND (
        t.task NOT LIKE 'modular_addition@%'
        OR t.labels <> 'sum'
        OR coalesce(
            n.converged AND n.num_other_orders = 0 AND n.num_order_4 > 0 AND n.num_order_6 > 0, false
        )
    ) AS passed
FROM trials AS t
LEFT JOIN networks AS n ON n.trial_id = t.trial_id AND n.step = t.steps
