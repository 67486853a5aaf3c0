-- One row: one run on a fresh seed, of the best configuration that an arm of a search found; value: held-out loss in
-- nats on digits, steps until the held-out rows are added on modular addition. What diverged, ended worse or was
-- never added counts as in contest_pairs.sql.
WITH asked AS (
    SELECT DISTINCT trial_id, search, arm FROM plans WHERE role = 'fresh'
),
ends AS (
    SELECT trial_id, arg_max(test_loss, step) AS test_loss FROM metrics GROUP BY trial_id
)
SELECT
    split_part(t.task, '@', 1) AS task,
    a.search,
    a.arm,
    t.seed,
    CASE
        WHEN t.task LIKE 'digits%' THEN
            CASE WHEN t.state = 'diverged' THEN $guess ELSE least(e.test_loss, $guess) END
        WHEN t.state = 'reached_target' THEN t.steps_done
        ELSE t.steps
    END::DOUBLE AS value
FROM trials AS t
JOIN asked AS a USING (trial_id)
JOIN ends AS e USING (trial_id)
ORDER BY task, a.search, a.arm, t.seed
