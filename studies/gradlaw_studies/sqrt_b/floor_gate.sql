-- One row: one trial, and whether it is inside the floor's regime: it finished and, where it has a floor,
-- the mean excess loss of the third and of the fourth quarter of training differ by less than $drift times.
WITH quarters AS (
    SELECT
        m.trial_id,
        avg(m.train_loss::DOUBLE) FILTER (m.step <= 0.75 * l.step) - any_value(l.minimum) AS third,
        avg(m.train_loss::DOUBLE) FILTER (m.step > 0.75 * l.step) - any_value(l.minimum) AS fourth
    FROM metrics AS m
    JOIN loss_minimum AS l USING (trial_id)
    WHERE m.step > l.step / 2
    GROUP BY m.trial_id
)
SELECT
    t.trial_id,
    t.state = 'done' AND (
        q.trial_id IS NULL
        OR (q.third > 0 AND q.fourth > 0 AND greatest(q.third, q.fourth) < $drift * least(q.third, q.fourth))
    ) AS passed
FROM trials AS t
LEFT JOIN quarters AS q USING (trial_id)
