-- One row: one seed, one pair of batch sizes (part: single-sample beside mini-batch descent, or mini-batch beside
-- batch descent) and one of the two (arm); ln of the training loss at the end of the budget, at the lr that is best
-- for that batch size and budget (lowest loss, mean over seeds).
-- $budget: 'examples' ($examples of them, a batch of all rows holding $num_train) or 'steps' ($steps of them).
WITH ends AS (
    SELECT
        t.seed,
        t.batch_size,
        t.lr,
        max_by(m.train_loss, m.step) FILTER (
            m.step <= CASE $budget
                WHEN 'steps' THEN $steps
                ELSE $examples // CASE t.batch_size WHEN 0 THEN $num_train ELSE t.batch_size END
            END
        ) AS loss
    FROM trials AS t
    JOIN metrics AS m USING (trial_id)
    WHERE t.sampling = 'epoch' AND t.state = 'done'
    GROUP BY ALL
),
cells AS (
    SELECT batch_size, lr, avg(loss) AS loss
    FROM ends
    GROUP BY ALL
    HAVING count(*) = (SELECT count(DISTINCT seed) FROM ends)
),
best AS (
    SELECT batch_size, arg_min(lr, (loss, lr)) AS lr
    FROM cells
    GROUP BY batch_size
)
SELECT e.seed, p.part, p.arm, ln(e.loss) AS value
FROM ends AS e
JOIN best USING (batch_size, lr)
JOIN (
    VALUES ('single, mini', 1, 'smaller'), ('single, mini', 32, 'larger'),
    ('mini, batch', 32, 'smaller'), ('mini, batch', 0, 'larger')
) AS p (part, batch_size, arm) USING (batch_size)
