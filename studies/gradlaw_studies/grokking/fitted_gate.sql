-- One row: one trial, and whether it is inside the regime: it ended soundly, and its training rows were fitted
-- (or its held-out rows added, which ends a trial) at a logged step.
SELECT
    t.trial_id,
    t.state IN ('done', 'reached_target')
    AND coalesce(bool_or(m.train_accuracy >= $accuracy OR m.test_accuracy >= $accuracy), false) AS passed
FROM trials AS t
LEFT JOIN metrics AS m USING (trial_id)
GROUP BY t.trial_id, t.state
