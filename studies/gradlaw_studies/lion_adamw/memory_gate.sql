-- One row: one trial, and whether it is inside the regime of the expansion: it ended soundly and crossed the
-- threshold, on the side of beta1 = beta2 asked for, with lr |c_n(beta1) - c_n(beta2)| (see law.py) small, the first
-- moment's memory short against the run up to there, and a full training loss that rises at few logged steps before.
-- Trials that are no part of the sample (of another task, rule or batch size) pass: they are not what is excluded.
WITH crossed AS (
    SELECT trial_id, step FROM matched_loss WHERE threshold = $threshold
),
moves AS (
    SELECT trial_id, step, lead(train_loss) OVER (PARTITION BY trial_id ORDER BY step) > train_loss AS rises
    FROM metrics
),
rising AS (
    SELECT c.trial_id, avg(m.rises::INT) AS share
    FROM crossed AS c
    JOIN moves AS m ON m.trial_id = c.trial_id AND m.step < c.step
    GROUP BY c.trial_id
)
SELECT
    t.trial_id,
    coalesce(
        NOT (t.task LIKE $task || '@%' AND t.rule LIKE $rule || '@%' AND t.batch_size = $batch_size)
        OR (
            t.state IN ('done', 'reached_target')
            AND CASE $side
                WHEN 'above' THEN t.beta2 >= t.beta1
                WHEN 'below' THEN t.beta2 <= t.beta1
                WHEN 'either' THEN true
            END
            AND t.lr * abs(
                t.beta1 / (1 - t.beta1) - c.step * pow(t.beta1, c.step) / (1 - pow(t.beta1, c.step))
                - t.beta2 / (1 - t.beta2) + c.step * pow(t.beta2, c.step) / (1 - pow(t.beta2, c.step))
            ) <= $largest
            AND c.step >= $memories / (1 - t.beta1)
            AND r.share <= $rising
        ),
        false
    ) AS passed
FROM trials AS t
LEFT JOIN crossed AS c ON c.trial_id = t.trial_id AND c.step > 0
LEFT JOIN rising AS r ON r.trial_id = t.trial_id
