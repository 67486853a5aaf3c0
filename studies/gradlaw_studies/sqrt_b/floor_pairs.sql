-- One row: log loss floor of one trial; the arm is how its batches are drawn, 'iid' or 'epoch'.
WITH floors AS (
    SELECT m.trial_id, avg(m.train_loss::DOUBLE) - any_value(l.minimum) AS excess
    FROM metrics AS m
    JOIN loss_minimum AS l USING (trial_id)
    WHERE m.step > l.step / 2
    GROUP BY m.trial_id
)
SELECT t.seed, concat_ws('/', t.lr, t.batch_size) AS series, t.sampling AS arm, ln(f.excess) AS value
FROM floors AS f
JOIN trials AS t USING (trial_id)
