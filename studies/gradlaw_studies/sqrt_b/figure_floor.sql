-- One row: sampling, lr and batch size; geometric mean over seeds of the loss floor, in nats.
WITH floors AS (
    SELECT m.trial_id, avg(m.train_loss::DOUBLE) - any_value(l.minimum) AS excess
    FROM metrics AS m
    JOIN loss_minimum AS l USING (trial_id)
    WHERE m.step > l.step / 2
    GROUP BY m.trial_id
)
SELECT t.sampling, t.lr, t.batch_size, exp(avg(ln(f.excess))) AS floor
FROM floors AS f
JOIN trials AS t USING (trial_id)
WHERE f.excess > 0
GROUP BY ALL
ORDER BY ALL
