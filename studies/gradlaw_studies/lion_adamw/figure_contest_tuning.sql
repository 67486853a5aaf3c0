-- One row: one configuration that an arm of a search asked for, over its tuning seeds; value: mean held-out loss in
-- nats on digits, mean number of steps until the held-out rows are added on modular addition, with what diverged,
-- ended worse or was never added as in contest_pairs.sql; states: how its trials ended. Trials that have not
-- ended soundly otherwise (no memory, failed) stand at the worst value, too.
WITH asked AS (
    SELECT DISTINCT trial_id, search, arm, number FROM plans WHERE role = 'tuning'
),
ends AS (
    SELECT trial_id, arg_max(test_loss, step) AS test_loss FROM metrics GROUP BY trial_id
)
SELECT
    any_value(split_part(t.task, '@', 1)) AS task,
    a.search,
    a.arm,
    a.number,
    avg(
        CASE
            WHEN t.task LIKE 'digits%' THEN
                CASE WHEN t.state = 'done' THEN least(e.test_loss, $guess) ELSE $guess END
            WHEN t.state = 'reached_target' THEN t.steps_done
            ELSE t.steps
        END::DOUBLE
    ) AS value,
    CASE
        WHEN count(*) FILTER (t.state = 'diverged') > 0 THEN 'diverged'
        WHEN count(*) FILTER (t.state NOT IN ('done', 'reached_target')) > 0 THEN 'failed'
        WHEN count(*) FILTER (t.state = 'done' AND t.task LIKE 'modular%') > 0 THEN 'not added'
        ELSE 'sound'
    END AS ended
FROM trials AS t
JOIN asked AS a USING (trial_id)
LEFT JOIN ends AS e USING (trial_id)
GROUP BY a.search, a.arm, a.number
ORDER BY a.search, a.arm, a.number
