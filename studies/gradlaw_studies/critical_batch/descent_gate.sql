-- One row: one trial of the descents by epochs, and whether it and its batch size are inside the regime: it ended
-- soundly, and the lr with the lowest training loss (mean over seeds, a trial that did not get there counts as
-- infinite) at the end of the budget is neither the smallest nor the largest of its grid.
-- $budget: 'examples' ($examples of them, a batch of all rows holding $num_train) or 'steps' ($steps of them).
WITH ends AS (
    SELECT
        t.trial_id,
        max_by(m.train_loss, m.step) FILTER (
            m.step <= CASE $budget
                WHEN 'steps' THEN $steps
                ELSE $examples // CASE t.batch_size WHEN 0 THEN $num_train ELSE t.batch_size END
            END
        ) AS loss
    FROM trials AS t
    JOIN metrics AS m USING (trial_id)
    WHERE t.sampling = 'epoch' AND t.state = 'done'
    GROUP BY t.trial_id
),
cells AS (
    SELECT t.batch_size, t.lr, avg(coalesce(e.loss, 'inf'::DOUBLE)) AS loss
    FROM trials AS t
    LEFT JOIN ends AS e USING (trial_id)
    WHERE t.sampling = 'epoch'
    GROUP BY ALL
),
best AS (
    SELECT batch_size, arg_min(lr, (loss, lr)) AS lr, min(lr) AS low, max(lr) AS high
    FROM cells
    GROUP BY batch_size
)
SELECT t.trial_id, t.state = 'done' AND b.lr > b.low AND b.lr < b.high AS passed
FROM trials AS t
JOIN best AS b USING (batch_size)
WHERE t.sampling = 'epoch'
