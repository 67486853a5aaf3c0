-- One row: log loss floor of one trial against the log of $axis, 'batch_size' or 'lr'; series by the other.
WITH floors AS (
    SELECT m.trial_id, avg(m.train_loss::DOUBLE) - any_value(l.minimum) AS excess
    FROM metrics AS m
    JOIN loss_minimum AS l USING (trial_id)
    WHERE m.step > l.step / 2
    GROUP BY m.trial_id
)
SELECT
    t.seed,
    CASE $axis WHEN 'batch_size' THEN t.lr ELSE t.batch_size END AS series,
    ln(CASE $axis WHEN 'batch_size' THEN t.batch_size WHEN 'lr' THEN t.lr END) AS x,
    ln(f.excess) AS y
FROM floors AS f
JOIN trials AS t USING (trial_id)
WHERE t.sampling = $sampling
