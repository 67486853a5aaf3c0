-- One row: one task, threshold and arm of a mediation. value: mean over seeds of the log one-norm over that of the same
-- seed's reference (the memoryless twin without the term; Lion without a penalty), with its standard error (missing of one seed).
WITH arms AS (
    SELECT
        split_part(t.task, '@', 1) AS task,
        t.seed,
        m.threshold,
        ln(m.grad_l1) AS y,
        CASE
            WHEN t.rule LIKE 'adamw_twin@%' THEN
                CASE WHEN t.memory = 1 THEN 'memory' WHEN t.correction = 1 THEN 'corrected' ELSE 'memoryless' END
            ELSE CASE sign(t.penalty) WHEN 1 THEN 'penalized' WHEN -1 THEN 'rewarded' ELSE 'plain' END
        END AS arm
    FROM trials AS t
    JOIN matched_loss AS m USING (trial_id)
    WHERE t.rule LIKE 'adamw_twin@%' OR t.rule LIKE 'lion_penalized@%'
)
SELECT
    a.task,
    a.threshold,
    a.arm,
    count(*) AS num_seeds,
    avg(a.y - r.y) AS value,
    stddev(a.y - r.y) / sqrt(count(*)) AS error
FROM arms AS a
JOIN arms AS r
    ON (r.task, r.seed, r.threshold) = (a.task, a.seed, a.threshold)
    AND r.arm = CASE WHEN a.arm IN ('memory', 'corrected') THEN 'memoryless' ELSE 'plain' END
WHERE a.arm NOT IN ('memoryless', 'plain')
GROUP BY a.task, a.threshold, a.arm
ORDER BY a.task, a.threshold DESC, a.arm
