-- One row: one momentum, lr and comparison; mean share over seeds and its standard error (missing of one seed).
SELECT
    t.momentum,
    t.lr / (1 - t.momentum) AS effective_lr,
    s.compared,
    avg(s.share) AS share,
    stddev_samp(s.share) / sqrt(count(*)) AS error
FROM noise_share AS s
JOIN trials AS t USING (trial_id)
GROUP BY ALL
ORDER BY ALL
