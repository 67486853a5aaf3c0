-- One row: one search for the largest stable lr that brackets it: by seed, task, rule, schedule and length of warm-up;
-- the log of the middle of its last bracket, and the largest sharpness along its trials.
WITH asked AS (
-- include: edge_trials.sql
)
SELECT
    seed,
    split_part(task, '@', 1) AS task,
    split_part(rule, '@', 1) AS rule,
    split_part(schedule, '@', 1) AS schedule,
    warmup_steps,
    max(sharpness) AS sharpness,
    (ln(max(lr) FILTER (held)) + ln(min(lr) FILTER (NOT held))) / 2 AS log_edge
FROM asked
GROUP BY ALL
HAVING max(lr) FILTER (held) < min(lr) FILTER (NOT held)
