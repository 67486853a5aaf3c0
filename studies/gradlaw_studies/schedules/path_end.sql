-- One row: one seed; log of (preconditioned) sharpness times the peak lr of $rule over what is stable on a
-- quadratic: 2 for gradient descent, (2 + 2 beta1) / (1 - beta1) for Adam with its preconditioner frozen.
-- A run that diverged on the way counts with the last sharpness that was measured.
-- $when: 'end', the step at which the longest warm-up ends; 'small lr', the same step of training at a lr that
-- stays below the peak; 'start', the first logged step of the longest warm-up at which it is known.
WITH measured AS (
    SELECT trial_id, step, coalesce(sharpness, preconditioned_sharpness)::DOUBLE AS sharpness
    FROM metrics
    WHERE isfinite(coalesce(sharpness, preconditioned_sharpness))
),
runs AS (
    SELECT
        *,
        max(lr) OVER () AS peak,
        max(warmup_steps) OVER () AS longest
    FROM trials
    WHERE
        task LIKE 'digits_mlp@%' AND rule LIKE concat($rule, '@%') AND trial_id IN (SELECT trial_id FROM measured)
),
ends AS (
    SELECT
        r.trial_id,
        if(any_value(r.state) = 'diverged', max(m.step) FILTER (m.step <= r.longest), any_value(r.longest)) AS step
    FROM runs AS r
    JOIN measured AS m USING (trial_id)
    GROUP BY r.trial_id
)
SELECT
    r.seed,
    ln(m.sharpness * r.peak / if($rule = 'adam', (2 + 2 * r.beta1) / (1 - r.beta1), 2)) AS value
FROM runs AS r
JOIN measured AS m USING (trial_id)
JOIN ends AS e USING (trial_id)
WHERE CASE $when
    WHEN 'end' THEN r.warmup_steps = r.longest AND r.lr = r.peak AND m.step = e.step
    WHEN 'small lr' THEN r.lr < r.peak AND m.step = e.step
    WHEN 'start' THEN r.warmup_steps = r.longest AND r.lr = r.peak
        AND m.step = (SELECT min(step) FROM measured WHERE step > 0)
END
