-- One row: log of the mean loss over the second half of one trial against log lr; a series is a weight decay.
WITH floors AS (
    SELECT trial_id, avg(loss::DOUBLE) AS floor
    FROM metrics
    WHERE step > 495
    GROUP BY trial_id
)
SELECT t.seed, t.weight_decay AS series, ln(t.lr) AS x, ln(f.floor) AS y
FROM floors AS f
JOIN trials AS t USING (trial_id)
