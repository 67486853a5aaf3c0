-- One row: one run on a fresh seed, of the best configuration that an arm of $search found, or of Lion never tuned
-- (arm 'lion_untuned'); value: of $quantity, log of the held-out loss in nats, held-out accuracy, or log of the
-- steps until the held-out rows are added. A run that diverged counts as a uniform guess of loss $guess and has
-- accuracy 0; what ended worse than the guess counts as the guess, what was never added as added at the last step.
WITH asked AS (
    SELECT DISTINCT trial_id, arm FROM plans WHERE search = $search AND role = 'fresh'
    UNION ALL
    SELECT trial_id, 'lion_untuned' FROM trials WHERE rule LIKE 'lion@%' AND lr = $untuned
),
ends AS (
    SELECT trial_id, arg_max(test_loss, step) AS test_loss, arg_max(test_accuracy, step) AS test_accuracy
    FROM metrics
    GROUP BY trial_id
)
SELECT
    t.seed,
    a.arm,
    CASE $quantity
        WHEN 'loss' THEN ln(CASE WHEN t.state = 'diverged' THEN $guess ELSE least(e.test_loss, $guess) END)
        WHEN 'accuracy' THEN CASE WHEN t.state = 'diverged' THEN 0 ELSE e.test_accuracy END
        WHEN 'steps' THEN ln(CASE WHEN t.state = 'reached_target' THEN t.steps_done ELSE t.steps END)
    END::DOUBLE AS value
FROM trials AS t
JOIN asked AS a USING (trial_id)
JOIN ends AS e USING (trial_id)
WHERE t.task LIKE $task || '@%'
