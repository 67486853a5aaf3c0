-- One row: one batch size of the descents by epochs (0: all $num_train rows) and logged step; the lowest training loss
-- of any lr there (mean over seeds), that lr, and the examples seen by then.
SELECT
    batch_size,
    step,
    min(loss) AS loss,
    arg_min(lr, loss) AS lr,
    step * CASE batch_size WHEN 0 THEN $num_train ELSE batch_size END AS examples
FROM (
    SELECT t.batch_size, t.lr, m.step, avg(m.train_loss) AS loss
    FROM trials AS t
    JOIN metrics AS m USING (trial_id)
    WHERE t.sampling = 'epoch' AND t.state = 'done' AND m.step > 0
    GROUP BY ALL
)
GROUP BY ALL
ORDER BY ALL
