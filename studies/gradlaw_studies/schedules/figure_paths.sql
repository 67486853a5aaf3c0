-- One row: one rule, peak lr, warm-up and step; geometric mean over seeds of (preconditioned) sharpness times the
-- lr at that step over what is stable on a quadratic. A trial that has diverged is left out from there on.
WITH measured AS (
    SELECT trial_id, step, coalesce(sharpness, preconditioned_sharpness)::DOUBLE AS sharpness
    FROM metrics
    WHERE step > 0 AND coalesce(sharpness, preconditioned_sharpness) > 0
)
SELECT
    split_part(t.rule, '@', 1) AS rule,
    t.lr,
    t.warmup_steps,
    m.step,
    count(*) AS num_seeds,
    exp(avg(ln(
        m.sharpness * t.lr * if(t.warmup_steps > 0, least(1, m.step / t.warmup_steps), 1)
        / if(t.rule LIKE 'adam@%', (2 + 2 * t.beta1) / (1 - t.beta1), 2)
    ))) AS ratio
FROM measured AS m
JOIN trials AS t USING (trial_id)
WHERE t.task LIKE 'digits_mlp@%'
GROUP BY ALL
ORDER BY rule, lr, warmup_steps, step
