-- One row: one task, rule, batch size (0: all rows) and threshold that any trial of the task was measured at, or that
-- one of $asked (a list, comma-separated) names: trials that ended soundly, and how many of them crossed it.
WITH own AS (
    SELECT t.trial_id, split_part(t.task, '@', 1) AS task, split_part(t.rule, '@', 1) AS rule, t.batch_size
    FROM trials AS t
    WHERE t.state IN ('done', 'reached_target') AND split_part(t.rule, '@', 1) IN (
        'adamw', 'lion', 'adamw_twin', 'lion_penalized'
    )
),
asked AS (
    SELECT
        split_part(item, ' ', 1) AS task,
        split_part(item, ' ', 2)::DOUBLE AS threshold
    FROM (SELECT unnest(string_split($asked, ',')) AS item)
)
SELECT
    o.task,
    o.rule,
    o.batch_size,
    a.threshold,
    count(*) AS num_trials,
    count(m.trial_id) AS num_crossed
FROM own AS o
JOIN asked AS a USING (task)
LEFT JOIN matched_loss AS m ON m.trial_id = o.trial_id AND m.threshold = a.threshold
WHERE o.task IN (SELECT split_part(t.task, '@', 1) FROM trials AS t JOIN matched_loss AS k USING (trial_id))
GROUP BY o.task, o.rule, o.batch_size, a.threshold
ORDER BY o.task, a.threshold DESC, o.rule, o.batch_size
