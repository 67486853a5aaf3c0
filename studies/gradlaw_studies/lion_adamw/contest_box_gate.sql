-- One row: one run of Lion, tuning apart; passed: with weight decay, to its end, and long enough for what its start had outside the
-- box to have shrunk to $left of the box's half-width or less. Outside, a step shrinks that excess by the
-- factor 1 - lr weight_decay at least, so all steps by exp(-weight_decay * sum of lr) or more.
-- Sum of lr: constant, or W steps of linear warm-up and then constant, or half a cosine to 0 at the last step.
WITH starts AS (
    SELECT trial_id, arg_min(parameter_max, step) AS parameter_max FROM metrics GROUP BY trial_id
),
runs AS (
    SELECT
        t.*,
        s.parameter_max * t.weight_decay AS start,
        CASE WHEN t.schedule LIKE 'constant@%' THEN 0 ELSE coalesce(t.warmup_steps, 0) END AS warm
    FROM trials AS t
    JOIN starts AS s USING (trial_id)
    WHERE t.rule LIKE 'lion@%'
        AND s.parameter_max IS NOT NULL
        AND t.trial_id NOT IN (SELECT trial_id FROM plans WHERE role = 'tuning')
),
sums AS (
    SELECT
        *,
        lr * CASE
            WHEN steps_done < warm THEN steps_done * (steps_done + 1) / (2.0 * warm)
            WHEN schedule LIKE 'cosine_decay@%' THEN
                if(warm > 0, warm + 1, 0) / 2.0 + if(steps_done > warm, steps_done - warm + 1, 0) / 2.0
            ELSE if(warm > 0, warm + 1, 0) / 2.0 + steps_done - warm
        END AS sum_lr
    FROM runs
)
SELECT
    trial_id,
    weight_decay > 0
    AND lr * weight_decay <= 1
    AND state IN ('done', 'reached_target')
    AND (state = 'done' OR schedule NOT LIKE 'cosine_decay@%')
    AND greatest(start - 1, 0) * exp(-weight_decay * sum_lr) <= $left AS passed
FROM sums
