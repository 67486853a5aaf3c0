-- One row: modulus and kind; mean and standard error over converged networks of the share of frequencies that
-- are of that kind, among the factorable ones and those of order 4 that are not; and the number of networks.
WITH shares AS (
    SELECT
        t.modulus,
        f.trial_id,
        k.kind,
        count(*) FILTER (
            CASE WHEN f.factorable THEN f.kind ELSE 'order 4, not factorable' END = k.kind
        ) / count(*) AS share
    FROM frequencies AS f
    JOIN trials AS t USING (trial_id)
    JOIN networks AS n ON n.trial_id = f.trial_id AND n.step = f.step
    CROSS JOIN (
        VALUES ('nu_i*xi'), ('nu_i*syn_ab'), ('nu*syn'), ('other'), ('order 4, not factorable')
    ) AS k (kind)
    WHERE f.step = t.steps
        AND n.converged
        AND (f.factorable OR (f.residual IS NOT NULL AND f.order_absolute = 4))
        AND t.task LIKE 'modular_addition@%'
        AND t.labels = 'sum'
        AND t.width = $width
        AND t.weight_decay = $weight_decay
    GROUP BY ALL
)
SELECT
    modulus,
    kind,
    avg(share) AS share,
    coalesce(stddev_samp(share) / sqrt(count(*)), 0) AS share_error,
    count(*) AS num_networks
FROM shares
GROUP BY modulus, kind
ORDER BY ALL
