-- One row: one seed, rule (kind), factor of the batch size and arm of the scaling rules; distance of the run's loss
-- curve from that of the base batch: mean over logged examples of |log loss - log loss of the base|.
WITH curves AS (
    SELECT trial_id, step, ln(train_loss::DOUBLE) AS log_loss
    FROM metrics
    WHERE noise_trace IS NOT NULL
),
runs AS (
    SELECT
        *,
        split_part(rule, '@', 1) AS kind,
        min(batch_size) OVER (PARTITION BY rule) AS base_size,
        first_value(lr) OVER smallest AS base_lr,
        first_value(beta2) OVER smallest AS base_beta2
    FROM trials
    WHERE trial_id IN (SELECT trial_id FROM curves)
    WINDOW smallest AS (PARTITION BY rule ORDER BY batch_size)
),
named AS (
    SELECT
        trial_id,
        seed,
        state,
        kind,
        batch_size,
        batch_size // base_size AS factor,
        CASE
            WHEN batch_size = base_size THEN if(sampling = 'iid', 'base', 'repeat')
            ELSE concat(
                CASE round(ln(lr / base_lr) / ln(batch_size / base_size), 2)
                    WHEN 0 THEN 'none' WHEN 0.5 THEN 'root' WHEN 1 THEN 'linear' WHEN 2 THEN 'square'
                END,
                if(beta2 <> base_beta2, ' with betas', '')
            )
        END AS arm
    FROM runs
)
SELECT
    n.seed,
    n.kind,
    n.factor,
    n.arm,
    -- from where it diverged, the bound at which a loss is taken to have diverged
    avg(abs(coalesce(c.log_loss, if(n.state = 'diverged', ln(1e6), NULL)) - d.log_loss)) AS distance
FROM named AS n
JOIN named AS b ON b.seed = n.seed AND b.kind = n.kind AND b.arm = 'base'
JOIN curves AS d ON d.trial_id = b.trial_id AND d.step > 0
LEFT JOIN curves AS c ON c.trial_id = n.trial_id AND c.step * n.batch_size = d.step * b.batch_size
WHERE n.arm <> 'base'
GROUP BY ALL
